"""Another Plan that a contract names: since when that is known, and what it waits for (lifecycle/pending.py)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from paybill.api.subscription import PendingChange, Subscription
from paybill.control.claims import Claim
from paybill.control.facts import Facts
from paybill.lifecycle import pending as changes
from paybill.lifecycle.pending import Pending
from paybill.lifecycle.phases import Phase
from paybill.reconcile.contract import Standing
from paybill.reconcile.tenant_pass import Pass
from paybill.reconcile.world import World


async def waits(world: World, current: Pass, claim: Claim, wanted: str) -> str | None:
    """What stands between the tenant and the Plan that its contract names; what was asked for is kept first."""
    standing = current.standing
    subscription, verdict = standing.subscription, standing.verdict
    facts = world.facts.get(claim.subscription_uid or "")
    if subscription is None or verdict is None:
        return None
    if facts is None or facts.subscription_uid != subscription.metadata.uid:
        facts = world.facts.get(subscription.metadata.uid)
    timing, now = subscription.spec.plan_change, world.now()
    before = _kept(facts)
    found = changes.asked_for(before, claim.plan_name, wanted, timing, verdict.period_end, now)
    if facts is not None and found != before and not world.brakes.halt.observing:
        await world.facts.put(
            replace(
                facts,
                change_plan=found.plan if found is not None else None,
                change_asked_time=found.asked if found is not None else None,
                change_period_time=found.period_end if found is not None else None,
            ),
            epoch=world.epoch,
        )
    if found is None:
        return None
    waiting = changes.waits(found, timing, verdict.period_end, now, billed=_billed(world, standing, wanted))
    if waiting is not None:
        current.standing = replace(standing, pending=found)
    return waiting


def wake(standing: Standing) -> datetime | None:
    """When time alone brings a change about."""
    if standing.pending is None or standing.subscription is None:
        return None
    return changes.due(standing.pending, standing.subscription.spec.plan_change)


def shown(subscription: Subscription, standing: Standing) -> PendingChange | None:
    """The part of the Subscription's status that says what is pending."""
    found = standing.pending
    if found is None:
        return None
    time = changes.due(found, subscription.spec.plan_change)
    return PendingChange(plan=found.plan, since_time=found.asked, time=time)


def _kept(facts: Facts | None) -> Pending | None:
    if facts is None or facts.change_plan is None or facts.change_asked_time is None:
        return None
    return Pending(plan=facts.change_plan, asked=facts.change_asked_time, period_end=facts.change_period_time)


def _billed(world: World, standing: Standing, wanted: str) -> bool | None:
    """Whether the provider bills the wanted Plan and is paid for it; None where it says dates only."""
    if standing.known is None:
        return None
    plan = world.declared.plans.get(wanted)
    prices = {price.id for price in plan.spec.prices} if plan is not None else set()
    return standing.phase is Phase.ACTIVE and bool(
        prices & {*standing.known.metered, *(price for price, _ in standing.known.items)}
    )
