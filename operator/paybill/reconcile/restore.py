"""One TenantRestore, stage by stage: what was done stands in its status before anything relies on it.

``Preparing`` puts all of the backup beside what the tenant has, proves it and scrubs it, while the tenant goes on.
``Switching`` shuts the tenant out and exchanges the two in one transaction. ``Finishing`` lets it in again and drops
what was replaced. A process that is killed goes on at the stage that the status names; before ``Switching`` nothing of
the tenant has changed, and whatever stops it there leaves it so.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from paybill.api.failures import Blocked, Failure, Retry
from paybill.api.tenant_restore import TenantRestore, TenantRestoreStatus
from paybill.backups.manifest import DATA
from paybill.control.claims import Claim
from paybill.databases.failures import FULL
from paybill.migrations import ledger
from paybill.reconcile import backup_store, metrics, report, restore_steps
from paybill.reconcile.asked import asked as still_asked
from paybill.reconcile.backup_jobs import worth_another
from paybill.reconcile.migrations import cleared
from paybill.reconcile.permission import refuse_unless_acting
from paybill.reconcile.queue import Work
from paybill.reconcile.restore_plan import Wanted, wanted
from paybill.reconcile.restore_report import done, tell
from paybill.reconcile.restore_steps import Ended
from paybill.reconcile.servers import Attached
from paybill.reconcile.tenant_migrations import COUNTED_WITHIN
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

TOLD_EVERY: Final = timedelta(seconds=5)
"""How often a running one says how far it is."""
MOST_ATTEMPTS: Final = 5
"""How often the preparation is begun that a server or a store kept from coming to its end."""
ROOM_AGAIN: Final = 5.0
"""Seconds until one that waits for its turn on a server looks again."""


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001
    """Carry out one TenantRestore as far as it goes now; returns when to look again."""
    asked = await still_asked(world, world.declared.restores, name)
    if asked is None:
        return None
    if asked.metadata.deletion_timestamp is not None:
        await _go(world, asked, cause)
        return None
    if over(asked):
        return None
    try:
        return await _go_on(world, asked, cause)
    except Failure as failure:
        latest = world.declared.restores.get(name) or asked
        await tell(world, latest, failure, latest.status)
        raise


async def _go(world: World, asked: TenantRestore, cause: str) -> None:
    """Let one that is deleted go with all that is beside its tenant; what keeps that there is said on it."""
    name = asked.metadata.name
    await world.jobs.stop(Work("TenantRestore", name))
    try:
        await restore_steps.clear(world, asked, cause)
    except Failure as failure:
        kept = type(failure)(failure.reason, f"what it prepared is not removed: {failure.message}")
        await tell(world, asked, kept, asked.status)
        raise
    await report.let_go(world, asked)
    _wake_tenant(world, asked.status, name)


def over(asked: TenantRestore) -> bool:
    """Whether nothing is to be done any more."""
    status = asked.status
    return status.failed_time is not None or (status.restored_time is not None and status.stage is None)


async def _go_on(world: World, asked: TenantRestore, cause: str) -> datetime | None:
    work = Work("TenantRestore", asked.metadata.name)
    if (job := world.jobs.running(work)) is not None:
        shown = asked.status.model_copy(update={"step": job.step or None, "done": job.done})
        await tell(world, asked, Retry("Restoring", f"{asked.status.stage}: {job.step or 'beginning'}"), shown)
        return world.now() + TOLD_EVERY
    if (task := world.jobs.ended(work)) is not None:
        return await _end(world, asked, task, cause)
    if asked.status.stage == "Finishing":
        _refuse_closed(world, asked)
        return await _begin(world, asked, await restore_steps.finishing(world, asked, cause), asked.status)
    found = await wanted(world, asked)
    if asked.spec.dry_run:
        return await _begin(world, asked, restore_steps.looking(found), _status(world, asked, found, "Preparing"))
    if asked.status.stage is None:
        await restore_steps.refuse_again(world, asked, found)
    await report.hold(world, asked)
    if asked.status.stage in ("Prepared", "Switching"):
        switching = asked.status.model_copy(update={"stage": "Switching"})
        return await _begin(world, asked, restore_steps.switching(world, asked, found, cause), switching)
    preparing = _status(world, asked, found, "Preparing")
    return await _begin(world, asked, restore_steps.preparing(world, asked, found, cause), preparing)


def _refuse_closed(world: World, asked: TenantRestore) -> None:
    """Raise Retry until the tenant is as its contract says; what was replaced is kept that long."""
    claim = world.registry.by_id(asked.status.tenant_id or "")
    if claim is not None and claim.state == "claimed" and not world.ready.get(claim.id, False):
        said = f"Finishing: the data is in its place; Tenant {claim.tenant_name} is let in again"
        raise Retry("Restoring", said, after=1.0)


def _status(world: World, asked: TenantRestore, found: Wanted, stage: str) -> TenantRestoreStatus:
    before = asked.status
    return before.model_copy(
        update={
            "backup": found.known.id,
            "source_id": found.origin.tenant_id,
            "cell": found.origin.cell,
            "tenant": found.claim.tenant_name,
            "tenant_id": found.claim.id,
            "started_time": before.started_time or world.now(),
            "stage": stage,
            "content": found.known.part(DATA).content,
            "attempts": (before.attempts or 0) + 1,
        }
    )


async def _begin(
    world: World, asked: TenantRestore, job: restore_steps.StageJob, status: TenantRestoreStatus
) -> datetime | None:
    """Begin the job of a stage, once its server has room and the status says so."""
    work, (cell, server) = Work("TenantRestore", asked.metadata.name), job.place
    if not world.jobs.room(job.place, job.tenant, _limit(world, cell)):
        raise Retry("RestoreWaits", f"another backup or restore runs on server {server}", after=ROOM_AGAIN)
    refuse_unless_acting(world, "restore.prepare", cell=cell)
    with world.jobs.reserved(work, job.place, job.tenant):
        await tell(world, asked, Retry("Restoring", f"{status.stage}: beginning"), status)
        latest = world.declared.restores.get(asked.metadata.name)
        if latest is None or latest.status.stage != status.stage:
            raise Retry("Conflict", f"the status of TenantRestore {asked.metadata.name} was not taken up", after=1.0)
        world.jobs.begin(work, job.place, job.tenant, job.run)
    return world.now() + TOLD_EVERY


def _limit(world: World, cell: str) -> int:
    try:
        return backup_store.declared(world, cell).jobs_per_server
    except Blocked:
        return 1  # a tenant of a Cell without a store may get what another one's holds


async def _end(world: World, asked: TenantRestore, task: asyncio.Task[Any], cause: str) -> datetime | None:
    """Take the result of a stage's job."""
    ended: Ended = task.result()
    stage, failure = asked.status.stage, ended.failure
    if failure is None:
        return await _passed(world, asked, ended)
    if failure.reason == "EpochLost":
        raise failure
    if stage == "Switching" and not ended.began:
        # Nobody was shut out: the tenant's roles are its own reconcile's again, until this one's turn comes.
        await tell(world, asked, failure, asked.status.model_copy(update={"stage": "Prepared"}))
        if isinstance(failure, Retry):
            raise failure
    # What has begun to switch is tried until it is known how that ended; a server without room has said how.
    most = MOST_ATTEMPTS if stage == "Preparing" else math.inf
    if worth_another(failure, asked.status.attempts or 0, most) or (
        stage == "Finishing" and isinstance(failure, Retry)
    ):
        raise Retry(failure.reason, failure.message, after=min(60.0, 5.0 * (asked.status.attempts or 1))) from failure
    if stage == "Finishing":
        raise failure
    return await _failed(world, asked, failure, cause)


async def _passed(world: World, asked: TenantRestore, ended: Ended) -> datetime | None:
    status = asked.status.model_copy(update={"step": None, "done": None, "attempts": None})
    if asked.spec.dry_run:
        said = done(asked, status.model_copy(update=ended.proof))
        await tell(world, asked, None, status.model_copy(update={**ended.proof, "stage": None}), said)
        return None
    match status.stage:
        case "Preparing":
            update: dict[str, Any] = {**ended.proof, "stage": "Prepared"}
            await tell(world, asked, Retry("Restoring", "Prepared: the tenant is shut out next"), _with(status, update))
        case "Switching":
            await _is_restored(world, asked, ended.migrated)
            update = {"stage": "Finishing", "restored_time": world.now()}
            dropped = Retry("Restoring", "Finishing: what was replaced is dropped next")
            await tell(world, asked, dropped, _with(status, update))
            world.ready[status.tenant_id or ""] = False  # until a pass that comes after this has let it in
            _wake_tenant(world, status, asked.metadata.name)
        case _:
            status = _with(status, {"stage": None})
            await tell(world, asked, None, status, done(asked, status))
            metrics.RESTORES.labels("restored").inc()
            await report.let_go(world, world.declared.restores.get(asked.metadata.name) or asked)
            return None
    return world.now()


def _with(status: TenantRestoreStatus, update: dict[str, Any]) -> TenantRestoreStatus:
    return status.model_copy(update=update)


async def _is_restored(world: World, asked: TenantRestore, migrated: int | None) -> None:
    """What memory and the registry hold of the tenant is from before: read anew, or noted, before it is let in."""
    claim = world.registry.by_id(asked.status.tenant_id or "")
    if claim is None:
        raise Retry("RestoreWaits", f"tenant {asked.status.tenant_id} is in no registry")
    attached, row = world.servers.of(claim), world.migration_rows.of(claim.id, claim.cell)
    rows = claim.level == "Rows"
    # What it has is as old as the backup. A ledger of its own came with it and is read again; of shared tables it is
    # theirs, so what this tenant has run since is taken out of it.
    version = migrated if migrated is not None else (row.version if rows else 0)
    if rows and migrated is not None:
        await ledger.forget_rows(attached.server, attached.pool, claim.id, migrated)
    if row != replace(cleared(row), version=version):
        await world.migration_rows.put(replace(cleared(row), version=version), epoch=world.epoch)
        world.queue.add_within(Work("Cell", claim.cell), COUNTED_WITHIN)
    if claim.ready_time is None:
        # What it has now is no new tenant's: migrations come in its turn, and backfill.
        await world.registry.update(claim.id, epoch=world.epoch, ready_time=world.now())
    await _look(attached, claim)


async def _look(attached: Attached, claim: Claim) -> None:
    attached.created.pop(claim.id, None)
    await attached.look(claim.id)


async def _failed(world: World, asked: TenantRestore, failure: Failure, cause: str) -> datetime | None:
    """It is over, and the tenant has what it had; not before nothing of it is left."""
    await restore_steps.clear(world, asked, cause)
    logger.warning("TenantRestore %s failed: %s", asked.metadata.name, failure)
    metrics.RESTORES.labels("failed").inc()
    over_ = Blocked(failure.reason, _over(asked, failure))
    update = {"failed_time": world.now(), "stage": None, "step": None, "done": None, "attempts": None}
    claim = world.registry.by_id(asked.status.tenant_id or "")
    if claim is not None and not asked.spec.dry_run:
        await _look(world.servers.of(claim), claim)
    await tell(world, asked, over_, _with(asked.status, update))
    _wake_tenant(world, asked.status, asked.metadata.name)
    return None


def _over(asked: TenantRestore, failure: Failure) -> str:
    if failure.reason != FULL:
        return failure.message
    return (
        f"{failure.message}. Tenant {asked.status.tenant} has what it had, and what was prepared for it is removed:"
        " make room on its server, then write another TenantRestore"
    )


def _wake_tenant(world: World, status: TenantRestoreStatus, name: str) -> None:
    if status.tenant is not None:
        world.queue.add(Work("Tenant", status.tenant), f"TenantRestore/{name} changed")
