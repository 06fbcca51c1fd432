"""Tells payment providers what tenants used: hours become events when they are over, and are sent until they are had.

Once an hour what was measured is counted for the contracts whose Plans name a meter; a contract of which something is
not known yet is left for later, with its hours. One task of the leader sends, one event after the other for a customer
and a meter, as Stripe asks for. Nothing is decided here: lifecycle/meters.py says what counts and what is sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from paybill.billing.stripe_api import StripeApi, Told
from paybill.control.meter_events import MeterStore, Untold, WaitingEvent
from paybill.lifecycle import meters
from paybill.lifecycle.meters import Billable, MeterEvent
from paybill.reconcile import metrics
from paybill.reconcile.looking import carefully
from paybill.reconcile.paying import by_stripe, last_known
from paybill.reconcile.queue import Work

if TYPE_CHECKING:
    from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

TURN = 5.0
"""Seconds between looks for what is to be sent: one query."""
COUNTED_EVERY = timedelta(seconds=60)
AT_ONCE = 200
"""Events of one look."""
LINES = 8
"""Customers' meters that are told at a time."""
CONTRACTS = 500
"""Contracts whose hours are counted in one transaction."""


@dataclass(kw_only=True)
class Reporting:
    """The events, and what is known of them: ``untold``: what providers were not told, by the Subscription's UID."""

    store: MeterStore
    untold: dict[str, Untold] = field(default_factory=dict)
    counted: datetime | None = None
    shown: datetime | None = None


async def run(world: World) -> None:
    """Count and send until cancelled; raises LeadershipLost when another process leads."""
    if world.payments.api is None:
        return
    while True:
        if not world.brakes.halt.observing:
            await carefully(logger, "use of tenants", partial(turn, world))
        await asyncio.sleep(TURN)


async def turn(world: World) -> None:
    """Count what is over, send what is due, and show what is not had."""
    reporting, now = world.reporting, world.now()
    until = meters.final_until(now)
    if reporting.counted != until:
        await count(reporting.store, list(billable(world)), now, epoch=world.epoch)
        reporting.counted = until
    assert world.payments.api is not None  # noqa: S101 - run ends without one
    while await send(reporting.store, world.payments.api, now, epoch=world.epoch):
        pass
    if reporting.shown is None or now - reporting.shown >= COUNTED_EVERY:
        await _show(world, now)


async def count(store: MeterStore, contracts: Sequence[Billable], now: datetime, *, epoch: int) -> None:
    """Make events of all hours that are over and were not counted yet."""
    cursors = await store.cursors()
    named = {one.subscription_uid: {meter.event for meter in one.meters} for one in contracts}
    if gone := meters.forgotten(cursors, named):
        await store.forget(gone, epoch=epoch)
    for start in range(0, len(contracts), CONTRACTS):
        await _count(store, contracts[start : start + CONTRACTS], cursors, now, epoch)
    await store.prune(now, epoch=epoch)


async def _count(
    store: MeterStore,
    contracts: Sequence[Billable],
    cursors: Mapping[tuple[str, str], datetime],
    now: datetime,
    epoch: int,
) -> None:
    until, first = meters.final_until(now), meters.first_hour(now)
    told = [(one, meter) for one in contracts for meter in one.meters]
    begin = {
        (one.subscription_uid, meter.event): cursors.get((one.subscription_uid, meter.event)) for one, meter in told
    }
    since: dict[str, datetime] = {}
    for one, meter in told:
        at = begin[one.subscription_uid, meter.event]
        if at is not None and at < until:
            since[one.tenant_id] = min(at, since.get(one.tenant_id, at))
    measured = await store.measured(since, until) if since else {}
    events, moved = list[MeterEvent](), dict[tuple[str, str], datetime]()
    for one, meter in told:
        key = one.subscription_uid, meter.event
        at = begin[key]
        if at is None:
            moved[key] = first
        elif at < until:
            used = measured.get(one.tenant_id, ())
            events += meters.events(store.installation, one, meter, used, begin=at, end=until)
            moved[key] = until
    if moved:
        await store.count(events, moved, now, epoch=epoch)


def billable(world: World) -> Iterator[Billable]:
    """The contracts of which all is known that an event needs; the others keep their hours for later.

    A contract whose Plan names no meter is among them, without any.
    """
    shelf = world.declared.subscriptions
    for name in [glance.name for glance in shelf.glances() if glance.payers]:
        subscription = shelf.get(name)
        if subscription is None or not by_stripe(subscription):
            continue
        claim = world.registry.by_subscription(subscription.metadata.uid)
        facts = world.facts.get(subscription.metadata.uid)
        known = last_known(subscription, facts)
        # What is kept of a Plan has no meters: like prices, they change nobody.
        plan = world.declared.plans.get(claim.plan_name) if claim is not None and claim.plan_name else None
        if claim is None or facts is None or known is None or plan is None:
            continue
        yield Billable(
            subscription_uid=subscription.metadata.uid, tenant_id=claim.id, customer=known.customer,
            meters=tuple(one for one in plan.spec.meters if one.provider == "Stripe"),
            since=claim.ready_time, until=facts.ended_time,
        )  # fmt: skip


async def send(store: MeterStore, api: StripeApi, now: datetime, *, epoch: int) -> bool:
    """Send what is due, each customer's meter in a line of its own; False when there is no more to do now."""
    if api.resting:
        return False
    due = await store.due(now, 1 if api.away else AT_ONCE)
    lines: dict[tuple[str, str], list[WaitingEvent]] = {}
    for one in due:
        if (fate := meters.fate(one.event.hour, one.tried, now)) != "Send":
            await store.give_up(one.event, fate, now, epoch=epoch)
            logger.warning("use of tenant %s at %s is not told: %s", one.event.tenant_id, one.event.hour, fate)
            metrics.METER_EVENTS.labels(fate.lower()).inc()
        else:
            lines.setdefault((one.event.customer, one.event.meter), []).append(one)
    waiting = [one.event.id for line in lines.values() for one in line]
    if not waiting:
        return bool(due)
    await store.trying(waiting, now, epoch=epoch)
    places = asyncio.Semaphore(LINES)

    async def tell(line: list[WaitingEvent]) -> bool:
        async with places:
            return await _line(store, api, line, now, epoch)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tell(line)) for line in lines.values()]
    return len(due) == AT_ONCE and all(task.result() for task in tasks)


async def _line(store: MeterStore, api: StripeApi, line: list[WaitingEvent], now: datetime, epoch: int) -> bool:
    """Send the hours of one customer's meter, the oldest first, up to the first that is not taken; True if none was."""
    sent: list[str] = []
    told, failed = Told(outcome="Taken"), None
    for one in line:
        told = await api.tell_usage(one.event)
        metrics.METER_EVENTS.labels(told.outcome.lower()).inc()
        if told.outcome != "Taken":
            failed = one
            break
        sent.append(one.event.id)
    if sent:
        await store.sent(sent, now, epoch=epoch)
    if failed is None:
        return True
    asked = told.outcome == "Unknown"
    rest = [one.event.id for one in line[len(sent) :] if one.tried is None and not (asked and one is failed)]
    await store.untried(rest, epoch=epoch)
    due = now + meters.pause(failed.attempts)
    if told.outcome == "Refused":
        await store.refused(failed.event, due, told.words, epoch=epoch)
    elif asked:
        await store.put_off(failed.event, due, told.words, epoch=epoch)
    logger.warning("use of tenant %s is not told: %s", failed.event.tenant_id, told.words)
    return False


async def _show(world: World, now: datetime) -> None:
    """How much waits, and whose use is not told: those are looked at."""
    reporting = world.reporting
    standing = await reporting.store.standing()
    metrics.METER_WAITING.set(standing.waiting)
    metrics.METER_REFUSED.set(standing.refused)
    metrics.METER_LOST.set(standing.lost)
    metrics.METER_OLDEST.set((now - standing.oldest).total_seconds() if standing.oldest is not None else 0)
    untold = await reporting.store.untold() if standing.refused or standing.lost or reporting.untold else {}
    changed = {uid for uid in untold.keys() | reporting.untold.keys() if untold.get(uid) != reporting.untold.get(uid)}
    reporting.untold, reporting.shown = untold, now
    for uid in changed:
        claim = world.registry.by_subscription(uid)
        if claim is not None:
            world.queue.add(Work("Tenant", claim.tenant_name), "use that is not told", background=True)
