"""The keyed work queue: what is dirty, in which order, and when to look again.

Kopf hands us every event; a key that is dirty already is not queued twice, and a key being worked on is never
worked on by two workers: it is looked at once more afterwards. Changes by people go before resyncs, so a fleet
that is being looked over never delays a new tenant. Failed keys wait with exponential back-off and jitter.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 300.0


class Work(NamedTuple):
    """What to look at: a kind of reconcile and the name it is about."""

    kind: str
    name: str


@dataclass
class _State:
    """What is known of one key: why it is dirty, whether a worker has it, how often it failed in a row."""

    causes: list[str] = field(default_factory=list)
    working: bool = False
    failures: int = 0
    wake: float | None = None
    why: str = ""


DUE = "due"
"""The cause of a look that was planned: a resync or a deadline."""
AGAIN = "again"
"""The cause of a look after a failure."""


class Queue:
    """The queue. All methods run in the event loop; ``clock`` is in seconds and monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._states: dict[Work, _State] = {}
        self._urgent: deque[Work] = deque()
        self._background: deque[Work] = deque()
        self._heap: list[tuple[float, int, Work]] = []
        self._order = itertools.count()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._background)

    @property
    def idle(self) -> bool:
        """Nothing queued and nothing being worked on (what waits for its time does not count)."""
        return not len(self) and not any(state.working for state in self._states.values())

    def add(self, work: Work, cause: str, *, background: bool = False) -> None:
        """Mark a key dirty. ``cause`` ends up in the audit log: say what happened to which object."""
        state = self._states.setdefault(work, _State())
        queued = bool(state.causes)
        if cause not in state.causes:
            state.causes.append(cause)
        state.wake = None
        if not queued and not state.working:
            (self._background if background else self._urgent).append(work)
            self._changed.set()

    def add_within(self, work: Work, seconds: float) -> None:
        """Look at a key after ``seconds`` at the latest: what is queued, or planned sooner, stays as it is."""
        state = self._states.setdefault(work, _State())
        when = self._clock() + seconds
        if not state.causes and (state.wake is None or state.wake > when):
            self.add_at(work, when, AGAIN)

    def add_at(self, work: Work, when: float, why: str = DUE) -> None:
        """Look at a key again at ``when`` (by the queue's clock); the last call for a key counts."""
        state = self._states.setdefault(work, _State())
        state.wake, state.why = when, why
        heapq.heappush(self._heap, (when, next(self._order), work))
        self._changed.set()

    def forget(self, work: Work) -> None:
        """Drop what is known of a key that is gone for good."""
        state = self._states.get(work)
        if state is not None and not state.causes:
            del self._states[work]

    async def take(self) -> tuple[Work, str]:
        """The next key with its causes; waits for one."""
        while True:
            self._wake_due()
            for lane in (self._urgent, self._background):
                if lane:
                    work = lane.popleft()
                    state = self._states[work]
                    causes, state.causes, state.working = state.causes, [], True
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
        """A worker could not finish: the key comes back after ``after`` seconds or the back-off; returns the wait."""
        state = self._states[work]
        state.failures += 1
        backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** (state.failures - 1))
        # Jitter is for spreading load, not for secrets.
        wait = after if after is not None else backoff * random.uniform(0.75, 1.25)  # noqa: S311
        self._release(work, state)
        if not state.causes:
            self.add_at(work, self._clock() + wait, AGAIN)
        return wait

    def _release(self, work: Work, state: _State) -> None:
        state.working = False
        if state.causes:
            self._urgent.append(work)
            self._changed.set()

    def _wake_due(self) -> None:
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            when, _, work = heapq.heappop(self._heap)
            state = self._states.get(work)
            if state is not None and state.wake == when:
                self.add(work, state.why, background=True)
