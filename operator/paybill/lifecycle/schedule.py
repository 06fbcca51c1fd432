"""When a steady tenant is looked at again.

The interval grows with the number of tenants, so that an idle installation asks the API server the same few
questions a minute at ten tenants and at ten thousand; the jitter is a hash of the id, so it survives restarts
and never bunches up.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

SHORTEST = timedelta(minutes=10)
PER_TENANT = timedelta(seconds=2)
JITTER = 0.2


def resync_after(identity: str, tenants: int) -> timedelta:
    """How long a steady tenant is left alone."""
    base = max(SHORTEST, PER_TENANT * tenants)
    share = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") / 2**32
    return base * (1 - JITTER + 2 * JITTER * share)


def wake_at(now: datetime, resync: timedelta, *deadlines: datetime | None) -> datetime:
    """The next moment to look: the resync, or the first deadline after ``now`` if it comes before."""
    coming = [time for time in deadlines if time is not None and time > now]
    return min([now + resync, *coming])
