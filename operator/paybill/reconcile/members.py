"""The tenants of a Plan, as its rollout counts them: looked at whenever one settles, so without parsing anybody.

A Plan with ten thousand tenants is counted many times while a change of it spreads. What a tenant is to its rollout
depends on five values that are replaced, never changed, when something happens; as long as all five are the very
same, so is the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paybill.api.conditions import READY, STALLED
from paybill.cluster.glances import TenantGlance
from paybill.control.claims import Claim
from paybill.control.facts import Facts
from paybill.lifecycle.phases import Phase
from paybill.lifecycle.rollout import Member
from paybill.lifecycle.tenant import changes_held

if TYPE_CHECKING:
    from paybill.reconcile.world import World

Known = tuple[tuple[object, ...], Member]


class Members:
    """The members of each Plan at the last count."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Known]] = {}

    def of(self, world: World, plan: str) -> list[Member]:
        """Every tenant that is on this Plan by the registry, at whatever revision."""
        before = self._known.get(plan, {})
        after = {claim.id: _looked(world, claim, before) for claim in world.registry.all() if claim.plan_name == plan}
        if after:
            self._known[plan] = after
        else:
            self._known.pop(plan, None)
        return [member for _, member in after.values()]


def _looked(world: World, claim: Claim, before: dict[str, Known]) -> Known:
    tenant = world.declared.tenants.glance(claim.tenant_name)
    subscription = world.declared.subscriptions.glance(claim.subscription_name or "")
    facts = world.facts.get(claim.subscription_uid or "")
    ready = world.ready.get(claim.id)
    values = (claim, tenant, subscription, facts, ready)
    known = before.get(claim.id)
    if known is not None and all(one is other for one, other in zip(known[0], values, strict=True)):
        return known
    member = Member(
        id=claim.id,
        revision=claim.plan_revision or "",
        ready=ready if ready is not None else tenant is not None and READY in tenant.true,
        failed=tenant is not None and STALLED in tenant.true,
        pinned=subscription is not None
        and (subscription.pinned is not None or claim.plan_name not in subscription.plans),
        held=_held(tenant, facts),
    )
    return values, member


def _held(tenant: TenantGlance | None, facts: Facts | None) -> bool:
    """Whether the tenant would not change even if its turn came."""
    if tenant is None or tenant.deleting or tenant.paused:
        return True
    return facts is not None and changes_held(Phase(facts.phase), tenant.holds) is not None
