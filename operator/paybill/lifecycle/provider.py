"""What a payment provider says about one Subscription, in Paybill's words.

Every provider adapter answers with a ``Snapshot``; the phase is a function of it (lifecycle/subscription.py).
The status of a provider is an open enumeration: what an adapter does not know becomes ``UNKNOWN`` and never
replaces the last known snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
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
    """One answer of a provider. Times are aware; ``paid_until`` is exclusive, and so is ``cancel_time``.

    ``provider_time`` is when the provider says this became so, and orders snapshots; when we saw it does not.
    """

    status: Status
    provider_time: datetime | None = None
    trial_end: datetime | None = None
    paid_until: datetime | None = None
    past_due_since: datetime | None = None
    canceled_time: datetime | None = None
    cancel_time: datetime | None = None
    """As of when it is to be cancelled, while it runs."""


RANK = (
    Status.UNKNOWN, Status.INCOMPLETE, Status.TRIALING, Status.PAST_DUE, Status.UNPAID, Status.PAUSED,
    Status.ACTIVE, Status.INCOMPLETE_EXPIRED, Status.CANCELED,
)  # fmt: skip
"""Which of two answers of one second came later: what is final is last, and a payment beats its failed attempts."""


def latest(known: Snapshot | None, seen: Snapshot | None) -> Snapshot | None:
    """The snapshot to go by: the known one with the greatest provider time; the unknown never replaces it.

    The order in which answers arrive does not matter, and neither does one that arrives twice. Only what states
    dates (provider Manual) has no history: there the declaration of now counts, and nothing competes with it.
    """
    if seen is None or seen.status is Status.UNKNOWN:
        return known
    if known is None or Status.BY_DATES in {known.status, seen.status}:
        return seen
    return max(known, seen, key=_age)


def _age(snapshot: Snapshot) -> tuple[object, ...]:
    """Orders answers of one provider, completely, so that no two different ones are as old as each other."""
    times = (
        snapshot.paid_until, snapshot.trial_end, snapshot.past_due_since, snapshot.canceled_time, snapshot.cancel_time,
    )  # fmt: skip
    stated = tuple((time is not None, time or _NEVER) for time in times)
    return snapshot.provider_time or _NEVER, RANK.index(snapshot.status), stated


_NEVER = datetime.min.replace(tzinfo=UTC)
