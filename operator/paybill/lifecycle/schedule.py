"""When a steady tenant is looked at again.

The interval grows with the number of tenants, so that an idle installation asks the API server the same few
questions a minute at ten tenants and at ten thousand. Each tenant has its turn in the interval, by a hash of its id:
the looks are spread evenly, also after a restart that looked at everybody at once, and a restart moves no turn.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

SHORTEST = timedelta(minutes=10)
PER_TENANT = timedelta(seconds=4)
"""A look asks for two Secrets: at this pace that is at most 30 requests a minute."""


def interval(tenants: int) -> timedelta:
    """How often each of ``tenants`` is looked at; it doubles with them, so that turns rarely move while they come."""
    doubled = 1 << max(0, tenants - 1).bit_length()
    return max(SHORTEST, PER_TENANT * doubled)


def resync_after(identity: str, tenants: int, now: datetime) -> timedelta:
    """How long a steady tenant is left alone: until its next turn that is at least half an interval away."""
    every = interval(tenants).total_seconds()
    turn = every * int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") / 2**32
    soonest = now.timestamp() + every / 2
    return timedelta(seconds=every / 2 + (turn - soonest) % every)


def wake_at(now: datetime, resync: timedelta, *deadlines: datetime | None) -> datetime:
    """The next moment to look: the resync, or the first deadline after ``now`` if it comes before."""
    coming = [time for time in deadlines if time is not None and time > now]
    return min([now + resync, *coming])
