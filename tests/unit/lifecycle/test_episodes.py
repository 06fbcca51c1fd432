"""Effect times: written at the first moment of an episode, kept during it, cleared when it is over."""

import pytest

from paybill.lifecycle.phases import Phase
from paybill.lifecycle.subscription import EffectTimes, decide, forecast, restored, settle
from tests.unit.lifecycle.contracts import LATE, START, at, contract, manual, phase

READY = EffectTimes(ready=START)


@pytest.mark.parametrize(
    ("phase", "suspended", "ended", "archived", "deleted"),
    [
        (Phase.PENDING, False, False, False, False),
        (Phase.AWAITING_PAYMENT, False, False, False, False),
        (Phase.TRIALING, False, False, False, False),
        (Phase.ACTIVE, False, False, False, False),
        (Phase.PAST_DUE, False, False, False, False),
        (Phase.RESTRICTED, False, False, False, False),
        (Phase.ABANDONED, False, False, False, False),
        (Phase.SUSPENDED, True, False, False, False),
        (Phase.ENDED, True, True, False, False),
        (Phase.ARCHIVED, True, True, True, False),
        (Phase.DELETED, True, True, True, True),
    ],
)
def test_a_phase_has_the_times_of_its_episodes_and_no_others(phase, suspended, ended, archived, deleted):
    full = EffectTimes(ready=START, suspended=at(1), ended=at(2), archived=at(3), deleted=at(4))
    kept, fresh = settle(full, phase, at(9)), settle(READY, phase, at(9))
    for name, on in {"suspended": suspended, "ended": ended, "archived": archived, "deleted": deleted}.items():
        stays = on or name == "archived"
        assert getattr(kept, name) == (getattr(full, name) if stays else None)
        assert getattr(fresh, name) == (at(9) if on else None)


def test_what_is_archived_stays_so_until_its_data_is_back():
    """Whoever pays is Active at once; its database is not there before it is restored."""
    archived = EffectTimes(ready=START, suspended=at(1), ended=at(2), archived=at(3))
    paid = settle(archived, Phase.ACTIVE, at(9))
    assert paid == EffectTimes(ready=START, archived=at(3))
    assert restored(paid) == EffectTimes(ready=START)


def test_when_it_was_ready_and_when_its_end_was_asked_for_are_never_forgotten():
    asked = EffectTimes(ready=START, requested_end=at(5))
    assert all(settle(asked, phase, at(9)).ready == START for phase in Phase)
    assert all(settle(asked, phase, at(9)).requested_end == at(5) for phase in Phase)


def test_a_second_suspension_is_a_new_episode():
    first = settle(READY, Phase.SUSPENDED, at(1))
    paid = settle(first, Phase.ACTIVE, at(2))
    assert settle(paid, Phase.SUSPENDED, at(3)).suspended == at(3)


def test_a_suspension_that_ends_in_the_end_is_one_episode():
    assert settle(settle(READY, Phase.SUSPENDED, at(1)), Phase.ENDED, at(17)).suspended == at(1)


def test_the_forecast_of_a_debtor_is_the_whole_ladder():
    owing = contract(manual(30), ready=0, policy=LATE)
    assert [(step.phase, step.time) for step in forecast(owing, at(3))] == [
        (Phase.PAST_DUE, at(30)),
        (Phase.RESTRICTED, at(37)),
        (Phase.SUSPENDED, at(44)),
        (Phase.ENDED, at(60)),
        (Phase.ARCHIVED, at(90)),
        (Phase.DELETED, at(150)),
    ]


def test_the_forecast_of_a_cancellation_skips_the_ladder():
    leaving = contract(manual(30), ready=0, cancel_at_period_end=True)
    assert [step.phase for step in forecast(leaving, at(3))] == [Phase.ENDED, Phase.ARCHIVED, Phase.DELETED]


def test_the_forecast_of_an_overdue_archiving_goes_on_from_now():
    overdue = contract(manual(0), times=EffectTimes(ready=START, ended=at(30)))
    archived, deleted = forecast(overdue, at(99))
    assert (archived.phase, archived.time) == (Phase.ARCHIVED, at(60))
    assert (deleted.phase, deleted.time) == (Phase.DELETED, at(159))


def test_a_forecast_ends_where_nothing_comes_by_itself():
    assert forecast(contract(manual(), trial_days=14), at(3)) == ()
    assert [step.phase for step in forecast(contract(manual()), START)] == [Phase.ABANDONED]


def test_a_forecast_can_be_cut_short():
    assert len(forecast(contract(manual(30), ready=0), at(3), limit=2)) == 2


def test_a_tenant_that_is_looked_at_daily_goes_through_the_ladder_once():
    """The reconcile in small: decide, settle, a day later again; archiving is done as soon as it is due."""
    agreed, seen = contract(manual(5), ready=0, policy=LATE), []
    for day in range(200):
        now = at(day)
        if (now_in := decide(agreed, now).phase) not in seen:
            seen.append(now_in)
        times = settle(agreed.times, now_in, now)
        coming = decide(agreed, now).next
        if coming is not None and coming.phase in {Phase.ARCHIVED, Phase.DELETED} and coming.time <= now:
            times = settle(times, coming.phase, now)
        agreed = contract(agreed.snapshot, times=times, policy=LATE)
    assert seen == ["Active", "PastDue", "Restricted", "Suspended", "Ended", "Archived", "Deleted"]
    assert agreed.times == EffectTimes(
        ready=START,
        past_due=at(5),
        suspended=at(19),
        ended=at(35),
        archived=at(65),
        deleted=at(125),
        requested_end=None,
    )
    assert phase(agreed, 9999) is Phase.DELETED
