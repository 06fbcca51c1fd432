"""When a contract that names another Plan gets it: at once, when more was paid, or with the period that is paid.

What was paid when the change was asked for is kept, because renewing moves the end of the period: who asked to pay
less from the first of May on does so also when April's renewal came in March. The Plan of before serves until then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from paybill.api.subscription import PlanChange
from paybill.lifecycle.contract import day


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A change that was asked for: to which Plan, when, and until when was paid then."""

    plan: str
    asked: datetime
    period_end: datetime | None = None


def asked_for(
    before: Pending | None, has: str | None, wanted: str, timing: PlanChange, period_end: datetime | None, now: datetime
) -> Pending | None:
    """The change that is pending now; the one of before as long as the same Plan is wanted."""
    if has is None or has == wanted or timing == "Immediately":
        return None
    if before is not None and before.plan == wanted:
        return before
    return Pending(plan=wanted, asked=now, period_end=period_end)


def due(pending: Pending, timing: PlanChange) -> datetime | None:
    """When time alone brings the change about; None where it does not."""
    return pending.period_end if timing == "AtPeriodEnd" else None


def waits(
    pending: Pending, timing: PlanChange, period_end: datetime | None, now: datetime, *, billed: bool | None
) -> str | None:
    """What the change waits for, in words; None: for nothing any more.

    ``billed``: whether the provider bills the wanted Plan by now; None where it says dates only, and a payment shows
    in that the period ends later than it did.
    """
    if timing == "AtPeriodEnd":
        end = pending.period_end
        return f"it changes with the period that is paid, {day(end)}" if end is not None and now < end else None
    if billed is not None:
        return None if billed else "it changes when the payment provider bills the other Plan"
    more = period_end is not None and (pending.period_end is None or period_end > pending.period_end)
    return None if more else "it changes with the next payment"
