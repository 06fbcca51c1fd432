"""The last backup of a Tenant that is deleted or archived: made when its logins are closed, believed when it is proved.

Until then nothing is noted in the registry, so nothing can be dropped: a backup that cannot be made keeps everything.
One that an archived tenant has come back from is spare: it gets a last day then, and none before.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from paybill.api.failures import Blocked, Retry
from paybill.api.policies import Payment
from paybill.api.tenant import Tenant
from paybill.api.tenant_backup import TenantBackup
from paybill.control.claims import Claim
from paybill.desired import names
from paybill.lifecycle.retention import spare_until
from paybill.reconcile import backup_schedule
from paybill.reconcile.world import World

WAITS = 5.0
"""Seconds between looks at a final backup; it also wakes its Tenant when it has ended."""
SPARE_AGAIN = timedelta(minutes=1)
"""Between looks at whether the tenant of a final backup, which is not in the archive, is served again."""
SPARE_WITHIN = 5.0
"""Seconds in which the pass that lets a tenant back in has said so everywhere."""


def name_of(claim: Claim, requested: datetime) -> str:
    """What the final backup of a deletion is called: another deletion of the same tenant has another one."""
    return f"{claim.id}-final-{requested:%Y%m%d%H%M%S}"


def name_in_archive(claim: Claim, ended: datetime) -> str:
    """What the final backup of a contract that is over is called: each end has one of its own."""
    return f"{claim.id}-archive-{ended:%Y%m%d%H%M%S}"


async def made(world: World, tenant: Tenant, claim: Claim, cause: str) -> datetime:
    """When the data may be dropped, now that the final backup is proved.

    Raises Retry while it is being made, Blocked with its reason when it failed: nothing is deleted then.
    """
    requested = tenant.metadata.deletion_timestamp or world.now()
    name, payment = name_of(claim, requested), _payment(world, claim)
    drop_after = requested + timedelta(days=payment.retain_days)
    expires = drop_after + timedelta(days=payment.archive_days)
    kept = f"Tenant {tenant.metadata.name} is not deleted"
    await proved(world, claim, name, cause, expires=expires, kept=kept)
    await world.registry.update(claim.id, epoch=world.epoch, deletion_policy="Snapshot")
    return drop_after


async def proved(world: World, claim: Claim, name: str, cause: str, *, expires: datetime | None, kept: str) -> datetime:
    """When the final backup ``name`` was proved; it is asked for where nobody has.

    Raises Retry while it is being made, Blocked with its reason when it failed; ``kept`` says what does not happen.
    """
    if world.declared.backups.get(name) is None:
        await backup_schedule.write(world, claim, name, "Final", cause, expires)
    glance = world.declared.backups.glance(name)
    if glance is not None and glance.verified and glance.tenant_id == claim.id:
        return glance.verified
    if glance is not None and glance.stalled:
        raise Blocked(
            glance.stalled,
            f"{kept}, because its final backup {name} failed: `kubectl describe tenantbackup {name}` says why. It is"
            " tried again every quarter of an hour; everything is kept",
        )
    raise Retry("FinalBackup", f"the final backup {name} is made before anything is deleted", after=WAITS)


def expiry(world: World, backup: TenantBackup) -> datetime | None:
    """When a backup goes by its date; None: not by time, or not now, because it is all that an archived tenant has."""
    claim = world.registry.by_id(backup.status.tenant_id or "")
    alone = claim is not None and claim.state in {"claimed", "released"} and claim.archive == backup.metadata.name
    return None if alone else backup.spec.expire_time


async def spared(world: World, backup: TenantBackup, cause: str) -> datetime | None:
    """Give the backup of an archive its last day, once its tenant is back; returns when that is, or to look again.

    It counts from when the tenant was there again, or when the backup was proved where it never came to the archive.
    One without a claim, of a contract that is over or vanished, or of anybody else's making is not touched.
    """
    claim, name = world.registry.by_id(backup.status.tenant_id or ""), backup.metadata.name
    if claim is None or claim.archive == name or not _of_archive(backup, claim):
        return None
    facts = world.facts.get(claim.subscription_uid or "")
    proved = backup.status.verified_time
    served = facts is not None and facts.ended_time is None and facts.archived_time is None
    if claim.state != "claimed" or claim.ready_time is None or proved is None or not served:
        return world.now() + SPARE_AGAIN
    expires = spare_until(max(claim.ready_time, proved), _payment(world, claim))
    await backup_schedule.let_expire(world, claim, backup, expires, cause)
    return expires


async def let_go_with(world: World, claim: Claim, since: datetime, cause: str) -> None:
    """Give the backup of an archived tenant that is deleted its last day: afterwards nobody knows whose it was."""
    backup = world.declared.backups.get(claim.archive or "")
    if backup is not None and backup.spec.expire_time is None and backup.metadata.deletion_timestamp is None:
        expires = spare_until(since, _payment(world, claim))
        await backup_schedule.let_expire(world, claim, backup, expires, cause)


def _of_archive(backup: TenantBackup, claim: Claim) -> bool:
    """Whether it was written for an archive of this tenant: by its reason, its mark and its name."""
    ours = backup.metadata.labels.get(names.TENANT_LABEL) == claim.id
    return ours and backup.spec.reason == "Final" and backup.metadata.name.startswith(f"{claim.id}-archive-")


def refuse_unproved(world: World, claim: Claim) -> None:
    """Raise Blocked unless the final backup that allowed a deletion is still there, before the data goes for good."""
    if claim.deletion_policy != "Snapshot" or claim.drop_started_time is not None:
        return
    found = world.declared.backups_of(claim.tenant_name)
    if any(one.tenant_id == claim.id and one.reason == "Final" and one.verified and not one.deleting for one in found):
        return
    raise Blocked(
        "FinalBackupMissing",
        f"the data of Tenant {claim.tenant_name} ({claim.id}) is not dropped: its final backup was deleted. Adopt the"
        " id and delete the Tenant again",
    )


def _payment(world: World, claim: Claim) -> Payment:
    content = world.revisions.get(claim.plan_name, claim.plan_revision)
    return content.payment if content is not None and content.payment is not None else Payment()
