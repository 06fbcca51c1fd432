"""When to stop knocking at a door that does not open: after a failure nobody asks for a while, then one asks for all.

A thousand tenants that each find out for themselves that a server is down make its return harder. Pure: the time (in
seconds, of a clock that only goes forward) and chance are arguments, so the API server's breaker (cluster/breaker.py)
and a database server's (databases/server.py) are one machine, and its tests need neither servers nor waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pauses:
    """Seconds: the pause after the first failure, which doubles with each that follows, and its bound.

    ``named``: the longest pause that the other side may ask for. ``calm``: a failure within so many times the last
    pause after it closed goes on where the pauses were, so a door that opens for one and shuts on the many is not run
    against.
    """

    first: float = 0.25
    longest: float = 10.0
    named: float = 120.0
    calm: float = 1.0


class Breaker:
    """Closed (everybody may ask), open (nobody until the pause is over), or probed (one asks, the others wait).

    ``enter`` gives a ticket, which goes back with ``failed``, ``succeeded`` or ``left``. What began before the state
    changed says nothing about now: such a ticket changes nothing. ``chance`` gives numbers from 0 to 1.
    """

    def __init__(self, pauses: Pauses, chance: Callable[[], float]) -> None:
        self._pauses = pauses
        self._chance = chance
        self._ticket = 0
        self._pause = 0.0
        self._waited = 0.0
        self._until: float | None = None
        self._probed = False
        self._closed_at = float("-inf")

    @property
    def open(self) -> bool:
        """Whether the last that was heard is a failure."""
        return self._until is not None

    def wait(self, now: float) -> float:
        """Seconds until it is worth asking again; 0 when one may ask now."""
        if self._until is None:
            return 0.0
        # A probe is on its way, and nobody knows how long it takes: as long as the last pause, as good as any guess.
        return self._pause if self._probed else max(0.0, self._until - now)

    def enter(self, now: float) -> int | None:
        """A ticket to ask now, or None while nobody, or another one, may."""
        if self._until is not None:
            if self._probed or now < self._until:
                return None
            self._probed = True
            self._ticket += 1
        return self._ticket

    def failed(self, ticket: int, now: float, *, at_least: float = 0.0) -> bool:
        """No answer, or that of one who cannot; ``at_least``: the pause it asked for. True when this opens it."""
        if ticket != self._ticket:
            return False
        opens = self._until is None
        if opens and now - self._closed_at > self._pauses.calm * self._waited:
            self._pause = 0.0
        self._pause = min(self._pauses.longest, max(self._pauses.first, self._pause * 2))
        spread = 0.75 + 0.5 * self._chance()
        # What was asked for is kept to, and spread upwards only.
        asked = min(at_least, self._pauses.named) * (1.0 + 0.25 * self._chance())
        self._waited = max(self._pause * spread, asked)
        self._until = now + self._waited
        self._probed = False
        self._ticket += 1
        return opens

    def succeeded(self, ticket: int, now: float) -> bool:
        """It answered. True when this closes it."""
        if ticket != self._ticket or self._until is None:
            return False
        self._until, self._probed, self._closed_at = None, False, now
        self._ticket += 1
        return True

    def left(self, ticket: int) -> None:
        """The one who asked went away without an answer: the next one asks."""
        if ticket == self._ticket and self._probed:
            self._probed = False
            self._ticket += 1
