"""The acts of a move, each one a step that is audited before it is taken and that may be taken over again.

Behind the fence they follow one upon the other in one go; whatever of it fails opens the logins where they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paybill.api import duration
from paybill.api.failures import Blocked, Failure, Retry
from paybill.api.plan import PlanSpec
from paybill.control.moves import MoveRow
from paybill.databases.credentials import scram_verifier
from paybill.lifecycle.budget import DELETIONS
from paybill.lifecycle.move import Mode
from paybill.moves import archive, closing, copying, leaving, replication, shape, shared, snapshot, target, verification
from paybill.moves.job import Copier, Job
from paybill.reconcile import infrastructure, move_copy, move_server, pooler
from paybill.reconcile.database import Credentials
from paybill.reconcile.site import Site
from paybill.reconcile.steps import Step, ask, take
from paybill.reconcile.tenant_pass import Pass
from paybill.reconcile.world import World


@dataclass(kw_only=True)
class Moving:
    """One move during one pass."""

    world: World
    current: Pass
    site: Site
    plan: PlanSpec
    row: MoveRow
    job: Job
    definitions: dict[str, bytes] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """What the log calls it."""
        return f"Move/{self.row.tenant_id}/{self.row.target_server}/{self.row.target_database}"

    async def keep(self, **changes: object) -> None:
        """Write what was established, before it is relied on."""
        if "step" in changes:
            changes["step_time"] = self.world.now()
        self.row = await self.world.moves.change(self.row, epoch=self.world.epoch, **changes)

    async def take(self, step: Step) -> object:
        """Take one step for this tenant."""
        return (await take(self.world, self.site.scope, [step]))[0]

    async def definition(self) -> bytes:
        """The source's schema as it was dumped for this move, or as it is after a restart."""
        known = self.world.definitions.get(self.row.tenant_id)
        if known is None:
            known = self.world.definitions[self.row.tenant_id] = await archive.definition(self.job)
        return known


async def prepare(moving: Moving, because: str) -> None:
    """Look, make the target, and begin to copy where that can be done while the tenant writes."""
    world, job, claim = moving.world, moving.job, moving.site.claim
    await move_copy.stop(world, claim)
    move_copy.refuse_beside_backup(world, claim)
    found = await shape.look(job)
    if found.refusals:
        raise Blocked("MoveNotSupported", f"Tenant {claim.tenant_name} has {'; '.join(found.refusals)}")
    mode: Mode = "Offline" if found.offline else "Online"
    again = moving.row.attempt + 1 if because else moving.row.attempt
    estimate = f" (a pause of about {found.pause:.0f} s for {found.size / 1e6:.0f} MB)"
    offline = "; ".join(found.offline) + estimate if found.offline else ""
    await moving.keep(
        step="Prepare", mode=mode, because=offline, shape=found.shape, tables=len(found.tables), attempt=again
    )
    world.definitions.pop(claim.id, None)
    verifiers = await _verifiers(moving)
    definition = await moving.definition()

    async def act() -> Copier | None:
        if mode == "Offline":
            await target.make(job, definition, found.extensions, verifiers, keys=False)
            return None
        copier: Copier = "Paybill" if copying.suits(found.size) and await snapshot.possible(job) else "Workers"
        await target.make(job, definition, found.extensions, verifiers, keys=copier == "Workers")
        await replication.begin(job, found.tables, copier)
        return copier

    inputs = {"shape": found.shape, "mode": mode, "tables": list(found.tables)}
    copier = await moving.take(Step(action="move.prepare", target=moving.target, act=act, inputs=inputs))
    await moving.keep(step="Copy")
    if copier == "Paybill":
        move_copy.begin(world, claim, job, found.tables, definition)


async def follow(moving: Moving) -> None:
    """All rows are there: replicate what was written since."""
    await moving.take(Step(action="move.follow", target=moving.target, act=lambda: replication.follow(moving.job)))
    move_copy.forget(moving.world, moving.site.claim)


async def _verifiers(moving: Moving) -> Mapping[str, str]:
    """The passwords for a server that does not have the tenant's logins: the very ones of its Secret."""
    if moving.job.same_server:
        return {}
    logins = moving.job.target.desired.handed_names
    passwords = await Credentials(moving.world, moving.site, logins).known(fresh=False)
    return {login: scram_verifier(passwords[login]) for login in logins}


async def cut_over(moving: Moving) -> None:
    """Stop writes, bring the rest over, compare, switch; else let writes go on where they were."""
    try:
        # A halt costs no attempt, and keeps nobody shut out whom a killed operator has shut out before it.
        ask(moving.world, moving.site.scope, "move.close")
    except Failure:
        if moving.row.step == "Cutover":
            await reopen(moving, anew=False)
        raise
    await moving.keep(step="Cutover")
    job, mode = moving.job, moving.row.mode or "Offline"
    if mode == "Offline":
        # An earlier attempt may have left rows there: it is made anew, while nobody waits.
        await _again_empty(moving)
    try:
        await pooler.pause(moving.world, moving.site)
        close = Step(action="move.close", target=moving.target, act=lambda: closing.close(job), destructive=True)
        await moving.take(close)
        place = await _bring(moving, mode)
        if not await verification.unchanged(job, moving.row.shape):
            raise Retry("MoveBeginsAnew", f"the tables of tenant {job.tenant} were altered while they were copied")
        definition = await moving.definition()
        rest = Step(
            action="move.complete", target=moving.target, act=lambda: verification.complete(job, mode, definition)
        )
        await moving.take(rest)
        compare = Step(action="move.verify", target=moving.target, act=lambda: verification.verify(job))
        verified = await moving.take(compare)
        if job.rows or job.into_rows:
            await moving.take(Step(action="move.settle", target=moving.target, act=lambda: verification.settle(job)))
        assert isinstance(verified, verification.Verified)  # noqa: S101 - what the act returns
        await _switch(moving, verified, place)
    except Failure as failure:
        await reopen(moving, anew=failure.reason in {"MoveBeginsAnew", "MoveBroken", "MoveDiffers"})
        raise


async def _again_empty(moving: Moving) -> None:
    definition, verifiers = await moving.definition(), await _verifiers(moving)
    found = await shape.look(moving.job)

    async def act() -> None:
        await target.make(moving.job, definition, found.extensions, verifiers, keys=False)

    await moving.take(Step(action="move.prepare", target=moving.target, act=act, inputs={"shape": found.shape}))


async def _bring(moving: Moving, mode: Mode) -> str:
    """What is still missing at the target; returns where in the source's log writes ended."""
    job = moving.job
    if mode == "Online":

        async def act() -> str:
            if job.rows:  # cut short between its settling and the switch
                await shared.stage(job)
            return await replication.drain(job)

        return str(await moving.take(Step(action="move.drain", target=moving.target, act=act)))
    copy = Step(action="move.copy", target=moving.target, act=lambda: archive.put_rows(job))
    await moving.take(copy)
    return ""


async def _switch(moving: Moving, verified: verification.Verified, place: str) -> None:
    """The commit point: one row of the registry. What the Secret says is forgotten, so that it is written anew."""
    world, row, change = moving.world, moving.row, moving.current.change
    point = change.moves_to if change is not None else None
    plan = {"plan_name": point.name, "plan_revision": point.revision} if point is not None else {}
    await moving.keep(tables=verified.tables, rows=verified.rows, checksum=verified.checksum, place=place)

    async def act() -> None:
        moving.current.claim = await world.registry.update(
            row.tenant_id, epoch=world.epoch, server=row.target_server, level=row.target_level,
            pool_database=row.target_database, binding_uid=None, binding_version=None, **plan,
        )  # fmt: skip

    inputs = {"rows": verified.rows, "checksum": verified.checksum, "place": place}
    await moving.take(Step(action="move.switch", target=moving.target, act=act, inputs=inputs))


async def reopen(moving: Moving, *, anew: bool) -> None:
    """Let the tenant in again where it was."""

    async def act() -> None:
        await closing.reopen(moving.job)
        if moving.job.rows and moving.row.mode == "Online":
            await shared.stage(moving.job)

    back = Step(action="move.reopen", target=moving.target, act=act)
    await moving.take(back)
    await moving.keep(step="Prepare" if anew else "Copy", attempt=moving.row.attempt + 1)


async def give_up(moving: Moving, because: str) -> None:
    """End a move that has not switched: logins open where they were, nothing of the target left."""
    await move_copy.stop(moving.world, moving.site.claim)
    if moving.row.step == "Cutover" and not moving.current.course.stopped:
        await reopen(moving, anew=True)
    step = Step(
        action="move.giveUp", target=moving.target, act=lambda: target.clear(moving.job), inputs={"because": because}
    )
    await moving.take(step)
    await moving.keep(retired=True)
    moving.world.definitions.pop(moving.row.tenant_id, None)
    await give_up_server(moving.world, moving.site, moving.row)


async def give_up_server(world: World, site: Site, row: MoveRow) -> None:
    """The end of a move that was given up: no server that was made for it remains. Raises Retry until that is so."""
    if move_server.beside(world, site.claim):
        await move_server.removed(world, site.claim, site.scope)
    await world.moves.remove(row.tenant_id, epoch=world.epoch)


async def settle(moving: Moving) -> None:
    """After the switch: note until when what the tenant left is kept."""
    cell = moving.world.declared.cells.get(moving.row.cell)
    window = duration.parse(cell.spec.rollback_window if cell is not None else "24h")
    moving.world.definitions.pop(moving.row.tenant_id, None)
    await moving.keep(step="Keep", keep_until=moving.world.now() + window)


async def retire(moving: Moving) -> None:
    """Close what the tenant left for good."""
    await moving.take(Step(action="move.retire", target=moving.target, act=lambda: leaving.retire(moving.job)))
    await moving.keep(retired=True)


async def discard(moving: Moving) -> None:
    """Drop what the tenant left, in the hour's budget of deletions."""
    drop = Step(
        action=DELETIONS.action, target=f"Move/{moving.row.tenant_id}/{moving.row.source_server}",
        act=lambda: leaving.discard(moving.job), inputs={"database": moving.row.source_database}, budget=DELETIONS,
        due=moving.row.keep_until,
    )  # fmt: skip
    await moving.take(drop)
    await moving.world.moves.remove(moving.row.tenant_id, epoch=moving.world.epoch)


async def discard_server(world: World, site: Site, row: MoveRow) -> None:
    """Have the server destroyed that the tenant left, in the hour's budget of deletions; raises Retry until it is."""
    newest = world.operations.store.newest(row.tenant_id)
    if newest is None or newest.kind not in ("destroy", "recover") or newest.queued_time < row.begun_time:
        begin = Step(
            action=DELETIONS.action, target=f"Move/{row.tenant_id}/{row.source_server}",
            act=lambda: infrastructure.destroyed(world, move_server.there(site.claim), site.scope),
            inputs={"server": row.source_server}, budget=DELETIONS, due=row.keep_until,
        )  # fmt: skip
        await take(world, site.scope, [begin])
    await move_server.removed(world, site.claim, site.scope)
    await world.moves.remove(row.tenant_id, epoch=world.epoch)
