"""The phase of a Subscription: every transition, at the exact second and the second before."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from paybill.api.plan import Payment
from paybill.lifecycle.contract import FOREVER, Contract
from paybill.lifecycle.phases import Phase
from paybill.lifecycle.provider import Snapshot, Status
from paybill.lifecycle.subscription import EffectTimes, Hold, decide
from tests.unit.lifecycle.contracts import (
    ACCESS,
    LATE,
    POLICY,
    SECOND,
    START,
    at,
    contract,
    manual,
    phase,
    says,
)

TRIAL = {"trial_days": 14}
TOLD = POLICY.model_copy(update={"past_due_at_least": "48h"})
SEEN_LATE = EffectTimes(past_due=at(20))
"""Of debt since day 0 Paybill learned on day 20: it was down, or the provider was."""

# Each deadline: what is agreed, when it falls (days after the start), the phase a second before and the one from then.
DEADLINES = [
    pytest.param(contract(manual(30), start=at(5)), 5, "Pending", "Active", id="the start, which belongs to it"),
    pytest.param(contract(manual()), 1, "AwaitingPayment", "Abandoned", id="no first payment within the window"),
    pytest.param(contract(says(Status.INCOMPLETE)), 1, "AwaitingPayment", "Abandoned", id="nor at the provider"),
    pytest.param(contract(manual(), ready=1, **TRIAL), 15, "Trialing", "PastDue", id="a trial ends, unpaid"),
    pytest.param(contract(manual(30)), 30, "Active", "PastDue", id="paidUntilTime itself is no longer paid"),
    pytest.param(contract(manual(0), policy=LATE), 7, "PastDue", "Restricted", id="late grace, where a Plan has it"),
    pytest.param(contract(manual(0), policy=LATE), 14, "Restricted", "Suspended", id="grace is over after it"),
    pytest.param(contract(manual(0)), 14, "PastDue", "Suspended", id="grace is over"),
    pytest.param(contract(manual(0)), 30, "Suspended", "Ended", id="unpaid for too long"),
    pytest.param(
        contract(says(Status.ACTIVE, paid_until=30, cancel_time=30)),
        30,
        "Active",
        "Ended",
        id="cancelled with its period, at the provider",
    ),
    pytest.param(
        contract(manual(0), policy=TOLD, times=EffectTimes(past_due=at(0))),
        14,
        "PastDue",
        "Suspended",
        id="grace is over, and it was told long ago",
    ),
    pytest.param(
        contract(manual(0), policy=TOLD, times=SEEN_LATE), 22, "PastDue", "Suspended", id="grace is over, told later"
    ),
    pytest.param(
        contract(manual(0), policy=TOLD, times=EffectTimes(past_due=at(40))),
        42,
        "PastDue",
        "Ended",
        id="unpaid for too long, told later",
    ),
    pytest.param(
        contract(says(Status.UNPAID, past_due_since=0), policy=TOLD, times=SEEN_LATE),
        22,
        "PastDue",
        "Suspended",
        id="the provider gave up, told later",
    ),
    pytest.param(contract(manual(90), cancel_time=at(10)), 10, "Active", "Ended", id="cancelled as of a date"),
    pytest.param(
        contract(manual(30), cancel_at_period_end=True), 30, "Active", "Ended", id="cancelled with its period"
    ),
    pytest.param(
        contract(manual(), ready=0, cancel_at_period_end=True, **TRIAL),
        14,
        "Trialing",
        "Ended",
        id="a trial that was cancelled owes nothing when it ends",
    ),
    pytest.param(
        contract(says(Status.ACTIVE, paid_until=30), cancel_at_period_end=True),
        30,
        "Active",
        "Ended",
        id="our own cancellation needs no word of the provider",
    ),
    pytest.param(
        contract(says(Status.PAST_DUE, past_due_since=2)),
        16,
        "PastDue",
        "Suspended",
        id="grace counts from the provider's due date",
    ),
    pytest.param(
        contract(says(Status.UNPAID, past_due_since=2)),
        32,
        "Suspended",
        "Ended",
        id="a provider that gave up retrying keeps nothing from ending",
    ),
    pytest.param(
        contract(says(Status.PAST_DUE, provider_time=3)),
        17,
        "PastDue",
        "Suspended",
        id="without a due date grace counts from when the provider said so",
    ),
    pytest.param(
        contract(manual(5), ready=0, **TRIAL),
        5,
        "Active",
        "Trialing",
        id="what was paid runs out while the trial runs",
    ),
    pytest.param(
        contract(manual(5), ready=0, **TRIAL),
        14,
        "Trialing",
        "PastDue",
        id="debt begins after the later of both",
    ),
    pytest.param(
        contract(manual(20), ready=0, **TRIAL),
        20,
        "Active",
        "PastDue",
        id="a trial within what is paid does not matter",
    ),
    pytest.param(
        contract(manual(5), ready=0, cancel_at_period_end=True, **TRIAL),
        14,
        "Trialing",
        "Ended",
        id="the period ends with the later of trial and payment",
    ),
    pytest.param(
        contract(manual(), ready=-400, **TRIAL),
        14,
        "Trialing",
        "PastDue",
        id="a Tenant older than its contract has its trial from the contract's start",
    ),
    pytest.param(
        contract(manual(3), policy=Payment(grace_days=0, end_after_days=0)),
        3,
        "Active",
        "Ended",
        id="no grace at all",
    ),
    pytest.param(
        contract(manual(), ready=3),
        17,
        "PastDue",
        "Suspended",
        id="who was served without payment or trial owes from then on",
    ),
    pytest.param(
        contract(manual(0), policy=Payment(grace_days=5, restrict_after_days=5)),
        5,
        "PastDue",
        "Suspended",
        id="of two deadlines at once the graver counts",
    ),
]


@pytest.mark.parametrize(("agreed", "day", "before", "from_then"), DEADLINES)
def test_a_deadline_acts_at_its_second_and_not_the_one_before(agreed: Contract, day, before, from_then):
    assert decide(agreed, at(day) - SECOND).phase == before
    assert decide(agreed, at(day)).phase == from_then
    assert decide(agreed, at(day) + SECOND).phase == from_then


@pytest.mark.parametrize(("agreed", "day", "before", "from_then"), DEADLINES)
def test_a_deadline_is_foretold_with_its_second(agreed: Contract, day, before, from_then):
    coming = decide(agreed, at(day) - SECOND).next
    assert coming is not None
    assert (coming.phase, coming.time) == (from_then, at(day))


# Each state that no clock changes: what is agreed and the phase, whenever one looks after the start.
STANDING = [
    pytest.param(contract(None), "Pending", id="a provider that never answered"),
    pytest.param(contract(says(Status.UNKNOWN)), "Pending", id="an unknown status is no answer"),
    pytest.param(contract(None, last=Phase.ACTIVE), "Active", id="silence holds the last phase"),
    pytest.param(contract(says(Status.UNKNOWN), last=Phase.PAST_DUE), "PastDue", id="so does the unknown"),
    pytest.param(contract(None, last=Phase.ACTIVE, holds=(ACCESS,)), "Suspended", id="a hold needs no answer"),
    pytest.param(contract(manual(), **TRIAL), "Trialing", id="a trial waits for the Tenant to be Ready"),
    pytest.param(contract(manual(-40), **TRIAL), "Trialing", id="even if something was paid before"),
    pytest.param(
        contract(manual(-9), cancel_at_period_end=True, **TRIAL), "Trialing", id="and does not end before it began"
    ),
    pytest.param(contract(says(Status.TRIALING, trial_end=3)), "Trialing", id="only the provider ends its own trial"),
    pytest.param(contract(says(Status.ACTIVE, paid_until=3)), "Active", id="only the provider says that nothing came"),
    pytest.param(contract(says(Status.ACTIVE), ready=0, **TRIAL), "Active", id="a paid provider needs no trial"),
    pytest.param(contract(says(Status.PAST_DUE)), "PastDue", id="no date, no escalation"),
    pytest.param(contract(says(Status.PAUSED)), "Suspended", id="paused at the provider"),
    pytest.param(contract(says(Status.UNPAID)), "Suspended", id="unpaid at the provider, within our grace"),
    pytest.param(contract(says(Status.INCOMPLETE_EXPIRED)), "Abandoned", id="the provider gave up the first payment"),
    pytest.param(contract(says(Status.INCOMPLETE_EXPIRED), ready=0), "Ended", id="who has data is not abandoned"),
    pytest.param(contract(says(Status.INCOMPLETE), ready=0), "PastDue", id="who was served is not awaited"),
    pytest.param(contract(says(Status.CANCELED)), "Ended", id="cancelled at the provider"),
    pytest.param(contract(says(Status.CANCELED), start=at(999)), "Ended", id="cancelled before it started"),
    pytest.param(contract(manual(9999), holds=(ACCESS,)), "Suspended", id="an access hold, however long it is paid"),
    pytest.param(
        contract(manual(9999), holds=(Hold(name="a", blocks="Changes"), Hold(name="b", blocks="Provisioning"))),
        "Active",
        id="other holds leave the phase alone",
    ),
    pytest.param(contract(manual(), cancel_time=START), "Abandoned", id="cancelled before anything was paid"),
    pytest.param(
        contract(manual(9999), times=EffectTimes(requested_end=START)),
        "Ended",
        id="a deleted Subscription is cancelled",
    ),
    pytest.param(
        contract(manual(), times=EffectTimes(requested_end=START)), "Abandoned", id="a deleted one that was never paid"
    ),
    pytest.param(
        contract(manual(-99), times=EffectTimes(ended=START, archived=START)), "Archived", id="archived and not paid"
    ),
    pytest.param(
        contract(manual(9999), times=EffectTimes(archived=START), holds=(ACCESS,)),
        "Archived",
        id="a hold keeps the archive closed",
    ),
    pytest.param(
        contract(manual(9999), times=EffectTimes(archived=START, deleted=START)), "Deleted", id="what is gone is gone"
    ),
]


@pytest.mark.parametrize(("agreed", "expected"), STANDING)
@pytest.mark.parametrize("day", [0, 0.5, 13, 400])
def test_what_time_does_not_change(agreed: Contract, expected, day):
    assert phase(agreed, day) == expected


@pytest.mark.parametrize("day", [0, 13, 20, 29, 30, 60, 400])
def test_paying_leads_to_active_however_late_it_is(day):
    owing = contract(manual(0), ready=0)
    paid = replace(owing, snapshot=manual(day + 1))
    assert phase(paid, day) is Phase.ACTIVE


def test_paying_brings_back_what_is_archived_until_it_is_deleted():
    archived = contract(manual(500), times=EffectTimes(ready=START, ended=at(30), archived=at(60)))
    assert phase(archived, 100) is Phase.ACTIVE
    assert phase(replace(archived, times=replace(archived.times, deleted=at(120))), 130) is Phase.DELETED


def test_part_of_a_payment_moves_the_debt_and_not_more():
    owing = contract(says(Status.PAST_DUE, past_due_since=0))
    assert phase(owing, 20) is Phase.SUSPENDED
    assert phase(replace(owing, snapshot=says(Status.PAST_DUE, past_due_since=15)), 20) is Phase.PAST_DUE


def test_payment_lifts_no_hold_and_lifting_the_hold_is_enough_once_paid():
    held = contract(manual(0), holds=(ACCESS,))
    assert phase(held, 20) is Phase.SUSPENDED
    paid = replace(held, snapshot=manual(60))
    assert phase(paid, 20) is Phase.SUSPENDED
    assert phase(replace(paid, holds=()), 20) is Phase.ACTIVE


def test_a_hold_does_not_turn_back_what_has_ended():
    ended = contract(manual(0), ready=0)
    assert phase(ended, 31) is phase(replace(ended, holds=(ACCESS,)), 31) is Phase.ENDED


def test_a_hold_says_its_name_and_its_reason():
    assert decide(contract(manual(9), holds=(ACCESS,)), at(1)).because == "hold abuse-114: spam"
    assert decide(contract(manual(9), holds=(Hold(name="a", blocks="Access"),)), at(1)).because == "hold a"


def test_uncancelling_is_enough_to_come_back():
    cancelled = contract(manual(60), cancel_time=at(10))
    assert phase(cancelled, 20) is Phase.ENDED
    assert phase(replace(cancelled, cancel_time=None), 20) is Phase.ACTIVE


def test_a_renewal_outlives_a_cancellation_at_the_end_of_the_period_until_that_one_ends():
    renewed = contract(manual(60), cancel_at_period_end=True)
    assert phase(renewed, 30) is Phase.ACTIVE
    assert phase(renewed, 60) is Phase.ENDED


def test_a_plan_that_loses_its_trial_suspends_nobody_at_once():
    trialing = contract(manual(), ready=0, **TRIAL)
    assert phase(trialing, 3) is Phase.TRIALING
    without = replace(trialing, trial_days=0)
    assert phase(without, 3) is Phase.PAST_DUE
    assert decide(without, at(3)).past_due_since == START


def test_a_first_payment_turns_an_abandoned_contract_active():
    assert phase(contract(manual(60)), 3) is Phase.ACTIVE


def test_downtime_skips_phases_that_destroy_nothing_and_never_one_that_does():
    owing = contract(manual(0), ready=0, policy=LATE)
    long_after = decide(owing, at(400))
    assert long_after.phase is Phase.ENDED
    # Retention counts from when the end took effect, which is now, and not from when it would have.
    assert long_after.next is not None
    assert (long_after.next.phase, long_after.next.time) == (Phase.ARCHIVED, at(430))


def test_an_overdue_archiving_keeps_its_date_and_does_not_happen_by_itself():
    ended = contract(manual(0), times=EffectTimes(ready=START, ended=at(30)))
    verdict = decide(ended, at(99))
    assert verdict.phase is Phase.ENDED
    assert verdict.next is not None
    assert (verdict.next.phase, verdict.next.time) == (Phase.ARCHIVED, at(60))


def test_what_is_archived_is_deleted_next_by_the_days_of_the_archive():
    archived = contract(manual(0), times=EffectTimes(ready=START, ended=at(30), archived=at(61)))
    verdict = decide(archived, at(70))
    assert verdict.next is not None
    assert (verdict.next.phase, verdict.next.time) == (Phase.DELETED, at(121))


@pytest.mark.parametrize(
    ("start", "phase", "day"),
    [(100, Phase.ACTIVE, 100), (200, Phase.DELETED, 121)],
    ids=["it starts again in time", "it would start again too late"],
)
def test_of_a_return_and_a_destruction_the_earlier_is_what_comes_next(start, phase, day):
    archived = contract(manual(500), start=at(start), times=EffectTimes(ready=START, ended=at(30), archived=at(61)))
    coming = decide(archived, at(70)).next
    assert coming is not None
    assert (coming.phase, coming.time) == (phase, at(day))


def test_what_holds_a_destruction_back_is_said_with_it():
    ended = contract(manual(0), times=EffectTimes(ended=at(30)), holds=(Hold(name="legal", blocks="Changes"),))
    verdict = decide(ended, at(40))
    assert verdict.next is not None
    assert verdict.next.because == "30 days of retention end; held back by hold legal"


@pytest.mark.parametrize(
    ("agreed", "day", "missing"),
    [
        pytest.param(contract(manual(30)), 10, False, id="paid"),
        pytest.param(contract(manual(30)), 30, True, id="no longer paid"),
        pytest.param(contract(manual(), ready=0, **TRIAL), 1, False, id="on trial"),
        pytest.param(contract(manual()), 0.5, True, id="first payment"),
        pytest.param(contract(manual(30), holds=(ACCESS,)), 1, False, id="held, and paid"),
        pytest.param(contract(says(Status.UNPAID)), 1, True, id="the provider gave up"),
        pytest.param(contract(says(Status.PAST_DUE)), 1, True, id="the provider tries again"),
        pytest.param(contract(says(Status.PAUSED)), 1, False, id="paused owes nothing"),
        pytest.param(contract(None), 1, False, id="nobody knows"),
    ],
)
def test_whether_a_payment_is_missing_is_said_apart_from_the_phase(agreed, day, missing):
    assert decide(agreed, at(day)).outstanding is missing


def test_the_facts_a_verdict_rests_on_are_shown():
    verdict = decide(contract(manual(30), ready=1, **TRIAL), at(31))
    assert (verdict.trial_end, verdict.period_end, verdict.past_due_since) == (at(15), at(30), at(30))


@pytest.mark.parametrize(
    ("paid_until", "shown"),
    [
        (datetime(2026, 5, 1, tzinfo=UTC), "paid until 2026-05-01T00:00:00Z"),
        (datetime(2026, 5, 1, tzinfo=timezone(timedelta(hours=2))), "paid until 2026-05-01T00:00:00+02:00"),
    ],
    ids=["UTC", "another zone keeps its own"],
)
def test_times_in_messages_are_what_was_written(paid_until, shown):
    assert decide(contract(Snapshot(status=Status.BY_DATES, paid_until=paid_until)), at(1)).because == shown


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-12)), timezone(timedelta(hours=14))])
def test_paid_until_the_end_of_the_calendar_is_paid_for_good(zone):
    for_good = contract(Snapshot(status=Status.BY_DATES, paid_until=datetime(9999, 12, 31, 23, 59, 59, tzinfo=zone)))
    verdict = decide(for_good, at(0))
    assert verdict.phase is Phase.ACTIVE
    assert verdict.next is None or verdict.next.time < FOREVER


def test_a_hundred_years_of_grace_are_a_hundred_years():
    patient = Payment(grace_days=36_500, end_after_days=36_500)
    assert phase(contract(manual(0), policy=patient), 36_499) is Phase.PAST_DUE


def test_grace_at_the_end_of_the_calendar_is_not_over_at_once():
    end = datetime(9999, 12, 25, tzinfo=UTC)
    assert decide(contract(Snapshot(status=Status.BY_DATES, paid_until=end)), end).phase is Phase.PAST_DUE


def test_who_runs_is_told_before_debt_stops_it_and_who_is_stopped_stays_so():
    late = contract(manual(0), policy=TOLD)
    assert phase(late, 20) is Phase.PAST_DUE
    assert "48h" in decide(late, at(20)).because
    restricted = replace(late, policy=LATE.model_copy(update={"past_due_at_least": "48h"}))
    assert phase(restricted, 20) is Phase.RESTRICTED
    stopped = replace(late, times=EffectTimes(suspended=at(19)))
    assert phase(stopped, 20) is Phase.SUSPENDED
    assert phase(replace(late, holds=(ACCESS,)), 20) is Phase.SUSPENDED
    assert phase(replace(late, snapshot=says(Status.PAUSED)), 20) is Phase.SUSPENDED
    assert phase(replace(late, cancel_time=at(19)), 20) is Phase.ENDED
