"""Sends what is in the outbox, in the order in which it fell due, and shows what nobody takes.

A failure is tried again with longer and longer pauses, for three days. While the endpoint takes nothing at all, one
message finds out for the others. Two leaders may send the same message; it has the same id then.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from paybill.billing.delivery import Answer, Endpoint
from paybill.breaker import Breaker, Pauses
from paybill.control.outbox import Outbox, Waiting
from paybill.reconcile import metrics
from paybill.reconcile.looking import carefully
from paybill.reconcile.queue import Work
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

TURN = 1.0
"""Seconds between looks into the outbox: one query."""
COUNTED_EVERY = timedelta(seconds=30)
AT_ONCE = 8
"""Messages under way at a time."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(hours=1)
DIES_AFTER = timedelta(days=3)
"""How long a message is tried."""
PAUSES = Pauses(first=1.0, longest=60.0)


@dataclass(kw_only=True)
class Announcing:
    """The outbox and where it goes; ``endpoint`` None: nobody is told, and nothing is written to be told.

    ``dead``: how many dead letters each Subscription has, by its UID.
    """

    outbox: Outbox
    endpoint: Endpoint | None
    dead: dict[str, int] = field(default_factory=dict)
    counted: datetime | None = None
    breaker: Breaker = field(default_factory=lambda: Breaker(PAUSES, random.random))


async def run(world: World) -> None:
    """Send until cancelled; raises LeadershipLost or LeaseLost when another one leads, or may."""
    announcing = world.announcing
    if announcing.endpoint is None:
        return
    try:
        while True:
            if not world.brakes.halt.observing:
                await carefully(logger, "outbox", partial(_look, world))
            await asyncio.sleep(TURN)
    finally:
        await announcing.endpoint.close()


async def _look(world: World) -> None:
    await _count(world)
    await turn(world)


async def turn(world: World) -> None:
    """Send what is due until nothing is, or the endpoint takes nothing."""
    while True:
        ticket = world.announcing.breaker.enter(time.monotonic())
        if ticket is None:
            return
        try:
            probes = world.announcing.breaker.open
            due = await world.announcing.outbox.due(world.now(), 1 if probes else AT_ONCE)
            answers = await asyncio.gather(*(_send(world, one) for one in due))
            if not answers:
                return
            if any(answer.taken or not answer.again for answer in answers):
                world.announcing.breaker.succeeded(ticket, time.monotonic())
            elif world.announcing.breaker.failed(ticket, time.monotonic()):
                logger.warning("outbox: the endpoint takes nothing: %s", answers[0].words)
        finally:
            world.announcing.breaker.left(ticket)


async def _send(world: World, one: Waiting) -> Answer:
    announcing, now = world.announcing, world.now()
    assert announcing.endpoint is not None  # noqa: S101 - run ends without one
    answer = await announcing.endpoint.send(one.message, one.seq)
    outbox, epoch = announcing.outbox, world.epoch
    if answer.taken:
        await outbox.acknowledged(one, answer.words, epoch=epoch)
        metrics.MESSAGES.labels("acknowledged").inc()
    elif not answer.again or now - one.created >= DIES_AFTER:
        await outbox.died(one, answer.words, epoch=epoch)
        logger.warning("outbox: message %s is a dead letter: %s", one.message.id, answer.words)
        metrics.MESSAGES.labels("dead").inc()
        announcing.counted = None
    else:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(one.attempts, 16))
        await outbox.put_off(one, now + pause, answer.words, epoch=epoch)
        metrics.MESSAGES.labels("failed").inc()
    return answer


async def _count(world: World) -> None:
    """How much waits, and whose letters are dead: those are told."""
    announcing, now = world.announcing, world.now()
    if announcing.counted is not None and now - announcing.counted < COUNTED_EVERY:
        return
    standing = await announcing.outbox.standing()
    metrics.OUTBOX_WAITING.set(standing.waiting)
    metrics.OUTBOX_DEAD.set(standing.dead)
    metrics.OUTBOX_OLDEST.set((now - standing.oldest).total_seconds() if standing.oldest is not None else 0)
    dead = await announcing.outbox.dead() if standing.dead or announcing.dead else {}
    changed = {uid for uid in dead.keys() | announcing.dead.keys() if dead.get(uid) != announcing.dead.get(uid)}
    announcing.dead, announcing.counted = dead, now
    for uid in changed:
        claim = world.registry.by_subscription(uid)
        if claim is not None:
            world.queue.add(Work("Tenant", claim.tenant_name), "dead letters", background=True)
    await announcing.outbox.prune(now, epoch=world.epoch)
