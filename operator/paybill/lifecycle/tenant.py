"""What a Tenant's phase calls for, given its contract and what it has already.

The Subscription's phase decides (lifecycle/phases.py); this adds the Tenant's side: a Tenant that has nothing yet gets
nothing while its contract does not call for it, and one that has something keeps it, stopped if need be, whatever
its contract says. Absence of a contract never takes anything away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from paybill.lifecycle.phases import EFFECTS, Effect, Phase
from paybill.lifecycle.subscription import Hold


@dataclass(frozen=True, kw_only=True)
class Course:
    """The answer: what should be there, whether anything is to be built at all, and the words for it."""

    build: bool
    effect: Effect
    reason: str
    message: str

    @property
    def stopped(self) -> bool:
        """Whether pods are out and logins off."""
        return not self.effect.pods


def course(phase: Phase | None, because: str, *, exists: bool, holds: Iterable[Hold] = ()) -> Course:
    """What to do for a Tenant whose Subscription is in ``phase`` (None: there is none and never was)."""
    if phase is None:
        nothing = EFFECTS[Phase.PENDING]
        return Course(
            build=False,
            effect=nothing,
            reason="NoSubscription",
            message="no Subscription names this Tenant: apply one with spec.tenantRef.name set to it",
        )
    effect = EFFECTS[phase]
    blocked = next((hold for hold in holds if hold.blocks == "Provisioning"), None)
    if not exists and blocked is not None:
        return Course(
            build=False, effect=effect, reason="ProvisioningHeld", message=f"{blocked.words}; nothing is built under it"
        )
    build = exists or effect.provision
    return Course(build=build, effect=effect, reason=str(phase), message=f"Subscription is {phase}: {because}")


def changes_held(phase: Phase, holds: Iterable[Hold]) -> str | None:
    """Why no change of plan may happen now, or None: a hold on changes, or debt that blocks what costs more."""
    hold = next((one for one in holds if one.blocks == "Changes"), None)
    if hold is not None:
        return f"no change of plan under {hold.words}"
    if not EFFECTS[phase].cost_raising:
        return f"the Subscription is {phase}; changes of plan wait until it is paid"
    return None
