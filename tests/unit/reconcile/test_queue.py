"""The work queue: what is taken next, by whom, and when a key comes back."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator

import pytest

from paybill.reconcile.queue import (
    AGAIN,
    DUE,
    FIRST_BACKOFF,
    LONGEST_BACKOFF,
    MOST_CAUSES,
    SPREAD,
    URGENT_IN_A_ROW,
    Queue,
    Work,
)

ACME, BETA, GAMMA = (Work("Tenant", name) for name in ("acme", "beta", "gamma"))


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Queue:
    return Queue(clock)


def names(count: int, prefix: str = "t") -> Iterator[Work]:
    return (Work("Tenant", f"{prefix}{number}") for number in range(count))


async def nothing_to_take(queue: Queue) -> bool:
    """Whether a worker that asks now is left waiting."""
    task = asyncio.create_task(queue.take())
    for _ in range(5):
        await asyncio.sleep(0)
    waiting = not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return waiting


async def take(queue: Queue) -> tuple[Work, str]:
    """What a worker gets now; a queue that has nothing fails the test instead of stopping it."""
    return await asyncio.wait_for(queue.take(), 5)


async def take_all(queue: Queue) -> list[Work]:
    """Take and finish until nothing is left."""
    taken = []
    while len(queue):
        work, _ = await take(queue)
        taken.append(work)
        queue.done(work)
    return taken


async def test_a_dirty_key_is_looked_at_once_with_every_cause(queue):
    for cause in ("one", "two", "one"):
        queue.add(ACME, cause)
    assert len(queue) == 1
    assert await take(queue) == (ACME, "one; two")
    assert await nothing_to_take(queue)


async def test_keys_are_taken_in_the_order_in_which_they_became_dirty(queue):
    for work in (BETA, ACME, GAMMA):
        queue.add(work, "changed")
    queue.add(BETA, "changed again")
    assert await take_all(queue) == [BETA, ACME, GAMMA]


async def test_a_key_that_a_worker_has_is_given_to_no_other(queue):
    queue.add(ACME, "first")
    await take(queue)
    queue.add(ACME, "meanwhile")
    assert await nothing_to_take(queue)
    queue.done(ACME)
    assert await take(queue) == (ACME, "meanwhile")


async def test_two_workers_get_two_keys(queue):
    one, two = asyncio.create_task(queue.take()), asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add(ACME, "changed")
    queue.add(BETA, "changed")
    assert {(await one)[0], (await two)[0]} == {ACME, BETA}


async def test_a_waiting_worker_is_woken_by_a_change(queue):
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add(ACME, "changed")
    assert await asyncio.wait_for(waiting, 5) == (ACME, "changed")


async def test_what_a_person_changed_goes_before_what_is_only_looked_over(queue):
    for work in names(100):
        queue.add(work, "resync", background=True)
    queue.add(ACME, "edited")
    assert (await take(queue))[0] == ACME


async def test_an_edit_moves_a_key_up_that_was_only_being_looked_over(queue):
    for work in [*names(100), ACME]:
        queue.add(work, "resync", background=True)
    queue.add(ACME, "edited")
    assert await take(queue) == (ACME, "resync; edited")
    queue.done(ACME)
    assert ACME not in await take_all(queue)


async def test_an_urgent_key_is_not_moved_back_by_a_resync(queue):
    queue.add(BETA, "resync", background=True)
    queue.add(ACME, "edited")
    queue.add(ACME, "resync", background=True)
    assert await take_all(queue) == [ACME, BETA]


async def test_an_endless_stream_of_changes_starves_no_resync(queue):
    waiting = list(names(3, "background"))
    for work in waiting:
        queue.add(work, "resync", background=True)
    taken = []
    for number in range(5 * URGENT_IN_A_ROW):
        queue.add(Work("Tenant", f"edit{number}"), "edited")
        work, _ = await take(queue)
        taken.append(work)
        queue.done(work)
    turns = [taken.index(work) for work in waiting]
    assert turns == [URGENT_IN_A_ROW, 2 * URGENT_IN_A_ROW + 1, 3 * URGENT_IN_A_ROW + 2]


async def test_a_worker_for_what_is_urgent_leaves_the_background_alone(queue):
    queue.add(ACME, "wave", background=True)
    task = asyncio.create_task(queue.take(urgent_only=True))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    queue.add(BETA, "edit")
    assert await asyncio.wait_for(task, 1) == (BETA, "edit")
    assert await queue.take() == (ACME, "wave")


async def test_an_edit_of_what_waits_in_the_background_is_for_the_urgent_worker(queue):
    queue.add(ACME, "wave", background=True)
    queue.add(ACME, "edit")
    assert await asyncio.wait_for(queue.take(urgent_only=True), 1) == (ACME, "wave; edit")
    assert not len(queue)


async def test_the_turn_of_the_background_is_counted_only_while_it_waits(queue):
    for work in names(URGENT_IN_A_ROW + 1):
        queue.add(work, "edited")
    for _ in range(URGENT_IN_A_ROW):
        queue.done((await take(queue))[0])
    queue.add(BETA, "resync", background=True)
    assert (await take(queue))[0] != BETA


async def test_a_background_change_during_the_work_stays_in_the_background(queue):
    queue.add(ACME, "edited")
    await take(queue)
    queue.add(ACME, "resync", background=True)
    queue.add(BETA, "edited")
    queue.done(ACME)
    assert await take_all(queue) == [BETA, ACME]


async def test_a_failed_key_comes_back_after_its_back_off(queue, clock):
    queue.add(ACME, "changed")
    await take(queue)
    wait = queue.failed(ACME)
    clock.pass_by(wait - 0.001)
    assert await nothing_to_take(queue)
    clock.pass_by(0.002)
    assert await take(queue) == (ACME, AGAIN)


async def test_the_back_off_doubles_up_to_a_bound_and_never_breaks(queue, clock):
    """Two to the power of 1,100 failures is no float any more: a tenant that is broken for four days."""
    waits = []
    queue.add(ACME, "changed")
    for _ in range(1_200):
        await take(queue)
        waits.append(queue.failed(ACME))
        clock.pass_by(waits[-1])
    for number, wait in enumerate(waits):
        full = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(number, 64))
        assert (1 - SPREAD) * full <= wait <= full
    assert len(set(waits[-100:])) > 50


async def test_success_forgets_the_failures_before_it(queue, clock):
    queue.add(ACME, "changed")
    for _ in range(6):
        await take(queue)
        clock.pass_by(queue.failed(ACME))
    await take(queue)
    queue.done(ACME)
    queue.add(ACME, "changed")
    await take(queue)
    assert queue.failed(ACME) <= FIRST_BACKOFF


async def test_a_failure_that_names_its_own_wait_has_it(queue, clock):
    queue.add(ACME, "changed")
    await take(queue)
    wait = queue.failed(ACME, after=7.0)
    assert 7.0 <= wait <= 7.0 * (1 + SPREAD)
    clock.pass_by(6.9)
    assert await nothing_to_take(queue)
    clock.pass_by(wait - 6.9 + 0.001)
    assert (await take(queue))[0] == ACME


async def test_a_change_does_not_wait_for_the_back_off(queue):
    queue.add(ACME, "changed")
    await take(queue)
    queue.failed(ACME, after=300)
    queue.add(ACME, "edited")
    assert await take(queue) == (ACME, "edited")


async def test_a_change_during_work_that_failed_is_looked_at_at_once(queue):
    queue.add(ACME, "changed")
    await take(queue)
    queue.add(ACME, "edited")
    queue.failed(ACME, after=300)
    assert await take(queue) == (ACME, "edited")


async def test_of_several_plans_the_last_counts(queue, clock):
    queue.add_at(ACME, clock.now + 10)
    queue.add_at(ACME, clock.now + 30)
    clock.pass_by(20)
    assert await nothing_to_take(queue)
    queue.add_at(ACME, clock.now + 1)
    clock.pass_by(2)
    assert await take(queue) == (ACME, DUE)
    queue.done(ACME)
    clock.pass_by(60)
    assert await nothing_to_take(queue)


async def test_a_change_makes_the_planned_look_unnecessary(queue, clock):
    queue.add_at(ACME, clock.now + 10)
    queue.add(ACME, "edited")
    await take(queue)
    queue.done(ACME)
    clock.pass_by(60)
    assert await nothing_to_take(queue)


async def test_what_falls_due_is_background(queue, clock):
    queue.add(ACME, "edited")
    queue.add_at(BETA, clock.now - 1)
    assert (await take(queue))[0] == ACME
    queue.add(GAMMA, "edited")
    assert await take_all(queue) == [GAMMA, BETA]


async def test_an_edit_makes_only_the_look_that_follows_it_urgent(queue):
    queue.add(ACME, "edited")
    await take_all(queue)
    queue.add(BETA, "resync", background=True)
    queue.add(ACME, "resync", background=True)
    assert await take_all(queue) == [BETA, ACME]


async def test_a_failure_leaves_no_back_off_behind_a_change(queue, clock):
    queue.add(ACME, "changed")
    await take(queue)
    queue.add(ACME, "edited")
    queue.failed(ACME, after=5)
    await take_all(queue)
    clock.pass_by(60)
    assert await nothing_to_take(queue)


async def test_a_promise_is_over_once_it_is_kept(queue, clock):
    queue.add_within(ACME, 5)
    queue.add(ACME, "edited")
    await take_all(queue)
    queue.add_at(ACME, clock.now + 600)
    clock.pass_by(60)
    assert await nothing_to_take(queue)
    queue.forget(ACME)
    assert not queue._states


async def test_what_falls_due_during_the_work_is_looked_at_afterwards(queue, clock):
    queue.add(ACME, "changed")
    await take(queue)
    queue.add_at(ACME, clock.now + 1)
    clock.pass_by(2)
    assert await nothing_to_take(queue)
    queue.done(ACME)
    assert await take(queue) == (ACME, DUE)


async def test_a_promise_is_kept_whatever_is_planned_later(queue, clock):
    queue.add_within(ACME, 5)
    queue.add_at(ACME, clock.now + 600)
    clock.pass_by(5)
    assert await take(queue) == (ACME, AGAIN)


async def test_a_promise_made_during_the_work_outlives_its_end(queue, clock):
    queue.add(ACME, "changed")
    await take(queue)
    queue.add_within(ACME, 5)
    queue.done(ACME)
    queue.forget(ACME)
    clock.pass_by(5)
    assert await take(queue) == (ACME, AGAIN)


async def test_a_promise_moves_nothing_that_is_sooner(queue, clock):
    queue.add_at(ACME, clock.now + 2)
    queue.add_within(ACME, 5)
    queue.add_within(ACME, 9)
    clock.pass_by(2)
    assert await take(queue) == (ACME, DUE)
    queue.done(ACME)
    queue.add(BETA, "edited")
    queue.add_within(BETA, 0)
    assert await take(queue) == (BETA, "edited")
    assert await nothing_to_take(queue)


async def test_many_promises_are_kept_with_one_look(queue, clock):
    for _ in range(100):
        queue.add_within(ACME, 5)
        clock.pass_by(0.03125)
    clock.pass_by(1.875)
    assert await take_all(queue) == []
    assert await take(queue) == (ACME, AGAIN)


async def test_a_forgotten_key_does_not_come_back(queue, clock):
    queue.add_at(ACME, clock.now + 1)
    queue.forget(ACME)
    queue.forget(BETA)
    clock.pass_by(2)
    assert await nothing_to_take(queue)


async def test_a_key_with_a_reason_to_be_looked_at_is_not_forgotten(queue):
    queue.add(ACME, "changed")
    queue.forget(ACME)
    assert await take(queue) == (ACME, "changed")
    queue.add(ACME, "meanwhile")
    queue.forget(ACME)
    queue.done(ACME)
    assert await take(queue) == (ACME, "meanwhile")


async def test_forgetting_a_key_that_is_being_worked_on_breaks_nothing(queue):
    queue.add(ACME, "changed")
    await take(queue)
    queue.forget(ACME)
    queue.done(ACME)
    assert queue.idle


async def test_a_forgotten_key_that_appears_again_is_new(queue, clock):
    queue.add(ACME, "changed")
    for _ in range(8):
        await take(queue)
        clock.pass_by(queue.failed(ACME))
    await take(queue)
    queue.done(ACME)
    queue.forget(ACME)
    queue.add_at(ACME, clock.now + 1)
    clock.pass_by(1)
    await take(queue)
    assert queue.failed(ACME) <= FIRST_BACKOFF


async def test_idle_means_nothing_queued_and_nothing_worked_on(queue, clock):
    assert queue.idle
    queue.add(ACME, "changed")
    assert not queue.idle
    await take(queue)
    assert not queue.idle
    queue.done(ACME)
    assert queue.idle
    queue.add_at(ACME, clock.now + 600)
    assert queue.idle


async def test_a_key_remembers_so_many_causes_and_no_more(queue):
    for number in range(1_000):
        queue.add(ACME, f"cause {number}")
    _, causes = await take(queue)
    assert causes.split("; ") == [f"cause {number}" for number in range(MOST_CAUSES)]


def weight(queue: Queue) -> int:
    """How many entries the queue holds, of any kind."""
    gc.collect()
    return sum(len(value) for value in vars(queue).values() if hasattr(value, "__len__"))


async def test_memory_does_not_grow_with_what_was_once_planned(queue, clock):
    """Every reconcile plans the next resync hours ahead, and every event before that makes the plan void."""
    fleet = list(names(100))
    for _ in range(200):
        for work in fleet:
            queue.add(work, "changed")
        while len(queue):
            work, _ = await take(queue)
            queue.done(work)
            queue.add_at(work, clock.now + 20_000)
        clock.pass_by(1)
    assert weight(queue) < 5 * len(fleet) + 200


async def test_memory_does_not_grow_with_keys_that_come_and_go(queue, clock):
    for number in range(10_000):
        work = Work("Tenant", f"t{number}")
        queue.add(work, "appeared")
        await take(queue)
        queue.done(work)
        queue.add_at(work, clock.now + 20_000)
        queue.add(work, "gone")
        await take(queue)
        queue.done(work)
        queue.forget(work)
    assert weight(queue) < 200
    assert sys.getsizeof(queue._heap) < 10_000
