"""When a steady tenant is looked at again, and how many may be stopped in an hour."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.api.cell import CellLimits
from paybill.lifecycle.budget import DELETIONS, SUSPENSIONS
from paybill.lifecycle.schedule import interval, resync_after, wake_at
from tests.unit.lifecycle.contracts import START, at

IDS = [f"id{number:06}" for number in range(2_000)]


@pytest.mark.parametrize(
    ("tenants", "every"),
    [
        (0, timedelta(minutes=10)),
        (128, timedelta(minutes=10)),
        (129, timedelta(seconds=1_024)),
        (256, timedelta(seconds=1_024)),
        (10_000, timedelta(seconds=65_536)),
    ],
)
def test_the_interval_doubles_with_the_fleet(tenants, every):
    assert interval(tenants) == every
    spans = [resync_after(identity, tenants, START) for identity in IDS]
    assert all(0.5 * every <= span <= 1.5 * every for span in spans)
    assert min(spans) < 0.51 * every
    assert max(spans) > 1.49 * every


@pytest.mark.parametrize("tenants", [1, 128, 129, 1_000, 4_096, 10_000, 16_384, 100_000])
def test_the_looks_of_a_minute_do_not_grow_with_the_fleet(tenants):
    assert tenants * timedelta(minutes=1) / interval(tenants) <= 15


def test_the_looks_at_a_fleet_are_spread_evenly():
    spans = sorted(resync_after(identity, 10_000, START) for identity in IDS)
    tenth = len(spans) // 10
    share = (spans[-1] - spans[0]) / 10
    assert all(
        abs((spans[number + tenth - 1] - spans[number]) / share - 1) < 0.35 for number in range(0, len(spans), tenth)
    )


@given(st.text(min_size=1), st.integers(0, 100_000), st.floats(0, 1, exclude_max=True))
def test_a_tenant_keeps_its_turn_whenever_it_was_looked_at(identity, tenants, when):
    every = interval(tenants)
    turn = START + resync_after(identity, tenants, START)
    assert abs(resync_after(identity, tenants, turn) - every) < timedelta(milliseconds=1), "an interval later again"
    looked = turn - every / 2 - when * every / 2
    again = looked + resync_after(identity, tenants, looked)
    assert min(abs(again - turn), abs(again - turn - every)) < timedelta(milliseconds=1), "a look between moves nothing"


@pytest.mark.parametrize(
    ("deadlines", "wake"),
    [
        ([], 1),
        ([None, None], 1),
        ([at(0.5)], 0.5),
        ([at(2)], 1),
        ([at(0.7), at(0.2), None], 0.2),
        ([at(-1)], 1),
        ([at(0)], 1),
    ],
    ids=[
        "none",
        "unknown ones",
        "one before",
        "one after",
        "the first of several",
        "one that passed",
        "one that is now",
    ],
)
def test_the_next_look_is_at_the_next_deadline_or_the_resync(deadlines, wake):
    assert wake_at(START, timedelta(days=1), *deadlines) == at(wake)


@pytest.mark.parametrize(
    ("limits", "tenants", "suspensions", "deletions"),
    [
        (None, 0, 10, 5),
        (None, 999, 10, 9),
        (None, 1_099, 10, 10),
        (None, 10_000, 100, 100),
        (CellLimits(), 499, 10, 5),
        (CellLimits(suspensions_per_hour=0, deletions_per_hour=0), 10_000, 0, 0),
        (CellLimits(suspensions_per_hour=1_000), 10, 1_000, 5),
        (CellLimits(deletions_per_hour=7), 10, 10, 7),
    ],
)
def test_the_budget_of_an_hour_is_declared_or_the_greater_of_a_floor_and_a_hundredth(
    limits, tenants, suspensions, deletions
):
    assert (SUSPENSIONS.per_hour(limits, tenants), DELETIONS.per_hour(limits, tenants)) == (suspensions, deletions)
