"""Contracts in few words: time is counted in days from the start, snapshots are made by what the provider states."""

from datetime import UTC, datetime, timedelta
from typing import Any

from paybill.api.plan import Payment
from paybill.lifecycle.phases import Phase
from paybill.lifecycle.provider import Snapshot, Status
from paybill.lifecycle.subscription import Contract, EffectTimes, Hold, decide

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
POLICY = Payment(grace_days=14, restrict_after_days=None, end_after_days=30, retain_days=30, archive_days=60)
LATE = Payment(grace_days=14, restrict_after_days=7, end_after_days=30)

ACCESS = Hold(name="abuse-114", blocks="Access", reason="spam")


def at(days: float) -> datetime:
    """So many days after the start."""
    return START + timedelta(days=days)


def manual(paid_until: float | None = None) -> Snapshot:
    """Provider Manual: paid until so many days after the start, or never paid."""
    return Snapshot(status=Status.BY_DATES, paid_until=None if paid_until is None else at(paid_until))


def says(status: Status, **days: float) -> Snapshot:
    """A provider with a mind of its own; times in days after the start."""
    return Snapshot(status=status, **{name: at(value) for name, value in days.items()})


def contract(snapshot: Snapshot | None = None, *, ready: float | None = None, **terms: Any) -> Contract:
    """A contract that starts at ``START``; ``ready`` is when the tenant was first Ready, in days."""
    times = terms.pop("times", EffectTimes(ready=None if ready is None else at(ready)))
    return Contract(**{"start": START, "trial_days": 0, "policy": POLICY, "snapshot": snapshot, "times": times} | terms)


def phase(agreed: Contract, days: float) -> Phase:
    """The phase so many days after the start."""
    return decide(agreed, at(days)).phase
