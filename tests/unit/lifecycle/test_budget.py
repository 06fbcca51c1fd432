"""Whose turn it is: the oldest first, never more than the hour allows, and a time that can be relied on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.api.cell import CellLimits
from paybill.lifecycle.budget import ABSENT_AFTER, DELETIONS, HOUR, SUSPENSIONS, Ledger, free_at

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


@pytest.mark.parametrize(
    ("budget", "limits", "tenants", "allowed"),
    [
        (SUSPENSIONS, None, 0, 10),
        (SUSPENSIONS, CellLimits(), 1_099, 10),
        (SUSPENSIONS, CellLimits(), 1_100, 11),
        (DELETIONS, None, 3, 5),
        (DELETIONS, CellLimits(), 10_000, 100),
        (DELETIONS, CellLimits(deletions_per_hour=0), 10_000, 0),
        (SUSPENSIONS, CellLimits(suspensions_per_hour=3, deletions_per_hour=7), 10_000, 3),
    ],
)
def test_what_the_cell_says_else_the_greater_of_the_floor_and_one_per_cent(budget, limits, tenants, allowed):
    assert budget.per_hour(limits, tenants) == allowed


def test_who_fell_due_first_goes_first_whoever_asks_first():
    ledger = Ledger({})
    assert ledger.ask("young", ago(hours=1), 1, NOW, 0.0).place == 0, "nobody else is known to wait"
    assert ledger.ask("old", ago(hours=2), 1, NOW, 0.0).place == 0
    assert ledger.ask("young", ago(hours=1), 1, NOW, 0.0).place == 2
    ledger.spend("old", NOW)
    turn = ledger.ask("young", ago(hours=1), 1, NOW, 0.0)
    assert (turn.place, turn.waiting, turn.spent, turn.allowed, turn.time) == (1, 1, 1, 1, NOW + HOUR)
    assert ledger.ask("young", ago(hours=1), 1, NOW + HOUR, 0.0).place == 0


def test_due_in_the_same_moment_the_id_decides():
    ledger = Ledger({"done": NOW})
    places = {who: ledger.ask(who, NOW, 1, NOW, 0.0) for who in ("b", "c", "a")}
    assert ledger.waiting == ("a", "b", "c")
    assert places["a"].time == NOW + HOUR


def test_what_was_begun_may_be_begun_again_within_its_hour():
    """A step that failed after its intent was logged has spent its room already."""
    ledger = Ledger({"failed": ago(minutes=5)})
    assert ledger.ask("failed", ago(hours=3), 1, NOW, 0.0).place == 0
    assert ledger.ask("other", ago(hours=9), 1, NOW, 0.0).place == 1


def test_who_does_not_come_back_keeps_nobody_waiting():
    ledger = Ledger({"done": ago(minutes=59)})
    ledger.ask("away", ago(hours=9), 1, NOW, 0.0)
    ledger.returns("away", 60.0)
    later = NOW + timedelta(minutes=2)
    assert ledger.ask("here", ago(hours=1), 1, later, 60.0 + ABSENT_AFTER).place == 2
    assert ledger.ask("here", ago(hours=1), 1, later, 61.0 + ABSENT_AFTER).place == 0
    assert ledger.ask("away", ago(hours=9), 2, later, 62.0 + ABSENT_AFTER).place == 0, "it finds its place again"


def test_who_wants_nothing_any_more_leaves_the_line():
    ledger = Ledger({"done": NOW})
    ledger.ask("paid", ago(hours=2), 1, NOW, 0.0)
    ledger.ask("next", ago(hours=1), 1, NOW, 0.0)
    ledger.leave("paid")
    ledger.leave("nobody")
    assert ledger.ask("next", ago(hours=1), 1, NOW, 0.0).place == 1


def test_a_limit_of_nothing_lets_nobody_through_and_promises_nothing():
    turn = Ledger({}).ask("one", ago(days=9), 0, NOW, 0.0)
    assert (turn.place, turn.allowed, turn.time) == (1, 0, None)


def test_a_limit_that_was_lowered_counts_what_was_begun_under_the_old_one():
    begun = {f"t{minute}": ago(minutes=minute) for minute in (50, 40, 30, 20, 10)}
    assert Ledger(begun).ask("next", NOW, 2, NOW, 0.0).time == ago(minutes=20) + HOUR


def test_a_clock_that_went_back_frees_no_room_and_blocks_for_an_hour_at_most():
    ledger = Ledger({"done": NOW})
    back = NOW - timedelta(days=30)
    turn = ledger.ask("next", back, 1, back, 0.0)
    assert (turn.place, turn.time) == (1, back + HOUR)
    assert ledger.ask("next", back, 1, back + HOUR, 0.0).place == 0


@given(
    st.lists(st.integers(0, 3599), max_size=20),
    st.integers(1, 10),
    st.integers(0, 30),
)
def test_as_told_so_it_comes_with_never_more_than_the_hour_allows(seconds, allowed, ahead):
    """Simulated: everybody begins at the very time that was told; no hour sees more than its limit by that."""
    begun = sorted(ago(seconds=second) for second in seconds)
    told = [free_at(begun, allowed, place, NOW) for place in range(ahead + 1)]
    assert all(time is not None and time >= NOW for time in told)
    assert told == sorted(told)
    everything = sorted(begun + told)
    for start in told:
        in_the_hour = [time for time in everything if start - HOUR < time <= start]
        assert len(in_the_hour) <= max(allowed, sum(time > start - HOUR for time in begun))
