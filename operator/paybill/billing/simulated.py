"""Provider ``simulated``: a payment provider with a virtual clock, for tests and for ``paybill simulate``.

Its history is a list of what became so and when, by its own time. It answers like a real one (the newest that is so by
now), it can be away, it can say words that nobody knows, and what it tells by itself can come late, twice, in another
order, or never. The same seed tells the same.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from paybill.lifecycle.provider import Snapshot, Status, latest

Span = tuple[datetime, datetime]


@dataclass(kw_only=True)
class Simulated:
    """One subscription at the provider. In ``away`` it does not answer, in ``strange`` nobody understands it."""

    history: list[Snapshot] = field(default_factory=list)
    away: list[Span] = field(default_factory=list)
    strange: list[Span] = field(default_factory=list)

    def becomes(self, snapshot: Snapshot) -> None:
        """Something else is so from its provider time on."""
        self.history.append(snapshot)

    def snapshot(self, now: datetime) -> Snapshot | None:
        """The answer at ``now``; None when there is none. What became so in one second is told apart by its rank."""
        if _within(self.away, now):
            return None
        if _within(self.strange, now):
            return Snapshot(status=Status.UNKNOWN, provider_time=now)
        return functools.reduce(latest, (one for one in self.history if _time(one) <= now), None)


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How likely a message is lost or comes twice, each from 0 to 1, and how late it may be."""

    lost: float = 0.0
    doubled: float = 0.0
    latest: timedelta = timedelta(0)


def deliveries(history: list[Snapshot], faults: Faults, seed: int) -> Iterator[tuple[datetime, Snapshot]]:
    """When which message arrives: by delay alone they overtake each other."""
    lots = random.Random(seed)  # noqa: S311 - what is drawn must be drawn again by the same seed
    for one in history:
        if lots.random() < faults.lost:
            continue
        for _ in range(2 if lots.random() < faults.doubled else 1):
            yield _time(one) + faults.latest * lots.random(), one


def _time(snapshot: Snapshot) -> datetime:
    assert snapshot.provider_time is not None  # noqa: S101 - a simulated provider knows when
    return snapshot.provider_time


def _within(spans: list[Span], now: datetime) -> bool:
    return any(begin <= now < end for begin, end in spans)
