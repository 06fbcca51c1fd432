"""The phase of a Subscription: a pure function of what its provider last said, its anchors, holds, policy and now.

Nothing accumulates in timers. Every deadline is an anchor plus a threshold, looked at anew at each reconcile, so
an operator that was down for a week, an event delivered twice or a status edited by hand changes nothing. Because
the function takes ``now``, the future can be asked with the same code: ``decide(...).next``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from paybill.api.duration import parse as parse_duration
from paybill.api.plan import Payment
from paybill.lifecycle.phases import Phase
from paybill.lifecycle.provider import Snapshot, Status


@dataclass(frozen=True, kw_only=True)
class EffectTimes:
    """When an effect took place. Written once per episode; the true copy is in the control database.

    ``ready``: the Tenant was first Ready (a trial starts then). ``requested_end``: the Subscription was deleted.
    """

    ready: datetime | None = None
    suspended: datetime | None = None
    ended: datetime | None = None
    archived: datetime | None = None
    requested_end: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A named reason that blocks ``Changes``, ``Access`` or ``Provisioning``, whatever is paid."""

    name: str
    blocks: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Everything the phase depends on, but the time."""

    start: datetime
    trial_days: int
    policy: Payment
    snapshot: Snapshot | None
    times: EffectTimes = EffectTimes()
    holds: tuple[Hold, ...] = ()
    cancel_time: datetime | None = None
    cancel_at_period_end: bool = False


@dataclass(frozen=True, kw_only=True)
class Next:
    """The next transition: to which phase, when, why, and what would still hold it back."""

    phase: Phase
    time: datetime
    because: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The phase with its reason, the provider facts it rests on, and what comes next if nothing changes."""

    phase: Phase
    because: str
    trial_end: datetime | None
    period_end: datetime | None
    past_due_since: datetime | None
    next: Next | None


def decide(contract: Contract, now: datetime) -> Verdict:
    """The phase of a contract at ``now``, and the next transition."""
    phase, because = _phase(contract, now)
    return Verdict(
        phase=phase,
        because=because,
        trial_end=_trial_end(contract),
        period_end=_period_end(contract),
        past_due_since=_owed_since(contract, now),
        next=_next(contract, phase, now),
    )


def settle(times: EffectTimes, phase: Phase, now: datetime) -> EffectTimes:
    """The effect times once ``phase`` is in force: set at the first moment of an episode, cleared when it is over."""
    stopped = phase in {Phase.SUSPENDED, Phase.ENDED, Phase.ARCHIVED}
    over = phase in {Phase.ENDED, Phase.ARCHIVED}
    return replace(
        times,
        suspended=(times.suspended or now) if stopped else None,
        ended=(times.ended or now) if over else None,
        archived=(times.archived or now) if phase is Phase.ARCHIVED else None,
    )


def forecast(contract: Contract, now: datetime, limit: int = 8) -> tuple[Next, ...]:
    """The transitions to come if nobody pays, edits or holds anything, in order of time."""
    steps: list[Next] = []
    while len(steps) < limit and (step := decide(contract, now).next) is not None:
        steps.append(step)
        now = step.time
        contract = replace(contract, times=settle(contract.times, step.phase, now))
    return tuple(steps)


def _phase(contract: Contract, now: datetime) -> tuple[Phase, str]:
    """The first rule that applies, most final first."""
    if contract.times.archived is not None:
        return Phase.ARCHIVED, "retention is over"
    if contract.start > now:
        return Phase.PENDING, f"starts {_day(contract.start)}"
    if (ended := _cancelled(contract, now)) is not None:
        return Phase.ENDED, ended
    for hold in contract.holds:
        if hold.blocks == "Access":
            return Phase.SUSPENDED, f"hold {hold.name}" + (f": {hold.reason}" if hold.reason else "")
    if contract.snapshot is None:
        return Phase.PENDING, "the payment provider has not answered yet"
    match contract.snapshot.status:
        case Status.UNPAID | Status.PAUSED:
            return Phase.SUSPENDED, f"the payment provider says {contract.snapshot.status}"
        case Status.INCOMPLETE_EXPIRED:
            return Phase.ABANDONED, "the first payment never came"
    if _awaits_first_payment(contract):
        if now >= contract.start + parse_duration(contract.policy.first_payment_window):
            return Phase.ABANDONED, f"no payment within {contract.policy.first_payment_window} of the start"
        return Phase.AWAITING_PAYMENT, "the first payment is outstanding"
    if (owed := _owed_since(contract, now)) is not None:
        return _dunning(contract.policy, owed, now)
    if _in_trial(contract, now):
        end = _trial_end(contract)
        return Phase.TRIALING, f"trial until {_day(end)}" if end else "the trial starts when the tenant is Ready"
    return Phase.ACTIVE, f"paid until {_day(contract.snapshot.paid_until)}" if contract.snapshot.paid_until else "paid"


def _dunning(policy: Payment, owed: datetime, now: datetime) -> tuple[Phase, str]:
    because = f"unpaid since {_day(owed)}"
    if now >= owed + timedelta(days=policy.end_after_days):
        return Phase.ENDED, because
    if now >= owed + timedelta(days=policy.grace_days):
        return Phase.SUSPENDED, because
    if policy.restrict_after_days is not None and now >= owed + timedelta(days=policy.restrict_after_days):
        return Phase.RESTRICTED, because
    return Phase.PAST_DUE, because


def _cancelled(contract: Contract, now: datetime) -> str | None:
    if contract.times.requested_end is not None:
        return f"cancelled by deletion of the Subscription on {_day(contract.times.requested_end)}"
    if contract.cancel_time is not None and contract.cancel_time <= now:
        return f"cancelled as of {_day(contract.cancel_time)}"
    if contract.snapshot is not None and contract.snapshot.status is Status.CANCELED:
        return "cancelled at the payment provider"
    period_end = _period_end(contract)
    if contract.cancel_at_period_end and period_end is not None and period_end <= now:
        return f"cancelled at the end of its period, {_day(period_end)}"
    return None


def _awaits_first_payment(contract: Contract) -> bool:
    snapshot = contract.snapshot
    if snapshot is None:
        return False
    by_dates = snapshot.status is Status.BY_DATES and snapshot.paid_until is None and contract.trial_days == 0
    return by_dates or snapshot.status is Status.INCOMPLETE


def _trial_end(contract: Contract) -> datetime | None:
    """The provider's trial end where it has one, else the days of the Plan from the first moment of Ready."""
    if contract.snapshot is not None and contract.snapshot.trial_end is not None:
        return contract.snapshot.trial_end
    if contract.trial_days == 0 or contract.times.ready is None:
        return None
    return contract.times.ready + timedelta(days=contract.trial_days)


def _period_end(contract: Contract) -> datetime | None:
    paid_until = contract.snapshot.paid_until if contract.snapshot is not None else None
    return paid_until or _trial_end(contract)


def _in_trial(contract: Contract, now: datetime) -> bool:
    snapshot = contract.snapshot
    if snapshot is None or snapshot.status is Status.ACTIVE:
        return False
    if snapshot.status is Status.TRIALING:
        return True
    if contract.trial_days == 0 or (snapshot.paid_until is not None and snapshot.paid_until > now):
        return False
    end = _trial_end(contract)
    return end is None or now < end


def _owed_since(contract: Contract, now: datetime) -> datetime | None:
    """Since when money is owed: the provider's word, or the moment after which nothing is paid and no trial runs."""
    snapshot = contract.snapshot
    if snapshot is None:
        return None
    if snapshot.status is Status.PAST_DUE:
        return snapshot.past_due_since
    if snapshot.status is not Status.BY_DATES:
        return None
    ends = [time for time in (snapshot.paid_until, _trial_end(contract)) if time is not None]
    if contract.trial_days and contract.times.ready is None and snapshot.paid_until is None:
        return None
    return max(ends) if ends and max(ends) <= now else None


def _next(contract: Contract, phase: Phase, now: datetime) -> Next | None:
    """Only at an anchor plus a threshold can the phase change by itself: look at each of them in order."""
    if phase is Phase.ENDED:
        ended = contract.times.ended or now
        retained = ended + timedelta(days=contract.policy.retain_days)
        return Next(phase=Phase.ARCHIVED, time=retained, because=f"{contract.policy.retain_days} days of retention end")
    for time in sorted(set(_turning_points(contract, now))):
        if time > now:
            after, because = _phase(contract, time)
            if after is not phase:
                return Next(phase=after, time=time, because=because)
    return None


def _turning_points(contract: Contract, now: datetime) -> Iterable[datetime]:
    policy = contract.policy
    yield contract.start
    yield contract.start + parse_duration(policy.first_payment_window)
    if contract.cancel_time is not None:
        yield contract.cancel_time
    owed = {_owed_since(contract, now), _trial_end(contract), _period_end(contract)} - {None}
    days = [0, policy.restrict_after_days, policy.grace_days, policy.end_after_days]
    for anchor in owed:
        if anchor is not None:
            yield from (anchor + timedelta(days=count) for count in days if count is not None)


def _day(time: datetime | None) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time is not None else "an unknown time"
