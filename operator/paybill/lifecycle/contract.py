"""What the phase of a Subscription depends on, and the moments that follow from it.

A contract is plain values: what its provider last said, what was agreed, what has happened. Every function here
answers "since when" or "until when" from them alone, so that deadlines are the same whoever asks, whenever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from paybill.api.duration import parse as parse_duration
from paybill.api.plan import Payment
from paybill.lifecycle.phases import Phase
from paybill.lifecycle.provider import Snapshot, Status

FOREVER = datetime.max.replace(tzinfo=UTC)
"""Where spans that leave the calendar end: "paid until 9999" is a way people write "for good"."""


@dataclass(frozen=True, kw_only=True)
class EffectTimes:
    """When an effect took place. Written once per episode; the true copy is in the control database.

    ``past_due``: when debt was first seen, while the tenant ran. ``ready``: the Tenant was first Ready under this
    contract (a trial starts then). ``requested_end``: the Subscription was deleted. ``archived`` and ``deleted`` are
    set only after the act: no clock brings them about.
    """

    ready: datetime | None = None
    past_due: datetime | None = None
    suspended: datetime | None = None
    ended: datetime | None = None
    archived: datetime | None = None
    deleted: datetime | None = None
    requested_end: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A named reason that blocks ``Changes``, ``Access`` or ``Provisioning``, whatever is paid."""

    name: str
    blocks: str
    reason: str = ""

    @property
    def words(self) -> str:
        """The hold as conditions and messages name it."""
        return f"hold {self.name}: {self.reason}" if self.reason else f"hold {self.name}"


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Everything the phase depends on, but the time.

    ``last`` is the phase in force before: it is held while the provider has not answered.
    """

    start: datetime
    trial_days: int
    policy: Payment
    snapshot: Snapshot | None
    times: EffectTimes = EffectTimes()
    holds: tuple[Hold, ...] = ()
    cancel_time: datetime | None = None
    cancel_at_period_end: bool = False
    last: Phase | None = None

    @property
    def known(self) -> Snapshot | None:
        """What the provider said, if it said something that we understand."""
        return None if self.snapshot is None or self.snapshot.status is Status.UNKNOWN else self.snapshot

    @property
    def served(self) -> bool:
        """Whether the Tenant has been Ready under this contract: from then on it is not awaited but owed."""
        return self.times.ready is not None


def after(anchor: datetime, span: timedelta) -> datetime:
    """``anchor + span``, or ``FOREVER`` where the calendar ends before."""
    try:
        return anchor + span
    except OverflowError:
        return FOREVER


def trial_end(contract: Contract) -> datetime | None:
    """The provider's word where it has trials of its own, else the Plan's days from the first moment of Ready."""
    snapshot = contract.known
    if snapshot is not None and (snapshot.status is not Status.BY_DATES or snapshot.trial_end is not None):
        return snapshot.trial_end
    if contract.trial_days == 0 or (served := served_since(contract)) is None:
        return None
    return after(served, timedelta(days=contract.trial_days))


def period_end(contract: Contract) -> datetime | None:
    """Until when the contract is paid or on trial, whichever is later."""
    paid_until = contract.known.paid_until if contract.known is not None else None
    return max((time for time in (paid_until, trial_end(contract)) if time is not None), default=None)


def trial_to_come(contract: Contract) -> bool:
    """Whether the Plan promises a trial that has not begun, because the Tenant has not been Ready yet."""
    by_dates = contract.known is not None and contract.known.status is Status.BY_DATES
    return by_dates and contract.trial_days > 0 and trial_end(contract) is None


def in_trial(contract: Contract, now: datetime) -> bool:
    """Whether what the tenant has now, it has on trial."""
    snapshot = contract.known
    if snapshot is None or snapshot.status is not Status.BY_DATES:
        return snapshot is not None and snapshot.status is Status.TRIALING
    if snapshot.paid_until is not None and snapshot.paid_until > now:
        return False
    end = trial_end(contract)
    return trial_to_come(contract) if end is None else now < end


def awaits_first_payment(contract: Contract) -> bool:
    """Whether nothing was paid, promised on trial or delivered yet."""
    snapshot = contract.known
    if snapshot is None or contract.served:
        return False
    if snapshot.status is Status.BY_DATES:
        return period_end(contract) is None and contract.trial_days == 0
    return snapshot.status is Status.INCOMPLETE


def owed_since(contract: Contract, now: datetime) -> datetime | None:
    """Since when money is owed: the provider's word, or the moment after which nothing is paid and no trial runs."""
    snapshot = contract.known
    if snapshot is None or awaits_first_payment(contract):
        return None
    match snapshot.status:
        case Status.PAST_DUE | Status.UNPAID | Status.INCOMPLETE:
            return snapshot.past_due_since or snapshot.provider_time
        case Status.BY_DATES if not trial_to_come(contract):
            end = period_end(contract) or served_since(contract)
            return end if end is not None and end <= now else None
        case _:
            return None


def forewarned(contract: Contract, now: datetime) -> bool:
    """Whether debt may stop the tenant: it was past due for long enough since that was seen, or is stopped already."""
    needed = contract.policy.past_due_at_least
    if needed is None or contract.times.suspended is not None or contract.times.ended is not None:
        return True
    seen = contract.times.past_due
    return seen is not None and now >= after(seen, parse_duration(needed))


def outstanding(contract: Contract, now: datetime) -> bool:
    """Whether a payment is missing, whatever follows from that already."""
    says = contract.known.status if contract.known is not None else None
    unpaid = {Status.PAST_DUE, Status.UNPAID, Status.INCOMPLETE, Status.INCOMPLETE_EXPIRED}
    return says in unpaid or awaits_first_payment(contract) or owed_since(contract, now) is not None


def cancelled(contract: Contract, now: datetime) -> str | None:
    """Why the contract is cancelled as of now, or None: by request, by date, by the provider, with its period."""
    if contract.times.requested_end is not None:
        return f"cancelled by deletion of the Subscription on {day(contract.times.requested_end)}"
    if contract.cancel_time is not None and contract.cancel_time <= now:
        return f"cancelled as of {day(contract.cancel_time)}"
    if contract.known is not None and contract.known.status is Status.CANCELED:
        return "cancelled at the payment provider"
    if contract.known is not None and contract.known.cancel_time is not None and contract.known.cancel_time <= now:
        return f"cancelled at the payment provider as of {day(contract.known.cancel_time)}"
    end = period_end(contract)
    if contract.cancel_at_period_end and end is not None and end <= now and not trial_to_come(contract):
        return f"cancelled at the end of its period, {day(end)}"
    return None


def served_since(contract: Contract) -> datetime | None:
    """Since when the contract has been delivered. A Tenant may be older; nothing is counted from before the start."""
    return max(contract.times.ready, contract.start) if contract.times.ready is not None else None


def day(time: datetime) -> str:
    """A moment in words, RFC 3339."""
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")
