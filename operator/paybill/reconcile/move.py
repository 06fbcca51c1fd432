"""One tenant's move, as far as it goes in one pass: read what is known, decide (lifecycle/move.py), act, again.

It goes on beside the tenant's ordinary reconcile. Before the switch the tenant's roles are the move's business, so that
nothing heals what it is about to close; with the switch the registry names the target, and the ordinary reconcile of
that place opens it and writes the Secret.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from paybill.api.failures import Blocked, Failure, Retry
from paybill.api.plan import PlanSpec
from paybill.control.claims import Claim
from paybill.control.moves import MoveRow
from paybill.lifecycle.move import AT_ONCE, ATTEMPTS, Do, Facts, Rest, Stuck, decide
from paybill.lifecycle.phases import Access
from paybill.moves import leaving, replication, target
from paybill.moves.job import Job
from paybill.reconcile import filling, move_copy, move_job, move_server, move_steps
from paybill.reconcile.move_job import Wanted
from paybill.reconcile.move_steps import Moving
from paybill.reconcile.site import Site
from paybill.reconcile.steps import Scope
from paybill.reconcile.tenant_pass import Pass
from paybill.reconcile.world import World

SOON = timedelta(seconds=1)
"""How soon a copy that goes on is looked at again."""
LATER = timedelta(seconds=10)
"""How soon one that waits for something is."""


def switched(claim: Claim, row: MoveRow) -> bool:
    """Whether the registry says that the tenant is at the target."""
    return (claim.server, claim.level, claim.pool_database) == (
        row.target_server,
        row.target_level,
        row.target_database,
    )


def owns_roles(world: World, current: Pass) -> bool:
    """Whether the tenant's roles are a move's business now; a suspension is never kept waiting by one."""
    claim = current.claim
    row = world.moves.of(claim.id) if claim is not None else None
    return row is not None and claim is not None and not switched(claim, row) and not current.course.stopped


async def advance(world: World, current: Pass, site: Site, plan: PlanSpec) -> bool:
    """Carry the tenant's move on, if there is one to be; True when it has just switched.

    What stops it is left in ``current.unmoved``: a tenant that cannot be moved is healed, suspended and paid for as
    any other.
    """
    try:
        return await _advance(world, current, site, plan)
    except Failure as failure:
        if failure.reason == "EpochLost":
            raise
        current.unmoved = failure
        return False


def _refuse_agents(world: World, claim: Claim) -> None:
    """Raise Blocked where agents were let in: neither their roles nor their journal go with a tenant's schema."""
    found = world.declared.policies_of(claim.tenant_name)
    if found:
        said = ", ".join(one.key for one in found)
        raise Blocked(
            "MoveNotSupported",
            f"Tenant {claim.tenant_name} has agents, which do not move with it: delete these AgentPolicies, and make"
            f" them again afterwards: {said}",
        )


async def finish(world: World, current: Pass, site: Site, plan: PlanSpec) -> None:
    """What may wait until the tenant is let in at the target: closing and dropping what it left."""
    claim = current.claim
    row = world.moves.of(claim.id) if claim is not None else None
    if row is None or claim is None or not switched(claim, row):
        return
    try:
        await _after(world, current, site, plan, row)
    except Failure as failure:
        if failure.reason == "EpochLost":
            raise
        current.unmoved = current.unmoved or failure


async def _advance(world: World, current: Pass, site: Site, plan: PlanSpec) -> bool:
    claim, asked = site.claim, move_job.wanted(current)
    row = world.moves.of(claim.id)
    if row is not None and switched(claim, row):
        return False
    if row is None:
        if asked is None or claim.ready_time is None or current.course.stopped:
            return False
        filling.refuse_move(world, claim)
        _refuse_agents(world, claim)
        row = await _begin(world, claim, asked)
    stop = move_job.stop(current, row)
    if stop is None:
        await move_server.ready(world, current, claim, row)
    elif not await move_server.reached(world, claim, row):
        await move_copy.stop(world, claim)
        await move_steps.give_up_server(world, site, row)
        return False
    job = await move_job.job(world, claim, row, site.database(plan, Access.FULL))
    if row.step == "Prepare":
        _refuse_rotating(site, job)
    moving = Moving(world=world, current=current, site=site, plan=plan, row=row, job=job)
    while True:
        match decide(await _looked(moving)):
            case Rest():
                return False
            case Stuck():
                raise Blocked("MoveGivenUp", _given_up(claim, moving.row))
            case Do(act="Prepare", because=because):
                await move_steps.prepare(moving, because)
            case Do(act="Follow"):
                await move_steps.follow(moving)
            case Do(act="Cutover"):
                await move_steps.cut_over(moving)
                await _forget(world, moving)
                return True
            case Do(because=because):
                await move_steps.give_up(moving, because)
                return False


def _refuse_rotating(site: Site, job: Job) -> None:
    """A new password is proved where the tenant is, and an old one is known to nobody who could take it elsewhere."""
    name = site.claim.tenant_name
    if site.filled:
        raise Retry("MoveWaits", f"logins of Tenant {name} are being rotated", after=5.0)
    if site.logins.leaving and not job.same_server:
        raise Retry("MoveWaits", f"old logins of Tenant {name} are still open after their rotation", after=60.0)


def _given_up(claim: Claim, row: MoveRow) -> str:
    return (
        f"the move of Tenant {claim.tenant_name} to {row.target_server} failed {ATTEMPTS} times: see the audit log."
        " `paybill move --abort` ends it; it may then be asked for anew"
    )


async def _begin(world: World, claim: Claim, asked: Wanted) -> MoveRow:
    """Write down that the tenant is about to move; raises Retry while its servers have moves enough."""
    server = move_job.target_server(world, claim, asked)
    others = [row for row in world.moves.all() if row.step != "Keep"]
    for name in sorted({claim.server, server}):
        busy = sum(1 for row in others if row.cell == claim.cell and name in (row.source_server, row.target_server))
        if busy >= AT_ONCE:
            raise Retry("MoveQueued", f"server {name} of Cell {claim.cell} has {busy} moves under way", after=10.0)
    now = world.now()
    row = MoveRow(
        tenant_id=claim.id,
        cell=claim.cell,
        source_server=claim.server,
        source_level=claim.level,
        source_database=claim.pool_database or "",
        source_plan=claim.plan_name,
        source_revision=claim.plan_revision,
        target_server=server,
        target_level=asked.level,
        target_database=move_job.database_of(claim, claim.cell, server, asked.level),
        step="Prepare",
        begun_time=now,
        step_time=now,
    )
    return await world.moves.put(row, epoch=world.epoch)


async def _looked(moving: Moving) -> Facts:
    """What is known of a move that has not switched, with how far its copy is."""
    row, world = moving.row, moving.world
    known = _facts(world, moving.current, row)
    if row.step != "Copy" or row.mode != "Online" or known.stop is not None:
        return known
    seen, copying = move_copy.seen(world, moving.site.claim, await replication.progress(moving.job))
    world.copies[row.tenant_id] = seen
    return replace(known, copying=copying, near=seen.near, broken=seen.broken)


def _facts(world: World, current: Pass, row: MoveRow) -> Facts:
    """What is known without a look at the copy."""
    done = current.claim is not None and switched(current.claim, row)
    return Facts(
        step=row.step,
        mode=row.mode,
        switched=done,
        retired=row.retired,
        stop=None if done else move_job.stop(current, row),
        copying=None,
        near=False,
        broken="",
        attempt=row.attempt,
        step_time=row.step_time,
        again=move_job.wanted(current) is not None,
        keep_until=row.keep_until,
        now=world.now(),
    )


async def _forget(world: World, moving: Moving) -> None:
    """What memory holds of both places is from before."""
    row = moving.row
    world.copies.pop(row.tenant_id, None)
    source, there = (world.servers.get(row.cell, name) for name in (row.source_server, row.target_server))
    source.observed.pop(row.tenant_id, None)
    source.created.pop(row.tenant_id, None)
    source.databases.pop(row.tenant_id, None)
    if row.target_level != "Database":
        await there.look(row.tenant_id)


async def _after(world: World, current: Pass, site: Site, plan: PlanSpec, row: MoveRow) -> None:
    if row.source_level == "Server" and row.retired:
        # Whatever became of it meanwhile, it goes as a whole.
        if isinstance(decide(_facts(world, current, row)), Do):
            await move_steps.discard_server(world, site, row)
        return
    await move_server.reached(world, site.claim, row)
    job = await move_job.job(world, site.claim, row, site.database(plan, Access.FULL))
    moving = Moving(world=world, current=current, site=site, plan=plan, row=row, job=job)
    while True:
        match decide(_facts(world, current, moving.row)):
            case Do(act="Discard") if row.source_level == "Server":
                await move_steps.discard_server(world, site, moving.row)
                return
            case Do(act="Keep"):
                await move_steps.settle(moving)
            case Do(act="Retire"):
                await move_steps.retire(moving)
                await site.attached.look(row.tenant_id)
            case Do(act="Discard"):
                await move_steps.discard(moving)
                return
            case _:
                return


def wake(world: World, current: Pass) -> datetime | None:
    """When a tenant's move is to be looked at again."""
    row = world.moves.of(current.claim.id) if current.claim is not None else None
    waits = current.unmoved.after if isinstance(current.unmoved, Retry) else None
    if waits is not None:
        # Whoever ends a halt wakes those whose reconcile waits; a move waits beside it, and looks by itself.
        return world.now() + min(timedelta(seconds=waits), LATER)
    if row is None and current.unmoved is not None:
        return world.now() + LATER
    if row is None:  # what the last one left is gone, and another one is asked for
        return world.now() + SOON if move_job.wanted(current) is not None and not current.course.stopped else None
    return row.keep_until if row.step == "Keep" and row.retired else world.now() + SOON


async def clear(world: World, claim: Claim) -> None:
    """Remove what a move left of a tenant in databases beside its own, before it goes; raises what that fails with.

    A server that stands beside where the tenant is goes by ``clear_server``.
    """
    row = world.moves.of(claim.id)
    if row is None:
        return
    await move_copy.stop(world, claim)
    if await move_server.reached(world, claim, row):
        job = await move_job.job(world, claim, row, move_job.closed(claim))
        if not switched(claim, row):
            await target.clear(job)
            row = await world.moves.change(row, epoch=world.epoch, retired=True)
        else:
            await leaving.retire(job)
            if row.source_level != "Server":
                await leaving.discard(job)
    if not move_server.beside(world, claim):
        await world.moves.remove(claim.id, epoch=world.epoch)


async def clear_server(world: World, claim: Claim, scope: Scope) -> None:
    """Have the server destroyed that a move made, or left, beside where the tenant is; raises Retry until it is."""
    if move_server.beside(world, claim):
        await move_server.removed(world, claim, scope)
        await world.moves.remove(claim.id, epoch=world.epoch)
