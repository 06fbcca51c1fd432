"""What a Tenant's own reconcile must know of restores into it: nobody is let in where a restore says not yet.

A Tenant that was never ready and that an open TenantRestore names is made as any other, but its logins stay closed
until its data is there, proved and scrubbed. While a restore exchanges what a tenant has, its roles are the restore's.
"""

from __future__ import annotations

from dataclasses import replace

from paybill.api.failures import Blocked, Failure, Retry
from paybill.api.tenant import Tenant
from paybill.cluster.glances import RestoreGlance
from paybill.control.claims import Claim
from paybill.lifecycle.phases import Access
from paybill.lifecycle.tenant import Course
from paybill.reconcile.queue import Work
from paybill.reconcile.world import World

AGAIN = 30.0
"""Seconds until a Tenant that waits looks again; its restore wakes it."""


def fills(world: World, tenant: Tenant, claim: Claim) -> RestoreGlance | None:
    """The restore that this Tenant waits for before anybody is let in."""
    if claim.ready_time is not None:
        return None
    found = world.declared.restores_into(tenant.metadata.name, claim.id)
    waited = [one for one in found if one.restored is None and not one.dry_run and not one.deleting]
    return next((one for one in waited if not one.failed), waited[-1] if waited else None)


def shut_out(world: World, claim: Claim) -> bool:
    """Whether a restore exchanges this very moment what the tenant has, so that its roles are left to it."""
    found = world.declared.restores_into(claim.tenant_name, claim.id)
    return any(one.stage == "Switching" and one.open for one in found)


def refuse_move(world: World, claim: Claim) -> None:
    """Raise Retry while a restore has begun: what it prepared lies where the tenant is now."""
    for one in world.declared.restores_into(claim.tenant_name, claim.id):
        if one.open and one.stage and not one.deleting:
            raise Retry("MoveWaits", f"TenantRestore {one.name} has Tenant {claim.tenant_name}", after=AGAIN)


def closed(course: Course) -> Course:
    """The same course with nobody let in."""
    return replace(course, effect=replace(course.effect, access=Access.NONE))


def waiting(world: World, filled_by: RestoreGlance, claim: Claim) -> Failure:
    """Why the Tenant is not ready; its restore is told that there is a place for its data now."""
    name = claim.tenant_name
    if filled_by.failed:
        return Blocked(
            "RestoreFailed",
            f"Tenant {name} was to be filled by TenantRestore {filled_by.name}, which failed ({filled_by.failed}), so"
            " nobody is let in: write another TenantRestore, or delete that one to open the Tenant empty",
        )
    if not filled_by.stage:
        world.queue.add(Work("TenantRestore", filled_by.name), f"Tenant/{name} has a place")
    return Retry("Restoring", f"TenantRestore {filled_by.name} fills Tenant {name} before it opens", after=AGAIN)
