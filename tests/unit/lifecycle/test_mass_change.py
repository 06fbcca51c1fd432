"""When many at once are too many: shares, floors, spans, and who is counted only once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.api.cell import CellLimits
from paybill.lifecycle.mass_change import FLOOR, KEPT, RULES, Cause, Tally, floor_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def tally(*seconds: float, within: timedelta = MINUTE) -> Tally:
    made = Tally(within)
    for number, second in enumerate(seconds):
        made.add(f"t{number}", NOW + timedelta(seconds=second))
    return made


@pytest.mark.parametrize(
    ("cause", "tenants", "allowed"),
    [
        (Cause.SUSPENSIONS, 0, 5),
        (Cause.SUSPENSIONS, 3, 5),
        (Cause.SUSPENSIONS, 59, 5),
        (Cause.SUSPENSIONS, 60, 6),
        (Cause.SUSPENSIONS, 10_000, 1_000),
        (Cause.DELETIONS, 599, 5),
        (Cause.DELETIONS, 600, 6),
        (Cause.DELETIONS, 10_000, 100),
        (Cause.PLANS, 9, 5),
        (Cause.PLANS, 12, 6),
    ],
)
def test_a_share_of_the_cell_but_never_less_than_the_floor(cause, tenants, allowed):
    assert RULES[cause].allowed(FLOOR, tenants) == allowed


def test_a_cell_may_set_its_own_floor():
    assert floor_of(None) == floor_of(CellLimits()) == FLOOR
    assert floor_of(CellLimits(mass_change_floor=0)) == 0
    assert RULES[Cause.DELETIONS].allowed(0, 3) == 0, "not even one"


def test_what_falls_due_within_the_span_counts_together():
    counted = Tally(MINUTE)
    assert [counted.add(f"t{second}", NOW + timedelta(seconds=second)) for second in (0, 30, 59, 60, 200)] == [
        1, 2, 3, 3, 1,
    ]  # fmt: skip


def test_the_order_in_which_it_is_seen_does_not_matter():
    """After a restart what was asked for before comes in the order of names."""
    assert tally(500, 0, 10, 20).add("late", NOW + timedelta(seconds=30)) == 4
    assert tally(0, 10, 20, 500).add("late", NOW + timedelta(seconds=-30)) == 4


def test_nobody_is_counted_twice():
    counted = tally(0)
    assert counted.add("t0", NOW + timedelta(seconds=5)) == 0
    assert counted.add("other", NOW) == 2


def test_who_is_not_due_any_more_does_not_count():
    counted = tally(0, 1, 2)
    counted.drop("t1")
    counted.drop("nobody")
    assert counted.add("other", NOW) == 3


def test_what_a_person_looked_at_is_not_counted_again_not_even_after_a_restart():
    counted = tally(0, 1, 2)
    counted.look_at(NOW + timedelta(seconds=2))
    assert counted.newest is None
    assert [counted.add(who, NOW + timedelta(seconds=2)) for who in ("t0", "t1", "t2", "new")] == [0, 0, 0, 0]
    assert counted.add("later", NOW + timedelta(seconds=3)) == 1
    counted.look_at(NOW)
    assert counted.add("between", NOW + timedelta(seconds=1)) == 0, "an older look takes nothing back"


def test_what_was_long_ago_is_forgotten():
    counted = tally(0, 1)
    assert counted.add("now", NOW + KEPT + timedelta(hours=1)) == 1
    assert "t0" not in counted
    assert counted.add("t0", NOW) == 0


@given(st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=30))
def test_the_count_is_the_most_in_any_span_that_holds_the_moment(events):
    counted, there = Tally(MINUTE), {}
    for number, (second, leaves) in enumerate(events):
        time = NOW + timedelta(seconds=second)
        said, there[f"t{number}"] = counted.add(f"t{number}", time), time
        ends = [end for end in there.values() if time <= end < time + MINUTE]
        assert said == max(sum(end - MINUTE < one <= end for one in there.values()) for end in ends)
        if leaves:
            counted.drop(f"t{number}")
            del there[f"t{number}"]
    assert counted.newest == max(there.values(), default=None)
