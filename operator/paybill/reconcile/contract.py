"""Reads the contract of one Tenant and settles its phase: who is bound, what the phase is, since when.

This is the first half of every reconcile of a Tenant. What it decides is written to the control database before
anything acts on it, so that a crash, or a status edited by hand, never moves a deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from paybill.api.failures import Blocked, Failure, Invalid, Retry
from paybill.api.plan import Plan, PlanSpec
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.billing import manual
from paybill.billing.stripe_words import collection
from paybill.control.claims import Claim
from paybill.control.facts import Facts
from paybill.control.meter_events import Untold
from paybill.lifecycle import sale
from paybill.lifecycle.billed import Sold, comparable, differences
from paybill.lifecycle.binding import Binding, Candidate
from paybill.lifecycle.collection import COLLECTED, Collection, Pause, mark, pause_due
from paybill.lifecycle.entitlements import Entitlement, resolve
from paybill.lifecycle.known import Known
from paybill.lifecycle.pending import Pending
from paybill.lifecycle.phases import EFFECTS, Phase
from paybill.lifecycle.provider import Snapshot
from paybill.lifecycle.sale import Agreed, as_sold
from paybill.lifecycle.subscription import Contract, EffectTimes, Hold, Verdict, decide, settle
from paybill.lifecycle.terms import terms
from paybill.reconcile.paying import Trouble, by_stripe, last_known, operator_hold
from paybill.reconcile.selling import look
from paybill.reconcile.selling import settle as settle_sale
from paybill.reconcile.telling import telling
from paybill.reconcile.world import World

NOTHING_YET = EffectTimes()


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a Tenant's contract stands. ``phase`` is None while no Subscription was ever bound."""

    phase: Phase | None
    because: str
    subscription: Subscription | None = None
    verdict: Verdict | None = None
    times: EffectTimes = NOTHING_YET
    missing: bool = False
    plan: PlanSpec | None = None
    plan_name: str | None = None
    plan_missing: bool = False
    holds: tuple[Hold, ...] = ()
    entitlements: tuple[Entitlement, ...] | None = ()
    """None: they cannot be resolved now, what was handed out stands."""
    known: Known | None = None
    """What the payment provider last said, where it says more than the contract itself."""
    said: tuple[Mapping[str, Any], ...] = ()
    """The holds that came of what it said."""
    unheard: Trouble | None = None
    """Why the payment provider's word is missing."""
    unbilled: tuple[str, ...] | None = None
    """What is sold and billed differently; None where that cannot be compared."""
    agreed: Agreed | None = None
    """What is sold, where what is billed says it; ``subscription`` is the contract as it is sold."""
    unclear: Invalid | None = None
    """Why what is billed changes nothing, where it would say what is sold."""
    pending: Pending | None = None
    """Another Plan that was asked for and has not taken effect."""
    untold: int = 0
    """How many messages on it nobody took."""
    unreported: Untold | None = None
    """What of its use the payment provider was not told."""
    collection: Collection | None = None
    """How it stands with collecting at the payment provider, by its last word."""
    pause: Pause | None = None
    """Of a pause of ours, what was written down of it."""
    pause_due: datetime | None = None
    """When collecting is to pause, because the tenant cannot be made."""
    trouble: Failure | None = None
    """What is wrong with the contract without keeping its phase from being acted on."""


async def settle_contract(world: World, tenant: Tenant, claim: Claim | None, binding: Binding) -> Standing:
    """Decide the phase now and keep its anchors; the one writer of a Subscription's facts."""
    if binding.bound is None:
        return _unbound(world, claim, binding)
    subscription = still_there(world, binding.bound)
    facts = world.facts.get(subscription.metadata.uid) or Facts(
        subscription_uid=subscription.metadata.uid,
        tenant_uid=tenant.metadata.uid,
        phase=str(Phase.PENDING),
        start_time=subscription.metadata.creation_timestamp,
    )
    selling = look(world, subscription, facts, claim)
    name, plan, missing = _plan(world, as_sold(subscription, selling.agreed), claim)
    now = world.now()
    contract = _archived(read(world, subscription, plan, tenant, facts), claim, now)
    verdict = decide(contract, now)
    held = world.brakes.holds_destruction(claim.cell if claim is not None else None)
    times = settle(contract.times, verdict.phase, now, held=held)
    if world.brakes.halt.observing:
        times = contract.times
    elif times.past_due != contract.times.past_due:
        # From the moment at which debt is seen counts when it has its consequences.
        verdict = decide(replace(contract, times=times), now)
    verdict = _without_moving_deadline(verdict, times)
    selling = settle_sale(selling, subscription, claim, verdict, contract.holds, now)
    facts = replace(facts, agreed=sale.wire(selling.agreed) if selling.agreed is not None else None)
    subscription = as_sold(subscription, selling.agreed)
    entitlements, trouble = _entitlements(world, subscription, plan)
    await keep(world, facts, tenant, subscription, verdict, times)
    return Standing(
        phase=verdict.phase,
        because=verdict.because,
        subscription=subscription,
        verdict=verdict,
        times=times,
        plan=plan,
        plan_name=name,
        plan_missing=missing,
        holds=contract.holds,
        entitlements=entitlements,
        trouble=trouble,
        untold=world.announcing.dead.get(subscription.metadata.uid, 0),
        unreported=world.reporting.untold.get(subscription.metadata.uid),
        agreed=selling.agreed,
        unclear=selling.unclear,
        **_of_provider(world, subscription, name),
    )


def _of_provider(world: World, subscription: Subscription, plan_name: str) -> dict[str, Any]:
    """What is shown of a payment provider that answers by itself."""
    if not by_stripe(subscription):
        return {}
    facts = world.facts.get(subscription.metadata.uid)
    known = last_known(subscription, facts)
    add_ons = [(one, world.declared.plans.get(one.plan_ref.name)) for one in subscription.spec.add_ons]
    # Prices are not part of what is kept of a Plan: they change nobody.
    base = world.declared.plans.get(plan_name)
    prices = _prices(base.spec) if base is not None else frozenset[str]()
    sold = [Sold(plan=plan_name, prices=prices, quantity=subscription.spec.quantity)]
    sold += [
        Sold(plan=found.metadata.name, prices=_prices(found.spec), quantity=one.quantity)
        for one, found in add_ons
        if found is not None
    ]
    return {
        "known": known,
        "said": facts.holds if facts is not None else (),
        "unheard": world.payments.trouble_of(subscription),
        "unbilled": differences(sold, known.items, known.metered) if known is not None and comparable(sold) else None,
        **_of_collecting(world, subscription, facts, known),
    }


def _of_collecting(
    world: World, subscription: Subscription, facts: Facts | None, known: Known | None
) -> dict[str, Any]:  # fmt: skip
    """What is shown of a pause of collecting: whose it is, or when it comes."""
    if known is None or facts is None:
        return {}
    uid, patience = subscription.metadata.uid, timedelta(hours=world.settings.stripe_pause_hours)
    coming = facts.failed_time is not None and patience and known.snapshot.status in COLLECTED
    return {
        "collection": collection(known, mark(world.settings.installation, uid)),
        "pause": world.collecting.store.get(uid),
        "pause_due": pause_due(facts.failed_time, patience) if coming and facts.failed_time is not None else None,
    }


def _prices(plan: PlanSpec) -> frozenset[str]:
    return frozenset(price.id for price in plan.prices if price.provider == "Stripe")


def _archived(contract: Contract, claim: Claim | None, now: datetime) -> Contract:
    """Whether its data is in a backup only is the registry's to say: it outlives the Subscription that ended in it."""
    times = contract.times
    if times.deleted is not None:
        return contract
    away = claim is not None and claim.archive is not None
    archived = (times.archived or (claim.archived_time if claim is not None else None) or now) if away else None
    return replace(contract, times=replace(times, archived=archived))


def _without_moving_deadline(verdict: Verdict, times: EffectTimes) -> Verdict:
    """A deadline whose clock a halt keeps from starting has no time to show: it would be another at every look."""
    begun = {Phase.ARCHIVED: times.ended, Phase.DELETED: times.archived}
    if verdict.next is not None and begun.get(verdict.next.phase, verdict.next.time) is None:
        return replace(verdict, next=None)
    return verdict


def still_there(world: World, bound: Candidate) -> Subscription:
    """The Subscription that is bound; raises Retry when it went while something was waited for."""
    found = world.declared.subscriptions.get(bound.name)
    if found is None or found.metadata.uid != bound.uid:
        raise Retry("Conflict", f"Subscription {bound.name} went while its Tenant was looked at", after=0.05)
    return found


def read(world: World, subscription: Subscription, plan: PlanSpec, tenant: Tenant, facts: Facts) -> Contract:
    """Everything the phase of a Subscription depends on, as plain values."""
    requested_end = facts.requested_end_time
    if requested_end is None and subscription.metadata.deletion_timestamp is not None:
        requested_end = subscription.metadata.deletion_timestamp
    times = replace(_times(facts), requested_end=requested_end)
    snapshot = _snapshot(world, subscription, facts)
    began = facts.start_time
    contract = terms(subscription, plan, tenant, snapshot=snapshot, times=times, now=world.now(), began=began)
    return replace(contract, last=Phase(facts.phase), holds=(*contract.holds, *map(operator_hold, facts.holds)))


def _snapshot(world: World, subscription: Subscription, facts: Facts) -> Snapshot | None:
    """What the provider last said; None while it has not answered yet, which holds the last phase."""
    if not by_stripe(subscription):
        return manual.snapshot(subscription)
    if world.payments.api is None:
        raise Blocked(
            "StripeNotConfigured",
            f"Subscription {subscription.metadata.name} goes by Stripe, and the operator has no key for it: set "
            "PAYBILL_STRIPE_KEY_FILE",
        )
    found = last_known(subscription, facts)
    if found is None and world.payments.trouble_of(subscription) is None:
        world.payments.want(subscription.metadata.name)
    if found is None:
        return None
    end = found.snapshot.cancel_time
    if end is not None and end <= world.now() and not world.payments.stands_by(subscription, end):
        # What was announced may have been taken back: nobody is stopped by it before Stripe says that it stands.
        return replace(found.snapshot, cancel_time=None)
    return found.snapshot


async def keep(
    world: World, facts: Facts, tenant: Tenant, subscription: Subscription, verdict: Verdict, times: EffectTimes
) -> Facts:
    """Write the facts of a Subscription if they changed; nothing while the installation only looks on.

    Another phase is told to other systems: its message is written with it.
    """
    if world.brakes.halt.observing:
        return facts
    return await world.facts.put(
        replace(
            facts,
            tenant_uid=tenant.metadata.uid,
            phase=str(verdict.phase),
            trial_start_time=times.ready,
            past_due_time=times.past_due,
            suspended_time=times.suspended,
            ended_time=times.ended,
            archived_time=times.archived,
            deleted_time=times.deleted,
            noticed_time=facts.noticed_time if times.ended is not None else None,
            requested_end_time=times.requested_end,
        ),
        epoch=world.epoch,
        tell=telling(
            world,
            subscription=subscription.metadata.name,
            tenant=tenant.metadata.name,
            plan=subscription.spec.plan_ref.name,
            because=verdict.because,
        ),
    )


async def start_trial(world: World, tenant: Tenant, standing: Standing, ready: datetime) -> Standing:
    """The trial starts at the first moment of Ready; decide once more, now that its end is known.

    Of Ready under this contract: the Tenant may have been Ready before, and be stopped while payment is awaited.
    """
    subscription, plan = standing.subscription, standing.plan
    if subscription is None or plan is None or plan.trial_days == 0 or standing.phase is None:
        return standing
    if not EFFECTS[standing.phase].provision:
        return standing
    facts = world.facts.get(subscription.metadata.uid)
    if facts is None or facts.trial_start_time is not None:
        return standing
    facts = replace(facts, trial_start_time=ready)
    verdict = decide(read(world, subscription, plan, tenant, facts), world.now())
    times = replace(standing.times, ready=ready)
    await keep(world, facts, tenant, subscription, verdict, times)
    return replace(standing, verdict=verdict, phase=verdict.phase, because=verdict.because, times=times)


def _unbound(world: World, claim: Claim | None, binding: Binding) -> Standing:
    """No Subscription is there: none ever was, or it was deleted by request, or it vanished and its phase is held."""
    facts = world.facts.get(claim.subscription_uid) if claim is not None and claim.subscription_uid else None
    if facts is None:
        return Standing(phase=None, because="")
    point = (claim.plan_name, claim.plan_revision) if claim is not None else (None, None)
    kept = world.revisions.get(*point)
    requested = facts.requested_end_time is not None
    because = "its Subscription was deleted" if requested else "its Subscription vanished; the last phase is held"
    return Standing(
        phase=Phase(facts.phase),
        because=because,
        missing=binding.missing and not requested,
        times=_times(facts),
        plan=kept,
        plan_name=claim.plan_name if claim else None,
    )


def _times(facts: Facts) -> EffectTimes:
    return EffectTimes(
        ready=facts.trial_start_time,
        past_due=facts.past_due_time,
        suspended=facts.suspended_time,
        ended=facts.ended_time,
        archived=facts.archived_time,
        deleted=facts.deleted_time,
        requested_end=facts.requested_end_time,
    )


def _plan(world: World, subscription: Subscription, claim: Claim | None) -> tuple[str, PlanSpec, bool]:
    """The name and content of the Plan the contract goes by, and whether that Plan is gone (its revision is held).

    A Tenant goes by the revision it is on, also while a change to another one waits or makes no sense.
    """
    if claim is not None and claim.plan_name is not None:
        kept = world.revisions.get(claim.plan_name, claim.plan_revision)
        if kept is not None:
            named = subscription.spec.plan_ref.name == claim.plan_name
            return claim.plan_name, kept, named and claim.plan_name not in world.declared.plans
    plan = named_plan(world, subscription)
    return plan.metadata.name, plan.spec, False


def named_plan(world: World, subscription: Subscription) -> Plan:
    """The Plan a Subscription names; raises Invalid when there is none, or it is no base Plan."""
    name = subscription.spec.plan_ref.name
    plan = world.declared.plans.get(name)
    if plan is None:
        raise Invalid(
            "UnknownPlan",
            f"Subscription {subscription.metadata.name}: Plan {name} does not exist: create it or name another",
        )
    if plan.spec.type != "Base":
        raise Invalid(
            "NotABasePlan",
            f"Subscription {subscription.metadata.name}: Plan {name} is an AddOn: name it in spec.addOns",
        )
    return plan


def _entitlements(
    world: World, subscription: Subscription, plan: PlanSpec
) -> tuple[tuple[Entitlement, ...] | None, Failure | None]:
    """The entitlements; None with the reason when they cannot be told: nothing is taken away by absence."""
    add_ons = []
    for add_on in subscription.spec.add_ons:
        found = world.declared.plans.get(add_on.plan_ref.name)
        if found is None:
            return None, Invalid(
                "UnknownPlan",
                f"Subscription {subscription.metadata.name}: add-on Plan {add_on.plan_ref.name} does not exist: its "
                "entitlements stay as they are until you create it or remove it from spec.addOns",
            )
        add_ons.append((found.spec.features, add_on.quantity))
    overrides = subscription.spec.entitlements
    try:
        quantity = subscription.spec.quantity
        return resolve(plan.features, add_ons, overrides.set, overrides.remove, quantity=quantity), None
    except Invalid as failure:
        return None, failure
