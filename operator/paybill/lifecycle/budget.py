"""How many suspensions and deletions a cell may see in an hour, and whose turn it is.

A mistake in the payment data, or a folder pruned by GitOps, must not stop a whole cell at once. Absent limits are the
greater of a floor and one per cent of the cell, so that they grow with it. What does not fit into the hour waits in a
line: who fell due first goes first, whichever worker happens to ask.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from paybill.api.cell import CellLimits

HOUR = timedelta(hours=1)
ABSENT_AFTER = 120.0
"""Seconds after it was to ask again that a waiting one keeps its place: it may wait for something else by now."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One kind of destructive step: the action it is counted by, how people call it, and its floor per hour."""

    action: str
    what: str
    reason: str
    floor: int

    def per_hour(self, limits: CellLimits | None, tenants: int) -> int:
        """How many are allowed in any hour in a cell of ``tenants`` tenants."""
        declared = getattr(limits, f"{self.what}_per_hour") if limits is not None else None
        return declared if declared is not None else max(self.floor, tenants // 100)


SUSPENSIONS = Budget(action="tenant.suspend", what="suspensions", reason="SuspensionBudgetSpent", floor=10)
DELETIONS = Budget(action="tenant.drop", what="deletions", reason="DeletionBudgetSpent", floor=5)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The answer to whoever asks: go ahead (``place`` 0), or the place in the line, from 1, and when it is its turn.

    ``spent`` of ``allowed`` were begun in the last hour. ``time`` is None when the limit lets nobody through.
    """

    place: int
    waiting: int
    spent: int
    allowed: int
    time: datetime | None = None


class Ledger:
    """One budget of one cell: what was begun in the last hour, by tenant id, and who waits."""

    def __init__(self, begun: Mapping[str, datetime]) -> None:
        self.allowed = 0
        """What the last one who asked was told is allowed."""
        self._begun = dict(begun)
        self._line: list[tuple[datetime, str]] = []
        self._due: dict[str, datetime] = {}
        self._back_by: dict[str, float] = {}

    @property
    def waiting(self) -> tuple[str, ...]:
        """Who waits, first to last."""
        return tuple(who for _, who in self._line)

    def ask(self, who: str, due: datetime, allowed: int, now: datetime, clock: float) -> Turn:
        """Whether it is the turn of ``who``, due since ``due``. What was begun in this hour may be begun again.

        ``clock`` is in seconds and monotonic.
        """
        # A clock that went back makes nothing begin in the future: what it shows so takes its room for one more hour.
        self._begun = {one: min(time, now) for one, time in self._begun.items() if time > now - HOUR}
        spent, self.allowed = len(self._begun), allowed
        if who in self._begun:
            return Turn(place=0, waiting=len(self._line), spent=spent, allowed=allowed)
        self._join(who, due)
        self._leave_absent(who, clock)
        place = bisect_left(self._line, (self._due[who], who))
        free = free_at(sorted(self._begun.values()), allowed, place, now)
        if free == now:
            return Turn(place=0, waiting=len(self._line), spent=spent, allowed=allowed)
        return Turn(place=place + 1, waiting=len(self._line), spent=spent, allowed=allowed, time=free)

    def returns(self, who: str, clock: float) -> None:
        """``who`` will ask again at ``clock``; one that does not keeps nobody waiting."""
        self._back_by[who] = clock + ABSENT_AFTER

    def spend(self, who: str, now: datetime) -> None:
        """The step of ``who`` was begun."""
        self._begun.setdefault(who, now)
        self.leave(who)

    def leave(self, who: str) -> None:
        """``who`` wants nothing any more."""
        due = self._due.pop(who, None)
        self._back_by.pop(who, None)
        if due is not None:
            del self._line[bisect_left(self._line, (due, who))]

    def _join(self, who: str, due: datetime) -> None:
        if self._due.get(who) != due:
            self.leave(who)
            self._due[who] = due
            insort(self._line, (due, who))

    def _leave_absent(self, asking: str, clock: float) -> None:
        """Those at the head who did not come back give way; they find their place again when they ask."""
        while self._line[0][1] != asking and self._back_by.get(self._line[0][1], clock) < clock:
            self.leave(self._line[0][1])


def free_at(begun: Sequence[datetime], allowed: int, ahead: int, now: datetime) -> datetime | None:
    """When the next step may begin with ``ahead`` others before it; ``begun`` are this hour's, oldest first.

    ``now`` when there is room; None when nothing is ever allowed. Every step that begins takes its room for an hour.
    """
    if allowed <= 0:
        return None
    room = [now] * max(0, allowed - len(begun)) + [time + HOUR for time in begun[-allowed:]]
    turns, slot = divmod(ahead, allowed)
    return max(now, room[slot]) + HOUR * turns
