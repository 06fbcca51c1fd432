"""One TenantBackup: begin it when its server has room, say how far it is, believe it when it is proved, remove it.

What is asked for by a person or a schedule fails for good when it fails: the next one is another object. The final one
before a deletion is tried again for as long as it takes, because its tenant's data waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from paybill.api import conditions as c
from paybill.api.failures import Blocked, Failure, Retry
from paybill.api.tenant_backup import BackupPlan, TenantBackup, TenantBackupStatus
from paybill.backups import backup as taking
from paybill.backups import export
from paybill.backups.backup import Source
from paybill.backups.manifest import Manifest
from paybill.backups.proof import prove
from paybill.control.claims import Claim
from paybill.desired import names
from paybill.reconcile import backup_schedule, backup_store, final_backup, metrics, own_place, report
from paybill.reconcile.asked import asked
from paybill.reconcile.backup_jobs import Progress, worth_another
from paybill.reconcile.permission import refuse_unless_acting
from paybill.reconcile.queue import Work
from paybill.reconcile.servers import Attached
from paybill.reconcile.status import Fact
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

TOLD_EVERY = timedelta(seconds=5)
"""How often a running one says how far it is."""
FINAL_AGAIN = timedelta(minutes=15)
"""Until a final backup that failed is tried again."""
MOST_ATTEMPTS = 5
"""How often one is begun that a server or a store kept from coming to its end."""
ROOM_AGAIN = 5.0
"""Seconds until one that waits for its turn on a server looks again."""


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001
    """Carry out one TenantBackup as far as it goes now; returns when to look again."""
    backup = await asked(world, world.declared.backups, name)
    if backup is None:
        return None
    if backup.metadata.deletion_timestamp is not None:
        await _go(world, backup, cause)
        return None
    expires = final_backup.expiry(world, backup)
    if expires is not None and expires <= world.now():
        await backup_schedule.delete(world, name, f"TenantBackup/{name} has expired")
        return None
    if _over(backup, world.now()):
        return expires or await final_backup.spared(world, backup, cause)
    try:
        return await _go_on(world, backup, cause)
    except Failure as failure:
        await _tell(world, backup, failure, backup.status)
        if backup.spec.reason == "Final":
            world.queue.add(Work("Tenant", backup.spec.tenant_ref.name), f"TenantBackup/{name} waits")
        raise


def _over(backup: TenantBackup, now: datetime) -> bool:
    """Whether nothing is to be done (now): it is proved, or it failed."""
    status = backup.status
    if status.verified_time is not None or status.failed_time is None:
        return status.verified_time is not None
    return backup.spec.reason != "Final" or now < status.failed_time + FINAL_AGAIN


async def _go_on(world: World, backup: TenantBackup, cause: str) -> datetime | None:
    work = Work("TenantBackup", backup.metadata.name)
    if (job := world.jobs.running(work)) is not None:
        shown = backup.status.model_copy(update={"step": job.step or None, "done": job.done})
        await _tell(world, backup, Retry("BackupRunning", f"{job.step or 'Beginning'}"), shown)
        return world.now() + TOLD_EVERY
    if (task := world.jobs.ended(work)) is not None:
        return await _end(world, backup, task)
    claim = _claim(world, backup)
    store, keyring = await backup_store.opened(world, claim.cell)
    if not await own_place.connected(world, claim):
        raise Retry("NothingToBackUp", f"Tenant {claim.tenant_name} has no database yet", after=30.0)
    attached = world.servers.of(claim)
    place, limit = (claim.cell, claim.server), backup_store.declared(world, claim.cell).jobs_per_server
    if not world.jobs.room(place, claim.id, limit):
        raise Retry("BackupWaits", f"another backup or restore runs on server {claim.server}", after=ROOM_AGAIN)
    refuse_unless_acting(world, "backup.take", cell=claim.cell)
    source = Source(
        server=attached.server,
        pool=attached.pool,
        tenant=claim.id,
        uid=claim.origin_uid,
        plan=claim.plan_name or "",
        revision=claim.plan_revision or "",
        migrated=world.migration_rows.of(claim.id, claim.cell).version,
    )
    fence = partial(world.fence, attached.server)

    async def act(progress: Progress) -> Manifest:
        known = await taking.take(source, store, keyring, backup.metadata.uid, fence=fence, progress=progress)
        if backup.spec.format == "Export":
            return await export.add(attached.server, store, keyring, known, progress=progress)
        await prove(attached.server, store, keyring, known, progress=progress)
        return known

    async def run(progress: Progress) -> Manifest:
        step = Step(
            action="backup.take",
            target=f"TenantBackup/{backup.metadata.name}",
            act=lambda: act(progress),
            inputs={"id": claim.id, "key": keyring.current},
        )
        taken: Manifest = (await take(world, Scope(cause=cause, tenant_id=claim.id, cell=claim.cell), [step]))[0]
        return taken

    with world.jobs.reserved(work, place, claim.id):
        await report.hold(world, backup)
        begun = _begun(backup, claim, attached, world.now())
        await _tell(world, backup, Retry("BackupRunning", "Beginning"), begun)
        world.jobs.begin(work, place, claim.id, run)
    return world.now() + TOLD_EVERY


def _claim(world: World, backup: TenantBackup) -> Claim:
    name = backup.spec.tenant_ref.name
    known = world.registry.by_id(backup.status.tenant_id) if backup.status.tenant_id else None
    if known is not None:
        return known
    tenant = world.declared.tenants.get(name)
    claim = world.registry.by_uid(tenant.metadata.uid) if tenant is not None else None
    if tenant is None:
        raise Blocked("NoTenant", f"there is no Tenant {name}")
    if claim is None or claim.plan_name is None:
        raise Retry("NothingToBackUp", f"Tenant {name} has no place yet", after=30.0)
    return claim


def _begun(backup: TenantBackup, claim: Claim, attached: Attached, now: datetime) -> TenantBackupStatus:
    return TenantBackupStatus(
        tenant_id=claim.id,
        tenant_uid=claim.origin_uid,
        cell=claim.cell,
        level=claim.level,
        plan=BackupPlan(name=claim.plan_name, revision=claim.plan_revision) if claim.plan_name else None,
        started_time=now,
        attempts=(backup.status.attempts or 0) + 1,
        server_version=attached.server.traits.release,
        conditions=backup.status.conditions,
    )


async def _end(world: World, backup: TenantBackup, task: asyncio.Task[Any]) -> datetime | None:
    """Take the result of its job: proved, failed for good, or to be begun again."""
    try:
        known: Manifest = task.result()
    except Failure as failure:
        return await _failed(world, backup, failure)
    now = world.now()
    done = backup.status.model_copy(
        update={
            "completed_time": known.ended.replace(microsecond=0),
            "verified_time": now,
            "failed_time": None,
            "step": None,
            "done": None,
            "tables": len(known.ledger.tables),
            "rows": known.ledger.rows,
            "size": known.size,
            "key": known.key,
        }
    )
    await _tell(world, backup, None, done)
    metrics.BACKUPS.labels("verified").inc()
    await backup_schedule.retain(world, backup.spec.tenant_ref.name, done.tenant_id or "")
    world.queue.add(Work("Tenant", backup.spec.tenant_ref.name), f"TenantBackup/{backup.metadata.name} is verified")
    return backup.spec.expire_time or await final_backup.spared(world, backup, backup.metadata.name)


async def _failed(world: World, backup: TenantBackup, failure: Failure) -> datetime | None:
    status = backup.status
    if worth_another(failure, status.attempts or 0, MOST_ATTEMPTS):
        raise Retry(failure.reason, failure.message, after=15.0 * (status.attempts or 1)) from failure
    logger.warning("TenantBackup %s failed: %s", backup.metadata.name, failure)
    metrics.BACKUPS.labels("failed").inc()
    over = Blocked(failure.reason, failure.message)
    shown = status.model_copy(update={"failed_time": world.now(), "step": None, "done": None, "attempts": None})
    await _tell(world, backup, over, shown)
    world.queue.add(Work("Tenant", backup.spec.tenant_ref.name), f"TenantBackup/{backup.metadata.name} failed")
    return world.now() + FINAL_AGAIN if backup.spec.reason == "Final" else backup.spec.expire_time


async def _go(world: World, backup: TenantBackup, cause: str) -> None:
    """Remove one that is deleted; what keeps its data in the store is said on it, as it stands until that is gone."""
    try:
        await _remove(world, backup, cause)
    except Failure as failure:
        kept = type(failure)(failure.reason, f"its data is not removed from the store: {failure.message}")
        await _tell(world, backup, kept, backup.status)
        raise


async def _remove(world: World, backup: TenantBackup, cause: str) -> None:
    """Remove what is in the store, then let the object go: whoever deletes a TenantBackup deletes the data."""
    await world.jobs.stop(Work("TenantBackup", backup.metadata.name))
    status = backup.status
    if names.FINALIZER in backup.metadata.finalizers and status.tenant_id and status.cell:
        tenant_id, cell = status.tenant_id, status.cell
        store, _ = await backup_store.opened(world, cell)
        step = Step(
            action="backup.remove",
            target=f"TenantBackup/{backup.metadata.name}",
            act=lambda: taking.remove(store, world.settings.installation, tenant_id, backup.metadata.uid),
            inputs={"id": tenant_id},
            destructive=True,
        )
        await take(world, Scope(cause=cause, tenant_id=tenant_id, cell=cell), [step])
    await report.let_go(world, backup)
    world.queue.add(Work("Tenant", backup.spec.tenant_ref.name), f"TenantBackup/{backup.metadata.name} is gone")


async def _tell(world: World, backup: TenantBackup, failure: Failure | None, status: TenantBackupStatus) -> None:
    proof = f"{status.rows} rows of {status.tables} tables were restored and are what was counted"
    done = Fact(type=c.READY, status=c.TRUE, reason="Verified", message=proof)
    await report.tell(world, world.declared.backups, backup, status, failure, done)
