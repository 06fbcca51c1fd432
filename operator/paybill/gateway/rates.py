"""How fast an agent may call: the policy's calls in a minute, as tokens that come back evenly.

The database counts calls that had an effect; here count those that were refused too, so that nobody guesses for free.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Bucket:
    """Holds as many tokens as come back in a minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_minute)
        self._rate = per_minute / 60
        self._clock = clock
        self._left = self._most
        self._seen = clock()

    def take(self) -> bool:
        """Whether there was a token."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._seen) * self._rate)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
