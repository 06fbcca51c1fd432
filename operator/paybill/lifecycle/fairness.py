"""Which of the waiting operations of a cell comes next: who pays first, and nobody for ever last. Pure.

Every class waits behind the one before it, but only so long: each ``STEP`` of waiting lifts an operation by one class,
so the oldest of the last class overtakes a stream of new ones of the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

CLASSES = ("Paying", "Trial", "Other", "Background")
"""In the order in which they are served: customers who pay, who try, all others, and what only looks."""
STEP = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """One operation that waits for a place in its cell."""

    id: str
    tier: str
    queued_time: datetime


def pick(waiting: Iterable[Waiting], now: datetime) -> Waiting | None:
    """The one to start next."""
    return min(waiting, key=lambda one: (rank(one, now), one.queued_time, one.id), default=None)


def rank(one: Waiting, now: datetime) -> int:
    """The class that it counts as by now; lower is sooner."""
    behind = CLASSES.index(one.tier) if one.tier in CLASSES else CLASSES.index("Other")
    # A clock that went back must not put anybody behind everybody.
    return behind - max(0, int((now - one.queued_time) / STEP))
