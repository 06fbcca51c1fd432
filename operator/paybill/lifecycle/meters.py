"""What a payment provider is told of a tenant's use: which hours, which value, under which name, and until when.

One event per tenant, meter and hour. Its name is computed of these three, so that the same hour told twice is one hour
for the provider, which refuses a name that it knows. It knows names for a day only: what may have been told and was
not answered within that is not told again, because a customer is better billed an hour too little than one too much.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from paybill.api.plan import Meter
from paybill.api.quantity import whole

HOUR = timedelta(hours=1)
FINAL_AFTER = timedelta(minutes=5)
"""How long after its end an hour is told: its last measure is kept by then."""
TOLD_WITHIN = timedelta(days=34, hours=12)
"""How old an hour may be: Stripe takes what is of the past 35 calendar days
(docs.stripe.com/api/billing/meter-event/create)."""
REPEATABLE = timedelta(hours=23)
"""How long after a first attempt the same event may be sent again: Stripe knows its name for 24 hours at least."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)

Fate = Literal["Send", "Expired", "Unsure"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a tenant used in one hour; None is what cannot be told of it."""

    hour: datetime
    bytes: int | None
    rows: int | None
    connections: int | None


@dataclass(frozen=True, kw_only=True)
class MeterEvent:
    """One event: ``value`` units in the hour from ``hour`` on, of the customer (as the provider names it)."""

    id: str
    subscription_uid: str
    tenant_id: str
    meter: str
    customer: str
    hour: datetime
    value: int


def final_until(now: datetime) -> datetime:
    """The end of the last hour that nothing is added to any more."""
    return (now - FINAL_AFTER).astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def first_hour(now: datetime) -> datetime:
    """The first hour of a meter that is seen now: the next full one."""
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR


def value(meter: Meter, measured: Measured) -> int | None:
    """How many units were used, rounded up; None where that cannot be told."""
    match meter.usage:
        case "Storage":
            amount = measured.bytes
        case "Rows":
            amount = measured.rows
        case "Connections":
            amount = measured.connections
    return None if amount is None else -(-amount // whole(meter.unit))


def name(installation: str, tenant_id: str, meter: str, hour: datetime) -> str:
    """The name of an event: the same for the same tenant, meter and hour; at most 100 characters."""
    stamp = hour.astimezone(UTC).isoformat()
    return "pb_" + hashlib.sha256(f"{installation}/{tenant_id}/{meter}/{stamp}".encode()).hexdigest()[:40]


@dataclass(frozen=True, kw_only=True)
class Billable:
    """A contract whose use is told: ``since`` and ``until`` bound the hours that count.

    They count from the hour in which the Tenant was first Ready, to the last one that began before its end.
    """

    subscription_uid: str
    tenant_id: str
    customer: str
    meters: tuple[Meter, ...]
    since: datetime | None
    until: datetime | None


def events(
    installation: str, contract: Billable, meter: Meter, measured: Iterable[Measured], *, begin: datetime, end: datetime
) -> Iterable[MeterEvent]:
    """The events of one meter for the hours that start in ``[begin, end)``."""
    if contract.since is None:
        return
    ready = contract.since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    for one in measured:
        in_time = max(begin, ready) <= one.hour < min(end, contract.until or end)
        used = value(meter, one)
        if in_time and used is not None:
            yield MeterEvent(
                id=name(installation, contract.tenant_id, meter.event, one.hour),
                subscription_uid=contract.subscription_uid, tenant_id=contract.tenant_id, meter=meter.event,
                customer=contract.customer, hour=one.hour, value=used,
            )  # fmt: skip


def fate(hour: datetime, tried: datetime | None, now: datetime) -> Fate:
    """What becomes of an event that waits; ``tried``: since when it may have arrived without an answer."""
    if tried is not None and now - tried >= REPEATABLE:
        return "Unsure"
    return "Expired" if now - hour >= TOLD_WITHIN else "Send"


def pause(attempts: int) -> timedelta:
    """How long an event waits that was tried ``attempts`` times before."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(attempts, 16)))


def forgotten(cursors: Iterable[tuple[str, str]], declared: Mapping[str, Iterable[str]]) -> set[tuple[str, str]]:
    """The (subscription, meter) that their Plan names no more: counting starts anew when it does again."""
    return {(uid, meter) for uid, meter in cursors if uid in declared and meter not in declared[uid]}
