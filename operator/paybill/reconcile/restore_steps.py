"""The stages of a restore as jobs: each takes its step, audited before it is done, and may be taken over again.

Of shared tables the exchange is what destroys, so it spends the hour's budget of deletions; elsewhere what was replaced
is kept beside until it is dropped, and that drop spends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from paybill.api.failures import Blocked, Failure
from paybill.api.tenant_restore import TenantRestore
from paybill.backups import backup as backups
from paybill.backups import restore as restoring
from paybill.backups import restore_schema
from paybill.backups.manifest import Manifest
from paybill.backups.restoring import Restore, Target
from paybill.databases.drop import Fence
from paybill.lifecycle.budget import DELETIONS
from paybill.reconcile import own_place
from paybill.reconcile.backup_jobs import Progress
from paybill.reconcile.restore_plan import Wanted, place_of
from paybill.reconcile.steps import Scope, Step, digest, take
from paybill.reconcile.world import World

Act = Callable[[Restore], Awaitable[Any]]


@dataclass(kw_only=True)
class Ended:
    """How a stage's job ended. ``began``: its act was reached, so that what it does may have been done."""

    began: bool = False
    failure: Failure | None = None
    proof: dict[str, Any] = field(default_factory=dict)
    migrated: int | None = None
    """Which of the provider's migrations the backup has seen."""


@dataclass(frozen=True, kw_only=True)
class StageJob:
    """The job of a stage, and the (cell, server) and the tenant that it works on."""

    place: tuple[str, str]
    tenant: str
    run: Callable[[Progress], Awaitable[Ended]]


def looking(found: Wanted) -> StageJob:
    """Read the backup to its end, for a dry run."""

    async def run(progress: Progress) -> Ended:
        progress("Reading", 0)
        try:
            await backups.check(found.restore.store, found.restore.keyring, found.known)
        except Failure as failure:
            return Ended(failure=failure)
        return Ended(proof=proof_of(found.known))

    return StageJob(place=(found.claim.cell, found.claim.server), tenant=found.claim.id, run=run)


def preparing(world: World, asked: TenantRestore, found: Wanted, cause: str) -> StageJob:
    """Put the backup beside what the tenant has, and prove it there."""

    def step(act: Callable[[], Awaitable[Any]]) -> Step:
        inputs = {"backup": found.known.id, "from": found.known.tenant, "to": found.claim.id}
        return Step(action="restore.prepare", target=_target(asked), act=act, inputs=inputs)

    return _job(world, found, cause, step, restoring.prepare, proof_of(found.known))


def switching(world: World, asked: TenantRestore, found: Wanted, cause: str) -> StageJob:
    """Shut the tenant out and exchange what it has for what was prepared."""
    budget = DELETIONS if found.restore.target.rows else None
    action = budget.action if budget is not None else "restore.switch"

    inputs = _exchanged(found)

    def step(act: Callable[[], Awaitable[Any]]) -> Step:
        due = asked.metadata.creation_timestamp
        return Step(
            action=action, target=_target(asked), act=act, inputs=inputs, destructive=True, budget=budget, due=due
        )

    return _job(world, found, cause, step, restoring.switch)


async def refuse_again(world: World, asked: TenantRestore, found: Wanted) -> None:
    """Raise Blocked when one of this name has put this backup there already, and its object was lost and applied anew.

    What it replaced then is gone, and what the tenant has written since is not what anybody meant.
    """
    time = await world.audit.destroyed_by(found.claim.id, _target(asked), digest(_exchanged(found)))
    if time is not None:
        raise Blocked(
            "AlreadyRestored",
            f"a TenantRestore of this name began to put this backup into Tenant {found.claim.tenant_name} at"
            f" {time:%Y-%m-%d %H:%M} UTC: if it is to be done again, write it under another name",
        )


def _exchanged(found: Wanted) -> dict[str, str]:
    """What an exchange is told by in the audit log."""
    return {"backup": found.known.id, "to": found.claim.id}


async def finishing(world: World, asked: TenantRestore, cause: str) -> StageJob:
    """Drop what was replaced; the backup is not needed for that, and may be gone."""
    claim = world.registry.by_id(asked.status.tenant_id or "")
    if claim is None or not await own_place.connected(world, claim):
        raise Blocked("NoTenant", f"tenant {asked.status.tenant_id} is gone, and what was replaced with it")
    attached = world.servers.of(claim)
    target, fence = place_of(attached, claim), partial(world.fence, attached.server)
    scope = Scope(cause=cause, tenant_id=claim.id, cell=claim.cell)

    async def run(progress: Progress) -> Ended:
        progress("Dropping", 0)
        try:
            await _drop_replaced(world, asked, scope, target, fence)
        except Failure as failure:
            return Ended(failure=failure)
        return Ended()

    return StageJob(place=(claim.cell, claim.server), tenant=claim.id, run=run)


async def clear(world: World, asked: TenantRestore, cause: str) -> None:
    """Remove what a restore that is over, or whose object goes, left beside its tenant; nothing where that is gone."""
    claim = world.registry.by_id(asked.status.tenant_id or "")
    if names_nothing(asked) or claim is None or claim.state == "dropped":
        return
    if claim.drop_started_time is not None or not await own_place.connected(world, claim):
        return
    attached = world.servers.of(claim)
    target, fence = place_of(attached, claim), partial(world.fence, attached.server)
    scope = Scope(cause=cause, tenant_id=claim.id, cell=claim.cell)
    act = partial(restoring.clear, target, fence, asked.metadata.uid)
    await take(world, scope, [Step(action="restore.abandon", target=_target(asked), act=act)])
    await _drop_replaced(world, asked, scope, target, fence)
    attached.created.pop(claim.id, None)
    await attached.look(claim.id)


def names_nothing(asked: TenantRestore) -> bool:
    """Whether it has nothing beside any tenant: it never began, or it is over."""
    return asked.spec.dry_run or asked.status.stage is None


def proof_of(known: Manifest) -> dict[str, Any]:
    """What the status says when all of a backup was compared."""
    tables = known.ledger.tables
    told = "\n".join(f"{one.name} {one.rows} {one.checksum}" for one in tables)
    digest = hashlib.sha256(told.encode()).hexdigest()
    return {"tables": len(tables), "rows": known.ledger.rows, "checksum": f"sha256:{digest}"}


async def _drop_replaced(world: World, asked: TenantRestore, scope: Scope, target: Target, fence: Fence) -> None:
    """Drop what this very restore put aside, in the hour's budget; nothing when that is done."""
    if not await restore_schema.switched(target, asked.metadata.uid):
        return
    step = Step(
        action=DELETIONS.action,
        target=_target(asked),
        act=lambda: restore_schema.drop(target, fence, restore_schema.aside(target)),
        inputs={"id": target.tenant},
        budget=DELETIONS,
        due=asked.status.restored_time,
    )
    await take(world, scope, [step])


def _job(
    world: World,
    found: Wanted,
    cause: str,
    step: Callable[[Callable[[], Awaitable[Any]]], Step],
    act: Act,
    proof: dict[str, Any] | None = None,
) -> StageJob:
    scope = Scope(cause=cause, tenant_id=found.claim.id, cell=found.claim.cell)

    async def run(progress: Progress) -> Ended:
        ended = Ended(proof=proof or {}, migrated=found.known.migrated)
        restore = replace(found.restore, progress=progress)

        async def begun() -> None:
            ended.began = True
            await act(restore)

        try:
            await take(world, scope, [step(begun)])
        except Failure as failure:
            ended.failure = failure
        return ended

    return StageJob(place=(found.claim.cell, found.claim.server), tenant=found.claim.id, run=run)


def _target(asked: TenantRestore) -> str:
    return f"TenantRestore/{asked.metadata.name}"
