"""When so much of a cell is to be stopped or deleted at once that it is more likely a mistake than a wish.

A wrong column in the payment data, a folder that GitOps prunes, a controller gone wild: each looks like many customers
who leave in the same moment. One customer who leaves is nobody's business; beyond a share of the cell all that
destroys waits for a person. The share has a floor, so that small cells can be used: three of three may go.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from paybill.api.cell import CellLimits

FLOOR = 5
"""So many tenants at once are never taken for a mass change, unless the Cell says otherwise."""
KEPT = timedelta(days=1)
"""How long, counted from the newest, a moment is remembered."""


class Cause(StrEnum):
    """What happened to many tenants of a cell at once."""

    SUSPENSIONS = "Suspensions"
    DELETIONS = "Deletions"
    PLANS = "Plans"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """More than ``per_cent`` of a cell's tenants ``within`` a span is a mass change; ``words`` say what happened."""

    per_cent: int
    within: timedelta
    words: str

    def allowed(self, floor: int, tenants: int) -> int:
        """How many of ``tenants`` are no mass change yet."""
        return max(floor, tenants * self.per_cent // 100)


RULES = {
    Cause.SUSPENSIONS: Rule(per_cent=10, within=timedelta(hours=1), words="fell due for suspension within an hour"),
    Cause.DELETIONS: Rule(
        per_cent=1, within=timedelta(minutes=1), words="were asked to be deleted, or their contracts, within a minute"
    ),
    Cause.PLANS: Rule(per_cent=50, within=timedelta(minutes=1), words="lost their Plan within a minute"),
}


def floor_of(limits: CellLimits | None) -> int:
    """The floor of a cell, or the one of all where it (or the Cell) says nothing."""
    declared = limits.mass_change_floor if limits is not None else None
    return FLOOR if declared is None else declared


class Tally:
    """Who fell due when; answers how many did so within a span. Fed by events, never counted over all tenants."""

    def __init__(self, within: timedelta) -> None:
        self._within = within
        self._due: dict[str, datetime] = {}
        self._order: list[tuple[datetime, str]] = []
        self._looked_at: datetime | None = None

    def __contains__(self, who: str) -> bool:
        return who in self._due

    def add(self, who: str, time: datetime) -> int:
        """Count ``who`` as due since ``time`` (once: the first time stands); the most within any span around it.

        0 when there is nothing new to count: it was counted, a person looked at it, or it is long ago.
        """
        old = self._looked_at is not None and time <= self._looked_at
        if who in self._due or old or (self._order and time < self._order[-1][0] - KEPT):
            return 0
        self._due[who] = time
        insort(self._order, (time, who))
        self._leave_out(self._order[-1][0] - KEPT)
        return self._most_around(time)

    def drop(self, who: str) -> None:
        """``who`` is not due any more."""
        time = self._due.pop(who, None)
        if time is not None:
            del self._order[bisect_left(self._order, (time, who))]

    @property
    def newest(self) -> datetime | None:
        """The latest moment that counts."""
        return self._order[-1][0] if self._order else None

    def look_at(self, until: datetime) -> None:
        """A person looked at all that fell due ``until`` then: it counts no more."""
        self._looked_at = until if self._looked_at is None else max(self._looked_at, until)
        self._leave_out(self._looked_at + timedelta.resolution)

    def _leave_out(self, before: datetime) -> None:
        end = bisect_left(self._order, (before, ""))
        for _, who in self._order[:end]:
            del self._due[who]
        del self._order[:end]

    def _most_around(self, time: datetime) -> int:
        """The most entries in any span that holds ``time``; each span that matters ends with an entry."""
        first, end = bisect_left(self._order, (time, "")), bisect_left(self._order, (time + self._within, ""))
        return max(
            place + 1 - bisect_right(self._order, (self._order[place][0] - self._within, "\uffff"), 0, place)
            for place in range(first, end)
        )
