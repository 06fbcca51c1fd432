"""Erasing a tenant because a person approved exactly that: no last backup, no retention, and no backup is left.

An erasure shortens waits and nothing else. What is dropped is dropped by the same steps, behind the same fence and
within the same hourly budget as in any deletion; what stays is the registry's tombstone and the audit log, which hold
no data of the tenant and prove what was removed.
"""

from __future__ import annotations

from datetime import datetime

from paybill.api.approval import Approval
from paybill.api.failures import Blocked, Retry
from paybill.control.claims import Claim
from paybill.desired import approval as approvals
from paybill.reconcile import backup_schedule
from paybill.reconcile.queue import Work
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World

AGAIN = 2.0
"""Seconds between looks at how far an erasure is."""


def approved(world: World, claim: Claim) -> Approval | None:
    """The Approval that this tenant is erased, if one stands."""
    wanted = approvals.erasure(claim.id, claim.tenant_uid)
    known = world.declared.approvals_of(claim.tenant_name)
    return approvals.find(known, "Tenant", claim.tenant_name, claim.tenant_uid, wanted, world.now(), action="Erase")


async def carried_out(world: World, approval: Approval, cause: str) -> datetime | None:
    """When nothing was left of the tenant; None when this Approval is of something else.

    Goes on with the erasure and raises Retry while there is something left.
    """
    name, uid = approval.spec.subject.name, approval.spec.subject.uid or ""
    claim = world.registry.by_uid(uid) or await world.registry.tombstone(uid)
    if claim is None or approval.spec.digest != approvals.erasure(claim.id, uid):
        return None
    if approval.spec.action != "Erase":
        raise Blocked(
            "DigestMismatch",
            f"its digest is that of an erasure, but it does not say `action: Erase`: `paybill erase {name}` writes one",
        )
    if approvals.expired(approval, world.now()):
        return None
    if claim.state == "claimed":
        raise Retry("Waiting", f"Tenant {name} is erased when it is deleted: `paybill erase {name}` does", after=AGAIN)
    scope = Scope(cause=cause, tenant_id=claim.id, cell=claim.cell)
    if claim.state != "dropped":
        await _hurry(world, claim, approval, scope)
        raise Retry("Erasing", f"what tenant {claim.id} has is being dropped", after=AGAIN)
    left = [one for one in world.declared.backups.glances() if one.tenant_id == claim.id]
    for backup in left:
        if not backup.deleting:
            await backup_schedule.delete(world, backup.name, cause)
    if left:
        raise Retry("Erasing", f"{len(left)} backups of tenant {claim.id} are being removed", after=AGAIN)
    return world.now()


async def _hurry(world: World, claim: Claim, approval: Approval, scope: Scope) -> None:
    """Nothing is waited for any more: neither retention, nor that a released tenant is adopted."""
    due = claim.drop_after is not None and claim.drop_after <= world.now()
    if claim.state != "deleted" or not due or claim.deletion_policy == "Snapshot":
        step = Step(
            action="tenant.erase",
            target=f"Tenant/{claim.tenant_name}",
            act=lambda: world.registry.expedite(claim.id, world.now(), epoch=world.epoch),
            inputs={"id": claim.id, "approval": approval.metadata.name, "approver": approval.spec.approver},
            destructive=True,
        )
        await take(world, scope, [step])
    world.queue.add(Work("Drop", claim.id), f"Approval/{approval.metadata.name}")
