"""The queue while everything fails, and when it is over: nobody hammers, nobody stampedes, nothing is kept for ever."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter

import pytest

from paybill.reconcile.queue import FIRST_BACKOFF, LONGEST_BACKOFF, SPREAD, Queue, Work

FLEET = [Work("Tenant", f"t{number}") for number in range(1_000)]
WORKERS = 16


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Queue:
    return Queue(clock)


async def take_due(queue: Queue) -> list[Work]:
    """Everything that workers would get at this moment."""
    queue._wake_due()
    taken = []
    while len(queue):
        taken.append((await queue.take())[0])
    return taken


async def fail_until(queue: Queue, clock: Clock, ends: float, *, after: float | None = None) -> list[float]:
    """An outage: whatever is looked at fails at once; returns when each look was."""
    looks = []
    while clock.now < ends:
        for work in await take_due(queue):
            looks.append(clock.now)
            queue.failed(work, after)
        clock.now = min(ends, max(clock.now, queue._heap[0][0]))
    return looks


async def test_looks_during_a_long_outage_come_down_to_one_a_minute_per_key(queue, clock):
    for work in FLEET:
        queue.add(work, "changed")
    looks = await fail_until(queue, clock, clock.now + 1_800)
    last = [look for look in looks if look > clock.now - 600]
    a_minute = len(last) / len(FLEET) / 10
    assert a_minute * 1.02 >= 60 / LONGEST_BACKOFF
    assert a_minute <= 60 / (LONGEST_BACKOFF * (1 - SPREAD))


async def test_keys_that_failed_in_the_same_moment_do_not_come_back_in_the_same_moment(queue, clock):
    for work in FLEET:
        queue.add(work, "changed")
    looks = await fail_until(queue, clock, clock.now + 3_600)
    moments = Counter(int(look / 10) for look in looks if clock.now - 310 < look < clock.now - 10)
    usual = statistics.mean(moments.values())
    assert max(moments.values()) < 1.5 * usual, "a wave that never breaks: they wait for the same time after all"


async def test_a_named_wait_is_kept_to_and_spread(queue, clock):
    for work in FLEET:
        queue.add(work, "changed")
    for work in await take_due(queue):
        queue.failed(work, 8.0)
    back = sorted(entry[0] - clock.now for entry in queue._heap)
    assert back[0] >= 8.0
    assert back[-1] <= 8.0 * (1 + SPREAD)
    assert back[-1] - back[0] > 8.0 * SPREAD / 2


async def test_when_all_come_back_at_once_no_more_work_than_there_are_workers(queue, clock):
    """A server is back and wakes its thousand tenants: the world sees sixteen of them at a time, each once."""
    for work in FLEET:
        queue.add(work, "changed")
    await fail_until(queue, clock, clock.now + 60)
    for work in FLEET:
        queue.add(work, "the server is back", background=True)
    working, most, seen = 0, 0, Counter[Work]()

    async def worker() -> None:
        nonlocal working, most
        while len(queue):
            work, _ = await queue.take()
            working += 1
            most = max(most, working)
            seen[work] += 1
            await asyncio.sleep(0)
            working -= 1
            queue.done(work)

    await asyncio.gather(*(worker() for _ in range(WORKERS)))
    assert most == WORKERS
    assert seen == Counter(FLEET)


async def test_a_new_tenant_does_not_wait_for_the_backlog_of_an_outage(queue, clock):
    for work in FLEET:
        queue.add(work, "changed")
    await fail_until(queue, clock, clock.now + 60)
    for work in FLEET:
        queue.add(work, "the server is back", background=True)
    new = Work("Tenant", "new")
    queue.add(new, "created")
    assert (await queue.take())[0] == new


async def test_an_outage_of_a_day_leaves_nothing_behind(queue, clock):
    for work in FLEET:
        queue.add(work, "changed")
    for _ in range(50):
        for work in await take_due(queue):
            queue.add(work, "changed meanwhile", background=True)
            queue.failed(work)
        clock.now += LONGEST_BACKOFF
    assert len(queue._heap) <= 2 * len(FLEET) + 64
    for work in await take_due(queue):
        queue.done(work)
        queue.forget(work)
    queue._wake_due()
    assert queue.idle
    assert not queue._states


async def test_after_an_outage_the_back_off_begins_anew(queue, clock):
    work = FLEET[0]
    queue.add(work, "changed")
    await fail_until(queue, clock, clock.now + 600)
    queue.add(work, "changed")
    queue.done((await queue.take())[0])
    queue.add(work, "changed")
    await queue.take()
    assert queue.failed(work) <= FIRST_BACKOFF


async def test_a_wait_that_was_named_makes_the_back_off_no_longer(queue, clock):
    queue.add(FLEET[0], "changed")
    for _ in range(20):
        await queue.take()
        clock.now += queue.failed(FLEET[0], 5.0)
    await queue.take()
    assert queue.failed(FLEET[0]) <= FIRST_BACKOFF
