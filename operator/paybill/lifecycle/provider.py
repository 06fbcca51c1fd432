"""What a payment provider says about one Subscription, in Paybill's words.

Every provider adapter answers with a ``Snapshot``; the phase is a function of it (lifecycle/subscription.py).
The status of a provider is an open enumeration: what an adapter does not know becomes ``UNKNOWN`` and never
replaces the last known snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """How the provider sees the contract. ``BY_DATES``: it states times only, as provider Manual does."""

    BY_DATES = "ByDates"
    INCOMPLETE = "Incomplete"
    INCOMPLETE_EXPIRED = "IncompleteExpired"
    TRIALING = "Trialing"
    ACTIVE = "Active"
    PAST_DUE = "PastDue"
    UNPAID = "Unpaid"
    PAUSED = "Paused"
    CANCELED = "Canceled"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One answer of a provider. Times are aware; ``paid_until`` is exclusive.

    ``provider_time`` is when the provider says this became so, and orders snapshots; when we saw it does not.
    """

    status: Status
    provider_time: datetime | None = None
    trial_end: datetime | None = None
    paid_until: datetime | None = None
    past_due_since: datetime | None = None
    canceled_time: datetime | None = None


def latest(known: Snapshot | None, seen: Snapshot | None) -> Snapshot | None:
    """The snapshot to go by: the known one with the greatest provider time; the unknown never replaces it."""
    if seen is None or seen.status is Status.UNKNOWN:
        return known
    if known is None or known.provider_time is None or seen.provider_time is None:
        return seen
    return seen if seen.provider_time >= known.provider_time else known
