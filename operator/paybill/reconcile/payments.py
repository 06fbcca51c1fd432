"""What Stripe says of the contracts that go by it: hints are followed, and what they lost is found by asking.

One task of the leader does it, one look after the other, so that answers are kept in the order in which they were
given. A hint only says where to look; whatever it claims, the object itself is fetched. An answer is written to the
control database before its hint is done with, so a crash in between repeats a look and loses nothing. What changes
marks the Tenant; nothing is decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from paybill.api.subscription import Subscription
from paybill.billing.stripe_api import StripeApi
from paybill.billing.stripe_words import OWING, dispute_hold, is_for, known, meant
from paybill.cluster.events import News
from paybill.control.facts import Facts
from paybill.control.inbox import Kept
from paybill.lifecycle.hints import STRIPE, Hint, matters, stripe_hint
from paybill.lifecycle.known import Known, newer, read, wire
from paybill.lifecycle.phases import Phase
from paybill.lifecycle.signup import CHECKOUTS, Signup
from paybill.reconcile import metrics, signing_up
from paybill.reconcile.looking import carefully
from paybill.reconcile.paying import Trouble, by_stripe, named_by
from paybill.reconcile.queue import Work
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

TURN = 1.0
"""Seconds between looks into the inbox: one query, however many tenants there are."""
AT_ONCE = 100
"""Hints of one look."""
SWEEP = timedelta(hours=1)
"""How often all subscriptions are listed, for what no event tells; also at each start."""
OVERLAP = timedelta(minutes=5)
"""How much of what was asked for before is asked for again: events show up late."""
FIRST_PARK, LONGEST_PARK = timedelta(seconds=5), timedelta(hours=1)
PARKED = 40
"""How often a hint is put off that leads nowhere: about a day and a half, then it is done with."""

DISPUTE, CUSTOMER_DELETED = "Dispute", "CustomerDeleted"


async def run(world: World) -> None:
    """Follow what Stripe says until cancelled; raises LeadershipLost or LeaseLost when another one leads, or may."""
    payments = world.payments
    if payments.api is None:
        return
    try:
        while True:
            if not world.brakes.halt.observing:
                await carefully(logger, "Stripe", partial(turn, world))
                metrics.STRIPE_REACHABLE.set(0 if payments.api.away else 1)
            payments.woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TURN):
                    await payments.woken.wait()
    finally:
        await payments.api.close()


async def turn(world: World) -> None:
    """One look at everything that is due; raises what the first that fails raises."""
    payments, now = world.payments, world.now()
    if payments.swept is None or now - payments.swept >= SWEEP:
        await _sweep(world)
        payments.swept = now
    if payments.polled is None or now - payments.polled >= payments.poll:
        await _poll(world, now)
        payments.polled = now
    while payments.wanted:
        name = next(iter(payments.wanted))
        if (subscription := world.declared.subscriptions.get(name)) is not None and by_stripe(subscription):
            await refresh(world, subscription, "declared")
        payments.wanted.discard(name)
    for kept in await payments.inbox.due(now, AT_ONCE):
        await _follow(world, kept)


async def refresh(world: World, subscription: Subscription, cause: str) -> None:
    """Ask Stripe for the subscription of a contract, and keep what it says."""
    api, spec = _api(world), subscription.spec.payment
    if spec.subscription is not None:
        found = await api.subscription(spec.subscription)
        raw: Mapping[str, Any] | None = found[0] if found is not None else None
        asked = found[1] if found is not None else world.now()
    else:
        all_of_them, asked = await api.subscriptions_of(spec.customer or "")
        raw = meant(all_of_them, subscription.spec.tenant_ref.name)
    await _take(world, subscription, raw, asked, cause)


async def _take(
    world: World, subscription: Subscription, raw: Mapping[str, Any] | None, asked: datetime, cause: str
) -> None:
    uid, trouble = subscription.metadata.uid, _trouble(subscription, raw)
    if trouble is not None or raw is None:
        if trouble is not None and world.payments.troubles.get(uid) != trouble:
            world.payments.troubles[uid] = trouble
            _mark(world, subscription, cause)
        return
    cleared = world.payments.troubles.pop(uid, None)
    seen = await _seen(world, raw, asked)
    before = world.facts.get(uid)
    after = await world.facts.note(_unknown(subscription), lambda facts: _noted(facts, seen), epoch=world.epoch)
    awaited = world.payments.answered(uid)
    if (
        awaited
        or cleared is not None
        or before is None
        or (before.last_known, before.holds) != (after.last_known, after.holds)
    ):
        metrics.STRIPE_CHANGES.inc()
        _mark(world, subscription, cause)
    if seen.customer_gone and (before is None or before.holds != after.holds):
        message = f"customer {seen.customer} was deleted at Stripe: the contract ends, nothing of it is deleted"
        world.events.post(News(about=subscription, reason="CustomerDeleted", message=message, warning=True))


def _trouble(subscription: Subscription, raw: Mapping[str, Any] | None) -> Trouble | None:
    spec, tenant = subscription.spec.payment, subscription.spec.tenant_ref.name
    ids = named_by(subscription)
    if raw is None:
        named = spec.subscription or f"one subscription of customer {spec.customer} for Tenant {tenant}"
        return Trouble(
            named=ids, reason="UnknownAtProvider", message=f"Stripe does not have {named}: the last that is known holds"
        )
    if not is_for(raw, tenant):
        return Trouble(
            named=ids,
            reason="ProviderMismatch",
            message=f"{raw['id']} at Stripe names another Tenant in paybill.dev/tenant: it is not used",
        )
    customer = raw.get("customer")
    customer = customer["id"] if isinstance(customer, Mapping) else customer
    if spec.customer not in (None, customer):
        return Trouble(
            named=ids,
            reason="ProviderMismatch",
            message=f"{raw['id']} at Stripe is of another customer than {spec.customer}: it is not used",
        )
    return None


async def _seen(world: World, raw: Mapping[str, Any], asked: datetime) -> Known:
    """The answer in our words, with what only another request can tell."""
    api = _api(world)
    invoices = await api.invoices_of(raw["id"]) if raw["status"] in OWING else []
    seen = known(raw, asked=asked, invoices=invoices)
    if raw["status"] == "canceled":
        customer = await api.customer(seen.customer)
        seen = replace(seen, customer_gone=customer is None or bool(customer.get("deleted")))
    return seen


def _noted(facts: Facts, seen: Known) -> Facts:
    gone = {"source": CUSTOMER_DELETED, "id": seen.customer, "blocks": "Changes"}
    gone["reason"] = f"customer {seen.customer} was deleted at Stripe"
    others = [hold for hold in facts.holds if hold["source"] != CUSTOMER_DELETED]
    holds = (*others, gone) if seen.customer_gone else tuple(others)
    return replace(facts, last_known=wire(newer(read(facts.last_known), seen)), holds=holds)


async def _follow(world: World, kept: Kept) -> None:
    """Look where a hint points; one that points nowhere yet is put off."""
    hint, inbox = kept.hint, world.payments.inbox
    if hint.type in CHECKOUTS and world.settings.signup is not None:
        why = await _checkout(world, hint, world.settings.signup)
    else:
        why = "" if await _look(world, hint) else "no Subscription names it"
    if not why:
        await inbox.done([hint], "followed", epoch=world.epoch)
    elif kept.attempts >= PARKED:
        await inbox.done([hint], f"given up: {why}", epoch=world.epoch)
    else:
        wait = min(LONGEST_PARK, FIRST_PARK * 2 ** min(kept.attempts, 16))
        await inbox.park(hint, world.now() + wait, why, epoch=world.epoch)
    metrics.STRIPE_HINTS.labels("parked" if why else "followed").inc()


async def _look(world: World, hint: Hint) -> list[Subscription]:
    """Ask Stripe for what the contracts that a hint points to rest on; returns those contracts."""
    if hint.type.startswith("charge.dispute."):
        return await _dispute(world, hint)
    named = list(_named(world, hint.subscription, hint.customer))
    for subscription in named:
        await refresh(world, subscription, hint.id)
    return named


async def _checkout(world: World, hint: Hint, template: Signup) -> str:
    """Sign up who paid, unless a contract names the subscription already; returns why it waits."""
    # By the subscription alone: who has a contract may well buy another one.
    named = list(_named(world, hint.subscription, ""))
    if not named:
        return await signing_up.follow(world, hint.object, template)
    for subscription in named:
        await refresh(world, subscription, hint.id)
    await signing_up.settled_elsewhere(world, hint.object)
    return ""


async def _dispute(world: World, hint: Hint) -> list[Subscription]:
    """Put the hold of a dispute on the contracts of its customer, or take it off."""
    dispute = await _api(world).dispute(hint.object)
    charge = (dispute or {}).get("charge")
    customer = charge.get("customer") if isinstance(charge, Mapping) else None
    if dispute is None or not customer:
        return []
    hold = dispute_hold(dispute)
    named = list(_named(world, "", customer))
    for subscription in named:
        before = world.facts.get(subscription.metadata.uid)
        after = await world.facts.note(
            _unknown(subscription), lambda facts: _held(facts, hint.object, hold), epoch=world.epoch
        )
        if (before.holds if before is not None else ()) == after.holds:
            continue
        if hold is not None:
            said = f"{hint.object} at Stripe: {hold['reason']}; changes wait until it is settled"
            world.events.post(News(about=subscription, reason="PaymentDisputed", message=said, warning=True))
        _mark(world, subscription, hint.id)
    return named


def _held(facts: Facts, dispute: str, hold: dict[str, str] | None) -> Facts:
    others = [one for one in facts.holds if (one["source"], one["id"]) != (DISPUTE, dispute)]
    return replace(facts, holds=(*others, hold) if hold is not None else tuple(others))


def _named(world: World, subscription: str, customer: str) -> Iterable[Subscription]:
    """The contracts that name a subscription or a customer of Stripe's, or were found to be of it."""
    names = (
        {*world.declared.paid_by(subscription), *world.declared.paid_by(customer)} if customer or subscription else ()
    )
    found = [world.declared.subscriptions.get(name) for name in sorted(names)]
    return [one for one in found if one is not None and by_stripe(one)]


async def _poll(world: World, now: datetime) -> None:
    """Put the events into the inbox that did not come by themselves: each is in there once, however it came."""
    inbox = world.payments.inbox
    since = await inbox.cursor(STRIPE) or now
    until: datetime | None = None
    async for page, asked in _api(world).events_since(since - OVERLAP):
        # Stripe's own time, and that of the first page: what happens while the others are read is asked for next time.
        until = until or asked
        for event in page:
            if matters(event["type"]) and await inbox.keep(stripe_hint(event)):
                metrics.STRIPE_HINTS.labels("polled").inc()
    if until is not None:
        await inbox.move_cursor(STRIPE, until, epoch=world.epoch)
    await inbox.prune(now, epoch=world.epoch)


async def _sweep(world: World) -> None:
    """List every subscription, and keep what is said of those that contracts name."""
    shelf = world.declared.subscriptions
    contracts = [shelf[glance.name] for glance in shelf.glances() if glance.payers]
    if not contracts:
        return
    by_id: dict[str, tuple[Mapping[str, Any], datetime]] = {}
    by_customer: dict[str, list[str]] = {}
    async for page, asked in _api(world).all_subscriptions():
        for one in page:
            by_id[one["id"]] = one, asked
            by_customer.setdefault(str(one["customer"]), []).append(one["id"])
    for subscription in contracts:
        spec = subscription.spec.payment
        named = spec.subscription
        if named is None:
            theirs = [by_id[found][0] for found in by_customer.get(spec.customer or "", ())]
            chosen = meant(theirs, subscription.spec.tenant_ref.name)
            named = chosen["id"] if chosen is not None else ""
        raw, at = by_id.get(named, (None, world.now()))
        await _take(world, subscription, raw, at, "sweep")


def _api(world: World) -> StripeApi:
    assert world.payments.api is not None  # noqa: S101 - run ends without one
    return world.payments.api


def _unknown(subscription: Subscription) -> Facts:
    """The facts of a contract of which nothing happened yet."""
    return Facts(
        subscription_uid=subscription.metadata.uid,
        tenant_uid=None,
        phase=str(Phase.PENDING),
        start_time=subscription.metadata.creation_timestamp,
    )


def _mark(world: World, subscription: Subscription, cause: str) -> None:
    world.queue.add(Work("Tenant", subscription.spec.tenant_ref.name), f"Stripe: {cause}")
