"""The keyed work queue: what is dirty, in which order, and when to look again.

Kopf hands us every event; a key that is dirty already is not queued twice, and a key being worked on is never
worked on by two workers: it is looked at once more afterwards. Changes by people go before resyncs, so a fleet
that is being looked over never delays a new tenant; a resync is not starved either, for the deadlines of contracts
come with it. Failed keys wait with exponential back-off and jitter.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 60.0
"""Seconds: the wait after the first failure, which doubles with each one in a row, and its bound."""
SPREAD = 0.25
"""How much of a wait is left to chance, so that what failed together does not come back together."""
URGENT_IN_A_ROW = 8
"""How many urgent keys are taken while a background one waits, before it has its turn."""
MOST_CAUSES = 8
"""Different causes that one look remembers; what a thousand events say beyond that, nobody reads."""

DUE = "due"
"""The cause of a look that was planned: a resync or a deadline."""
AGAIN = "again"
"""The cause of a look after a failure."""


class Work(NamedTuple):
    """What to look at: a kind of reconcile and the name it is about."""

    kind: str
    name: str


@dataclass(slots=True)
class _State:
    """What is known of one key: why it is dirty, whether a worker has it, how often it failed in a row.

    ``ticket`` is its valid entry in the heap of planned looks; ``limit`` the time by which one was promised.
    """

    causes: list[str] = field(default_factory=list)
    urgent: bool = False
    working: bool = False
    failures: int = 0
    ticket: int | None = None
    wake: float = 0.0
    why: str = DUE
    limit: float | None = None


class Queue:
    """The queue. All methods run in the event loop; ``clock`` is in seconds and monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._states: dict[Work, _State] = {}
        self._urgent: OrderedDict[Work, None] = OrderedDict()
        self._background: OrderedDict[Work, None] = OrderedDict()
        self._urgent_in_a_row = 0
        self._working = 0
        self._heap: list[tuple[float, int, Work]] = []
        self._planned = 0
        self._tickets = itertools.count()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._background)

    @property
    def idle(self) -> bool:
        """Nothing queued and nothing being worked on (what waits for its time does not count)."""
        return not len(self) and not self._working

    def add(self, work: Work, cause: str, *, background: bool = False) -> None:
        """Mark a key dirty. ``cause`` ends up in the audit log: say what happened to which object."""
        state = self._states.setdefault(work, _State())
        if cause not in state.causes and len(state.causes) < MOST_CAUSES:
            state.causes.append(cause)
        state.urgent = state.urgent or not background
        self._unplan(state)
        state.limit = None
        if not state.working:
            self._enqueue(work, state)

    def add_within(self, work: Work, seconds: float) -> None:
        """Look at a key after ``seconds`` at the latest: what is queued, or planned sooner, stays as it is."""
        state = self._states.setdefault(work, _State())
        if state.causes:
            return
        when = self._clock() + seconds
        state.limit = when if state.limit is None else min(state.limit, when)
        self._keep_promise(work, state)

    def add_at(self, work: Work, when: float, why: str = DUE) -> None:
        """Look at a key again at ``when`` (by the queue's clock); the last call for a key counts."""
        state = self._states.setdefault(work, _State())
        self._plan(work, state, when, why)
        self._keep_promise(work, state)

    def forget(self, work: Work) -> None:
        """Drop what is known of a key that is gone for good, unless there is a reason to look at it."""
        state = self._states.get(work)
        if state is not None and not state.causes and not state.working and state.limit is None:
            self._unplan(state)
            del self._states[work]

    async def take(self, *, urgent_only: bool = False) -> tuple[Work, str]:
        """The next key with its causes; waits for one, or with ``urgent_only`` for one that is urgent."""
        while True:
            self._wake_due()
            if self._urgent if urgent_only else len(self):
                work = self._urgent.popitem(last=False)[0] if urgent_only else self._next()
                state = self._states[work]
                causes, state.causes = state.causes, []
                state.urgent, state.working = False, True
                self._working += 1
                return work, "; ".join(causes)
            self._changed.clear()
            wait = max(0.0, self._heap[0][0] - self._clock()) if self._heap else None
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def done(self, work: Work) -> None:
        """A worker is through with a key and all went well."""
        state = self._states[work]
        state.failures = 0
        self._release(work, state)

    def failed(self, work: Work, after: float | None = None) -> float:
        """A worker could not finish: the key comes back after ``after`` seconds or the back-off; returns the wait.

        Both are spread by a quarter: a named wait upwards, for it says when it is worth trying again; it makes the
        back-off no longer.
        """
        state = self._states[work]
        # The exponent is bounded as well: two to the power of a few days of failures is no float any more.
        backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(state.failures, 32))
        state.failures += after is None
        # Jitter is for spreading load, not for secrets.
        spread = random.uniform(0.0, SPREAD)  # noqa: S311
        wait = after * (1.0 + spread) if after is not None else backoff * (1.0 - spread)
        self._release(work, state)
        if not state.causes:
            self.add_at(work, self._clock() + wait, AGAIN)
        return wait

    def _release(self, work: Work, state: _State) -> None:
        state.working = False
        self._working -= 1
        if state.causes:
            self._enqueue(work, state)

    def _enqueue(self, work: Work, state: _State) -> None:
        """Put a dirty key into its lane, once; from the background it can only be moved up."""
        if state.urgent:
            self._background.pop(work, None)
        (self._urgent if state.urgent else self._background).setdefault(work)
        self._changed.set()

    def _next(self) -> Work:
        """The next key: urgent before background, but not for ever."""
        if self._urgent and not (self._background and self._urgent_in_a_row >= URGENT_IN_A_ROW):
            self._urgent_in_a_row = self._urgent_in_a_row + 1 if self._background else 0
            return self._urgent.popitem(last=False)[0]
        self._urgent_in_a_row = 0
        return self._background.popitem(last=False)[0]

    def _plan(self, work: Work, state: _State, when: float, why: str) -> None:
        self._unplan(state)
        state.ticket, state.wake, state.why = next(self._tickets), when, why
        self._planned += 1
        heapq.heappush(self._heap, (when, state.ticket, work))
        self._changed.set()

    def _unplan(self, state: _State) -> None:
        """Invalidate a planned look. Its entry stays in the heap, which is swept before it is mostly such entries."""
        if state.ticket is None:
            return
        state.ticket = None
        self._planned -= 1
        if len(self._heap) > 2 * self._planned + 64:
            self._heap = [entry for entry in self._heap if self._valid(entry)]
            heapq.heapify(self._heap)

    def _keep_promise(self, work: Work, state: _State) -> None:
        """What was promised by ``add_within`` is not undone by a later plan, nor by the end of a look before it."""
        if state.limit is not None and (state.ticket is None or state.wake > state.limit):
            self._plan(work, state, state.limit, AGAIN)

    def _valid(self, entry: tuple[float, int, Work]) -> bool:
        state = self._states.get(entry[2])
        return state is not None and state.ticket == entry[1]

    def _wake_due(self) -> None:
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if self._valid(entry):
                self.add(entry[2], self._states[entry[2]].why, background=True)
