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
from paybill.lifecycle.contract import (
    FOREVER,
    Contract,
    EffectTimes,
    Hold,
    after,
    awaits_first_payment,
    cancelled,
    day,
    forewarned,
    in_trial,
    outstanding,
    owed_since,
    period_end,
    served_since,
    trial_end,
)
from paybill.lifecycle.phases import Phase
from paybill.lifecycle.provider import Status
from paybill.lifecycle.retention import archive_due, delete_due

__all__ = ["Contract", "EffectTimes", "Hold", "Next", "Verdict", "decide", "forecast", "restored", "settle"]


@dataclass(frozen=True, kw_only=True)
class Next:
    """The next transition: to which phase, when and why. A time that has passed is an act that is still held back."""

    phase: Phase
    time: datetime
    because: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The phase with its reason, the provider facts it rests on, and what comes next if nothing changes.

    ``outstanding``: a payment is missing.
    """

    phase: Phase
    because: str
    trial_end: datetime | None
    period_end: datetime | None
    past_due_since: datetime | None
    outstanding: bool
    next: Next | None


def decide(contract: Contract, now: datetime) -> Verdict:
    """The phase of a contract at ``now``, and the next transition."""
    phase, because = _phase(contract, now)
    return Verdict(
        phase=phase,
        because=because,
        trial_end=trial_end(contract),
        period_end=period_end(contract),
        past_due_since=owed_since(contract, now),
        outstanding=outstanding(contract, now),
        next=_next(contract, phase, now),
    )


def settle(times: EffectTimes, phase: Phase, now: datetime, *, held: bool = False) -> EffectTimes:
    """The effect times once ``phase`` is in force: set at the first moment of an episode, cleared when it is over.

    ``held``: nothing may be destroyed now, so no clock begins that ends in destruction: retention counts from when the
    tenant could be stopped. What is archived stays so until its data is back, whoever pays: ``restored``.
    """
    gone = phase in {Phase.ARCHIVED, Phase.DELETED}
    over = gone or phase is Phase.ENDED
    stopped = over or phase is Phase.SUSPENDED
    begin = None if held else now
    owing = phase in {Phase.PAST_DUE, Phase.RESTRICTED}
    return replace(
        times,
        past_due=(times.past_due or now) if owing else times.past_due if stopped else None,
        suspended=(times.suspended or now) if stopped else None,
        ended=(times.ended or begin) if over else None,
        archived=(times.archived or begin) if gone else times.archived,
        deleted=(times.deleted or begin) if phase is Phase.DELETED else None,
    )


def restored(times: EffectTimes) -> EffectTimes:
    """The effect times once the data of an archived contract is back."""
    return replace(times, archived=None)


def forecast(contract: Contract, now: datetime, limit: int = 16) -> tuple[Next, ...]:
    """The transitions to come if nobody pays, edits or holds anything, in order of time."""
    steps: list[Next] = []
    while len(steps) < limit and (step := decide(contract, now).next) is not None:
        steps.append(step)
        now = max(now, step.time)
        contract = replace(contract, times=settle(contract.times, step.phase, now))
    return tuple(steps)


def _phase(contract: Contract, now: datetime) -> tuple[Phase, str]:
    """What the contract says, but for what cannot be undone by saying it."""
    if contract.times.deleted is not None:
        return Phase.DELETED, "the final backup is deleted too"
    phase, because = _by_contract(contract, now)
    # Only who pays comes back from the archive, with restored data.
    if contract.times.archived is not None and phase not in {Phase.ACTIVE, Phase.TRIALING}:
        return Phase.ARCHIVED, "retention is over"
    return phase, because


def _by_contract(contract: Contract, now: datetime) -> tuple[Phase, str]:
    """The first rule that applies. What is over stays over, whatever holds are put on it or lifted."""
    if (over := _over(contract, now)) is not None:
        return over
    if contract.start > now:
        return Phase.PENDING, f"starts {day(contract.start)}"
    owed = owed_since(contract, now)
    ends = owed is not None and now >= after(owed, timedelta(days=contract.policy.end_after_days))
    if owed is not None and ends and forewarned(contract, now):
        return Phase.ENDED, f"unpaid since {day(owed)}"
    access = next((hold for hold in contract.holds if hold.blocks == "Access"), None)
    if access is not None:
        return Phase.SUSPENDED, access.words
    if contract.known is None:
        return contract.last or Phase.PENDING, "the payment provider has not answered yet"
    if awaits_first_payment(contract):
        return Phase.AWAITING_PAYMENT, "the first payment is outstanding"
    if outstanding(contract, now) or contract.known.status is Status.PAUSED:
        return _owing(contract, contract.known.status, owed, now)
    if in_trial(contract, now):
        end = trial_end(contract)
        return Phase.TRIALING, f"trial until {day(end)}" if end else "the trial starts when the tenant is Ready"
    paid_until = contract.known.paid_until
    return Phase.ACTIVE, f"paid until {day(paid_until)}" if paid_until else "paid"


def _over(contract: Contract, now: datetime) -> tuple[Phase, str] | None:
    """Whether the contract has come to its end by other things than debt: Abandoned if nothing was ever delivered."""
    cancellation = cancelled(contract, now)
    if awaits_first_payment(contract):
        window = contract.policy.first_payment_window
        if cancellation is not None:
            return Phase.ABANDONED, f"{cancellation}, before the first payment"
        if now >= after(contract.start, parse_duration(window)):
            return Phase.ABANDONED, f"no payment within {window} of the start"
        return None
    if contract.known is not None and contract.known.status is Status.INCOMPLETE_EXPIRED:
        return Phase.ENDED if contract.served else Phase.ABANDONED, "the first payment never came"
    return (Phase.ENDED, cancellation) if cancellation is not None else None


def _owing(contract: Contract, status: Status, owed: datetime | None, now: datetime) -> tuple[Phase, str]:
    """How far debt has come, but for who was not past due for long enough: that one is told first."""
    phase, because = _unpaid(contract, status, owed, now)
    if phase is not Phase.SUSPENDED or status is Status.PAUSED or forewarned(contract, now):
        return phase, because
    days = contract.policy.restrict_after_days
    restricted = days is not None and owed is not None and now >= after(owed, timedelta(days=days))
    because = f"{because}; it is told for {contract.policy.past_due_at_least} before it is suspended"
    return Phase.RESTRICTED if restricted else Phase.PAST_DUE, because


def _unpaid(contract: Contract, status: Status, owed: datetime | None, now: datetime) -> tuple[Phase, str]:
    """How far debt has come before the end. A provider that gives up retrying suspends before our own grace is over."""
    policy = contract.policy
    because = f"unpaid since {day(owed)}" if owed is not None else f"the payment provider says {status}"
    if status in {Status.UNPAID, Status.PAUSED}:
        return Phase.SUSPENDED, f"the payment provider says {status}"
    if owed is None:
        return Phase.PAST_DUE, because
    if now >= after(owed, timedelta(days=policy.grace_days)):
        return Phase.SUSPENDED, because
    if policy.restrict_after_days is not None and now >= after(owed, timedelta(days=policy.restrict_after_days)):
        return Phase.RESTRICTED, because
    return Phase.PAST_DUE, because


def _next(contract: Contract, phase: Phase, now: datetime) -> Next | None:
    """The first transition to come: by the contract's own dates, or the destructive act that this phase waits for."""
    coming = [*_destruction(contract, phase, now)]
    for time in sorted(set(_turning_points(contract))):
        if now < time < FOREVER:
            then, because = _phase(contract, time)
            if then is not phase:
                coming.append(Next(phase=then, time=time, because=because))
                break
    return min(coming, key=lambda step: step.time, default=None)


def _destruction(contract: Contract, phase: Phase, now: datetime) -> Iterable[Next]:
    """What retention ends in: due then, done only with its proofs, so the time may pass while the phase stays."""
    policy = contract.policy
    held = "".join(f"; held back by {hold.words}" for hold in contract.holds)
    if phase is Phase.ENDED:
        due = archive_due(contract) or after(now, timedelta(days=policy.retain_days))
        yield Next(phase=Phase.ARCHIVED, time=due, because=f"{policy.retain_days} days of retention end{held}")
    if phase is Phase.ARCHIVED:
        due = delete_due(contract) or after(now, timedelta(days=policy.archive_days))
        yield Next(phase=Phase.DELETED, time=due, because=f"{policy.archive_days} days in the archive end{held}")


def _turning_points(contract: Contract) -> Iterable[datetime]:
    """Every moment at which the phase can change by itself: an anchor, or an anchor plus a threshold."""
    policy, snapshot = contract.policy, contract.known
    yield contract.start
    yield after(contract.start, parse_duration(policy.first_payment_window))
    if contract.cancel_time is not None:
        yield contract.cancel_time
    if snapshot is not None and snapshot.cancel_time is not None:
        yield snapshot.cancel_time
    if contract.times.past_due is not None and policy.past_due_at_least is not None:
        yield after(contract.times.past_due, parse_duration(policy.past_due_at_least))
    said = (snapshot.paid_until, snapshot.past_due_since, snapshot.provider_time) if snapshot is not None else ()
    thresholds = (0, policy.restrict_after_days, policy.grace_days, policy.end_after_days)
    for anchor in {*said, served_since(contract), trial_end(contract)} - {None}:
        if anchor is not None:
            yield from (after(anchor, timedelta(days=count)) for count in thresholds if count is not None)
