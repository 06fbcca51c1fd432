"""Has a payment provider collect nothing for a tenant that cannot be made, and collect again once it is there.

Off unless the provider of the SaaS set how long that takes (``PAYBILL_STRIPE_PAUSE_HOURS``): it is the one thing that
Paybill changes at Stripe. What follows from what is decided purely (lifecycle/collection.py); one task of the leader
does it, contract by contract: it asks how things stand, writes down what it is about to do, then does it. So an end of
the process anywhere in between is mended by asking again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from paybill.api.failures import Blocked, Failure, Retry
from paybill.api.subscription import Subscription
from paybill.billing.stripe_api import StripeApi
from paybill.billing.stripe_words import collection, known
from paybill.cluster.events import News
from paybill.control.collection import CollectionStore
from paybill.control.facts import Facts
from paybill.lifecycle import collection as decisions
from paybill.lifecycle.collection import Collection, Deed, Pause, begun, follows
from paybill.lifecycle.known import Known
from paybill.lifecycle.provider import Status
from paybill.reconcile import metrics
from paybill.reconcile.looking import carefully
from paybill.reconcile.paying import by_stripe, last_known
from paybill.reconcile.queue import Work
from paybill.reconcile.servers import FENCED
from paybill.reconcile.steps import Scope, Step, take

if TYPE_CHECKING:
    from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

TURN = 5.0
"""Seconds between looks; one that finds nothing to do asks nobody."""
_OVER = frozenset({Status.CANCELED, Status.INCOMPLETE_EXPIRED})


@dataclass(kw_only=True)
class Collecting:
    """The pauses that are ours."""

    store: CollectionStore


async def run(world: World) -> None:
    """Pause and resume until cancelled; raises LeadershipLost or LeaseLost when another process leads, or may."""
    if world.payments.api is None or world.settings.stripe_pause_hours <= 0:
        return
    while True:
        if not world.brakes.halt.observing:
            await carefully(logger, "collecting at Stripe", partial(turn, world))
        await asyncio.sleep(TURN)


async def turn(world: World) -> None:
    """One look at every contract for which something may have to be told."""
    api = world.payments.api
    assert api is not None  # noqa: S101 - run ends without one
    for subscription in list(_concerned(world)):
        if api.resting:
            return
        try:
            await settle(world, api, subscription)
        except Failure as failure:
            if failure.reason in FENCED:
                raise
            logger.warning("collecting for Subscription %s: %s", subscription.metadata.name, failure)
    metrics.COLLECTION_PAUSED.set(sum(1 for one in world.collecting.store.all() if one.state in ("Paused", "Lifting")))


def _concerned(world: World) -> Iterator[Subscription]:
    """The contracts by Stripe whose tenant cannot be made, or of which something of ours is at Stripe."""
    uids = {one.subscription_uid for one in world.collecting.store.all()}
    uids |= {
        facts.subscription_uid
        for facts in world.facts.all()
        if facts.failed_time is not None or (facts.last_known or {}).get("pause_mark")
    }
    shelf = world.declared.subscriptions
    if not uids:
        return
    for name in list(shelf):
        entry = shelf.entry(name)
        if entry is not None and entry.uid in uids and by_stripe(found := shelf[name]):
            yield found


async def settle(world: World, api: StripeApi, subscription: Subscription) -> None:
    """Bring the collection for one contract to what it should be; raises what keeps it from being so."""
    store, uid, now = world.collecting.store, subscription.metadata.uid, world.now()
    facts = world.facts.get(uid)
    said = last_known(subscription, facts)
    if facts is None or said is None:
        return
    row = store.get(uid)
    if row is not None and row.provider_id != said.id:
        logger.warning("Subscription %s names %s now: the pause of %s stays", subscription.metadata.name, said.id,
                       row.provider_id)  # fmt: skip
        await store.forget(uid, epoch=world.epoch)
        return
    entered = await _entered(world, subscription, facts, row, said, now)
    if entered is None or now < entered.due or not decisions.asks(entered.state, _stands(world, uid, said)):
        return
    seen = await _asked(world, api, entered)
    move = follows(entered.state, seen)
    if move.deed is not None:
        entered = await _do(world, api, subscription, entered, move.deed)
    if move.state is None:
        await store.forget(uid, epoch=world.epoch)
    elif move.state != entered.state or entered.attempts:
        await store.put(replace(entered, state=move.state, attempts=0, answer="", due=now), epoch=world.epoch)
    # What Stripe says now is looked at once more, and kept.
    world.payments.want(subscription.metadata.name)
    _mark(world, subscription, "what is collected for it")


async def _entered(
    world: World, subscription: Subscription, facts: Facts, row: Pause | None, said: Known, now: datetime
) -> Pause | None:
    """The row in the state that it is to be in, written down where that is another one."""
    store, uid = world.collecting.store, subscription.metadata.uid
    claim = world.registry.by_subscription(uid)
    patience = timedelta(hours=world.settings.stripe_pause_hours)
    ready = claim is not None and claim.ready_time is not None
    # Ready is known before the reconcile that it came of has ended, and told that nothing fails any more.
    failed = facts.failed_time if not ready else None
    state = begun(
        row.state if row is not None else None,
        want=decisions.wanted(failed, patience, said.snapshot.status, now),
        ready=ready,
        failed=failed is not None,
        known=_stands(world, uid, said),
    )
    if state is None:
        if row is not None:
            await store.forget(uid, epoch=world.epoch)
        return None
    if row is not None and row.state == state:
        return row
    since = row.since if row is not None else failed or now
    entered = Pause(subscription_uid=uid, provider_id=said.id, state=state, since=since, due=now)
    await store.put(entered, epoch=world.epoch)
    return entered


async def _asked(world: World, api: StripeApi, row: Pause) -> Collection | None:
    """How it stands at Stripe now; None where there is nothing to collect for any more."""
    found = await api.subscription(row.provider_id)
    if found is None:
        return None
    said = known(found[0], asked=found[1])
    return None if said.snapshot.status in _OVER else _stands(world, row.subscription_uid, said)


async def _do(world: World, api: StripeApi, subscription: Subscription, row: Pause, deed: Deed) -> Pause:
    """One request, written down before it goes out; raises, and puts it off, when Stripe did not take it."""
    store, uid, now = world.collecting.store, row.subscription_uid, world.now()
    row = replace(row, attempts=row.attempts + 1, due=now + decisions.again_after(row.attempts))
    await store.put(row, epoch=world.epoch)
    claim = world.registry.by_subscription(uid)
    mark, key = decisions.mark(world.settings.installation, uid), decisions.request_key(row, deed)

    async def act() -> None:
        told = await api.change_collection(row.provider_id, deed, mark=mark, key=key)
        if told.outcome == "Refused":
            raise Blocked("PauseRefused", told.words)
        if told.outcome != "Taken":
            raise Retry("StripeUnreachable", told.words)

    scope = Scope(
        cause=f"Subscription/{subscription.metadata.name} cannot be served since {row.since}"
        if deed == "Pause"
        else f"Subscription/{subscription.metadata.name} is served, or was resumed at Stripe",
        tenant_id=claim.id if claim is not None else None,
        cell=claim.cell if claim is not None else None,
    )
    step = Step(
        action=f"stripe.{deed.lower()}", target=f"Subscription/{subscription.metadata.name}", act=act,
        inputs={"subscription": row.provider_id, "mark": mark},
    )  # fmt: skip
    try:
        await take(world, scope, [step])
    except Failure as failure:
        if failure.reason not in FENCED and row.answer != failure.message:
            await store.put(replace(row, answer=failure.message[:512]), epoch=world.epoch)
            _mark(world, subscription, "what Stripe says to its pause")
        raise
    _tell(world, subscription, row, deed)
    return row


def _tell(world: World, subscription: Subscription, row: Pause, deed: Deed) -> None:
    if deed == "Pause":
        message = f"{row.provider_id} at Stripe is not collected: its tenant cannot be made since {row.since}"
        world.events.post(News(about=subscription, reason="CollectionPaused", message=message, warning=True))
    if deed == "Resume":
        message = f"{row.provider_id} at Stripe is collected again: its tenant is there"
        world.events.post(News(about=subscription, reason="CollectionResumed", message=message))


def _stands(world: World, uid: str, said: Known) -> Collection:
    return collection(said, decisions.mark(world.settings.installation, uid))


def _mark(world: World, subscription: Subscription, cause: str) -> None:
    world.queue.add(Work("Tenant", subscription.spec.tenant_ref.name), cause, background=True)
