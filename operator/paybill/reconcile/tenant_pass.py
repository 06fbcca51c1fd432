"""What one reconcile of one Tenant finds out on its way, handed from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field

from paybill.api.failures import Failure
from paybill.api.tenant import Tenant
from paybill.control.claims import Claim
from paybill.lifecycle import rotation
from paybill.lifecycle.change import Change
from paybill.lifecycle.storage import Verdict
from paybill.lifecycle.tenant import Course
from paybill.reconcile.contract import Standing
from paybill.reconcile.world import World

COUNTED_WITHIN = 0.5
"""Seconds until a Plan counts its tenants anew: once for many that settle together, soon enough for the next wave."""
COUNTED_PER_SECOND = 2000
"""While no change spreads nobody waits for the count, and what it costs grows with the tenants: so does its pause."""


def counted_within(world: World, plan_name: str) -> float:
    """Seconds until a Plan must have counted its tenants anew."""
    plan = world.declared.plans.get(plan_name)
    if plan is not None and plan.status.rollout is not None:
        return COUNTED_WITHIN
    return max(COUNTED_WITHIN, len(world.declared.tenants) / COUNTED_PER_SECOND)


@dataclass(kw_only=True)
class Pass:
    """What one reconcile of one Tenant has found out so far."""

    tenant: Tenant
    cause: str
    claim: Claim | None
    standing: Standing
    course: Course
    change: Change | None = None
    degraded: tuple[str, ...] = ()
    storage: Verdict | None = None
    """How it stands to the storage of its Plan, once ``storage_judged``; None where that names none."""
    storage_judged: bool = False
    unapplied: Failure | None = None
    """Why its infrastructure is not what is wanted; None where it is, or where there is none."""
    old_sessions: dict[rotation.Kind, int] = field(default_factory=dict)
    """How many sessions there are in old slots of its logins, where it matters by now."""
    unread: Failure | None = None
    """Why a request to rotate its logins was not understood."""
    unmoved: Failure | None = None
    """Why its move does not go on; None where it does, or where there is none."""
