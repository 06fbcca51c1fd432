"""The queue against a model that does everything the slow and obvious way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from paybill.reconcile.queue import Queue, Work

WORKS = [Work("Tenant", name) for name in "abcd"]
works = st.sampled_from(WORKS)


class QueueMachine(RuleBasedStateMachine):
    """Whatever is done to it: no key is lost, none is worked on twice at a time, none comes without a reason."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.queue = Queue(lambda: self.now)
        self.dirty: set[Work] = set()
        self.working: set[Work] = set()
        self.planned: dict[Work, float] = {}
        self.promised: dict[Work, float] = {}

    def _fall_due(self) -> None:
        for work in WORKS:
            if min(self.planned.get(work, 1e9), self.promised.get(work, 1e9)) <= self.now:
                self._mark(work)

    def _mark(self, work: Work) -> None:
        self.dirty.add(work)
        self.planned.pop(work, None)
        self.promised.pop(work, None)

    @rule(work=works, background=st.booleans())
    def add(self, work: Work, background: bool) -> None:
        self.queue.add(work, "changed", background=background)
        self._mark(work)

    @rule(work=works, seconds=st.integers(0, 9))
    def add_at(self, work: Work, seconds: int) -> None:
        self.queue.add_at(work, self.now + seconds)
        self.planned[work] = self.now + seconds

    @rule(work=works, seconds=st.integers(0, 9))
    def add_within(self, work: Work, seconds: int) -> None:
        self.queue.add_within(work, seconds)
        if work not in self.dirty:
            self.promised[work] = min(self.promised.get(work, 1e9), self.now + seconds)

    @rule(work=works)
    def forget(self, work: Work) -> None:
        self.queue.forget(work)
        if work not in self.dirty | self.working and work not in self.promised:
            self.planned.pop(work, None)

    @rule(seconds=st.integers(0, 5))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        self._fall_due()
        takeable = self.dirty - self.working
        work = _taken(self.queue)
        if not takeable:
            assert work is None
            return
        assert work in takeable
        self.dirty.discard(work)
        self.working.add(work)

    @precondition(lambda self: self.working)
    @rule(data=st.data(), after=st.one_of(st.none(), st.integers(0, 9)), well=st.booleans())
    def finish(self, data: Any, after: int | None, well: bool) -> None:
        work = data.draw(st.sampled_from(sorted(self.working)))
        self.working.discard(work)
        if well:
            self.queue.done(work)
            return
        wait = self.queue.failed(work, after)
        if work not in self.dirty:
            self.planned[work] = self.now + wait

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.queue.idle is not bool(self.working or self.dirty)
        assert len(self.queue) == len(self.dirty - self.working)

    def teardown(self) -> None:
        """In the end everything that was promised, planned or dirty is looked at, each once."""
        for work in sorted(self.working):
            self.queue.done(work)
        self.working.clear()
        self.now += 1_000
        self._fall_due()
        taken = []
        while (work := _taken(self.queue)) is not None:
            taken.append(work)
            self.queue.done(work)
        assert sorted(taken) == sorted(self.dirty)


def _taken(queue: Queue) -> Work | None:
    """What a worker gets that does not wait. The coroutine is run by hand: it either ends or asks to wait."""

    async def take() -> Work | None:
        task = asyncio.ensure_future(queue.take())
        for _ in range(3):
            await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return None
        return (await task)[0]

    return LOOP.run_until_complete(take())


LOOP: asyncio.AbstractEventLoop


@pytest.fixture(autouse=True, scope="module")
def _loop():
    global LOOP
    LOOP = asyncio.new_event_loop()
    yield
    LOOP.close()


class TestQueue(QueueMachine.TestCase):
    settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
