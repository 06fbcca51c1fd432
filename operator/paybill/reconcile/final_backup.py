"""The last backup of a Tenant that is deleted or archived: made when its logins are closed, believed when it is proved.

Until then nothing is noted in the registry, so nothing can be dropped: a backup that cannot be made keeps everything.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from paybill.api.failures import Blocked, Retry
from paybill.api.policies import Payment
from paybill.api.tenant import Tenant
from paybill.control.claims import Claim
from paybill.reconcile import backup_schedule
from paybill.reconcile.world import World

WAITS = 5.0
"""Seconds between looks at a final backup; it also wakes its Tenant when it has ended."""


def name_of(claim: Claim, requested: datetime) -> str:
    """What the final backup of a deletion is called: another deletion of the same tenant has another one."""
    return f"{claim.id}-final-{requested:%Y%m%d%H%M%S}"


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
