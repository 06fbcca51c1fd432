"""What a Plan promises of backups, kept for one Tenant: runs begin when they are due, old ones go, freshness shows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from paybill.api import conditions as c
from paybill.api.failures import Blocked, Failure, Invalid, Retry
from paybill.api.policies import Backup
from paybill.api.tenant_backup import TenantBackup
from paybill.cluster.glances import BackupGlance
from paybill.control.claims import Claim
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.lifecycle.backups import Kept, Runs, excess, run_name, runs
from paybill.reconcile import backup_store
from paybill.reconcile.queue import Work
from paybill.reconcile.status import BACKUP_FRESH, Fact
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World

MANAGER = f"{names.MANAGER}-backups"
"""Writes what a TenantBackup asks for; the usual one owns its finalizer, and would take this away with it."""


def policy(world: World, claim: Claim | None) -> Backup | None:
    """What the tenant's Plan, as it is on it, says of backups."""
    if claim is None or claim.plan_name is None or claim.ready_time is None:
        return None
    content = world.revisions.get(claim.plan_name, claim.plan_revision)
    return content.backup if content is not None else None


def _runs(world: World, claim: Claim | None) -> Runs | None:
    wanted = policy(world, claim)
    try:
        return runs(wanted, claim.id, world.now()) if wanted is not None and claim is not None else None
    except Invalid:
        return None  # said by the condition


def wake(world: World, claim: Claim | None) -> datetime | None:
    """When the next run of a tenant is due."""
    found = _runs(world, claim)
    return found.next_due if found is not None else None


async def ensure(world: World, claim: Claim, cause: str) -> None:
    """Write the TenantBackup of the last run that is due, unless it is there or the tenant is younger."""
    found = _runs(world, claim)
    if found is None or claim.ready_time is None or claim.ready_time > found.last:
        return
    if any(one.reason == "Scheduled" and not one.verified and not one.failed for one in _ours(world, claim)):
        return  # the one before has not come to its end: two at a time would only wait for each other
    name = run_name(claim.id, found.last)
    known = world.declared.backups.get(name)
    newest = next((one for one in _ours(world, claim) if one.reason == "Scheduled" and one.verified), None)
    if known is not None or (newest is not None and newest.name >= name):
        return
    await write(world, claim, name, "Scheduled", cause)


async def write(
    world: World, claim: Claim, name: str, reason: str, cause: str, expires: datetime | None = None
) -> None:
    """Write a TenantBackup of a tenant."""
    obj = _written(claim.id, name, claim.tenant_name, reason, expires)
    step = Step(
        action="tenantBackup.create",
        target=f"TenantBackup/{name}",
        act=lambda: world.cluster.apply(obj, manager=MANAGER),
        inputs=obj,
    )
    answer = (await take(world, Scope(cause=cause, tenant_id=claim.id, cell=claim.cell), [step]))[0]
    # Our own write is no news when its event comes, so it is begun from here.
    world.declared.put("TenantBackup", answer)
    world.queue.add(Work("TenantBackup", name), cause)


async def let_expire(world: World, claim: Claim, backup: TenantBackup, expires: datetime, cause: str) -> None:
    """Give a TenantBackup of ours that had none its last day."""
    name, spec = backup.metadata.name, backup.spec
    obj = _written(claim.id, name, spec.tenant_ref.name, spec.reason, expires)
    obj["metadata"]["uid"] = backup.metadata.uid
    step = Step(
        action="tenantBackup.expire",
        target=f"TenantBackup/{name}",
        act=lambda: world.cluster.apply(obj, manager=MANAGER),
        inputs=obj,
    )
    answer = (await take(world, Scope(cause=cause, tenant_id=claim.id, cell=claim.cell), [step]))[0]
    world.declared.put("TenantBackup", answer)


def _written(tenant_id: str, name: str, tenant: str, reason: str, expires: datetime | None) -> dict[str, Any]:
    """All that we say of a TenantBackup: what an apply leaves out of what it said before is taken away."""
    spec: dict[str, Any] = {"tenantRef": {"name": tenant}, "reason": reason}
    if expires is not None:
        spec["expireTime"] = expires.isoformat().replace("+00:00", "Z")
    return {
        "apiVersion": TenantBackup.api_version,
        "kind": "TenantBackup",
        "metadata": {"name": name, "labels": {names.TENANT_LABEL: tenant_id}},
        "spec": spec,
    }


async def retain(world: World, tenant: str, tenant_id: str) -> None:
    """Delete the scheduled backups of a tenant that its Plan does not keep any longer."""
    claim = world.registry.by_id(tenant_id)
    wanted = policy(world, claim)
    if claim is None or wanted is None:
        return
    found = [
        Kept(name=one.name, created=one.created, verified=one.verified is not None, ended=bool(one.failed))
        for one in world.declared.backups_of(tenant)
        if one.tenant_id == tenant_id and one.reason == "Scheduled" and not one.deleting
    ]
    for name in excess(found, wanted.keep):
        await delete(world, name, f"Plan/{claim.plan_name} keeps {wanted.keep}")


async def delete(world: World, name: str, cause: str) -> None:
    """Delete a TenantBackup, which takes its data with it."""
    backup = world.declared.backups.get(name)
    if backup is None:
        return
    metadata, status = backup.metadata, backup.status
    step = Step(
        action="tenantBackup.delete",
        target=f"TenantBackup/{name}",
        act=lambda: world.cluster.delete(
            Key("TenantBackup", "", name), uid=metadata.uid, resource_version=metadata.resource_version
        ),
        destructive=True,
    )
    await take(world, Scope(cause=cause, tenant_id=status.tenant_id, cell=status.cell), [step])


def condition(world: World, claim: Claim | None) -> Fact:
    """The condition BackupFresh: absent where the Plan promises nothing, and before the first run is due."""
    wanted = policy(world, claim)
    if wanted is None or claim is None:
        return Fact(type=BACKUP_FRESH, status=None)
    failure = _trouble(world, claim, wanted)
    if failure is not None:
        return Fact(type=BACKUP_FRESH, status=c.FALSE, reason=failure.reason, message=failure.message)
    newest = next((one for one in _ours(world, claim) if one.verified), None)
    if newest is None or newest.verified is None:
        return Fact(type=BACKUP_FRESH, status=None)
    return Fact(
        type=BACKUP_FRESH, status=c.TRUE, reason="Verified", message=f"the newest verified one is {newest.name}"
    )


def _trouble(world: World, claim: Claim, wanted: Backup) -> Failure | None:
    """Why the tenant has no backup as fresh as its Plan promises."""
    try:
        found = runs(wanted, claim.id, world.now())
        backup_store.declared(world, claim.cell)
    except Failure as failure:
        return failure
    ready = claim.ready_time
    if found is None or ready is None or ready > found.last:
        return None
    ours = _ours(world, claim)
    since = max(found.before, ready) - timedelta(minutes=1)
    if any(one.started is not None and one.verified and one.started >= since for one in ours):
        return None
    last = next((one for one in ours if one.failed), None)
    if last is not None:
        return Blocked(
            last.failed, f"backup {last.name} failed, and none has been verified since {since:%Y-%m-%d %H:%M}"
        )
    return Retry("BackupOverdue", f"no backup has been verified since {since:%Y-%m-%d %H:%M} UTC")


def _ours(world: World, claim: Claim) -> list[BackupGlance]:
    """The backups of this very tenant, newest first; a namesake's are none of them."""
    return [one for one in world.declared.backups_of(claim.tenant_name) if one.tenant_id in (claim.id, None)]
