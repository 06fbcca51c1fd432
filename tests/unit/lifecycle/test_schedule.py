"""When a steady tenant is looked at again, and how many may be stopped in an hour."""

from datetime import timedelta

import pytest

from paybill.api.cell import CellLimits
from paybill.lifecycle.budget import DELETIONS, SUSPENSIONS
from paybill.lifecycle.schedule import resync_after, wake_at
from tests.unit.lifecycle.contracts import START, at

IDS = [f"id{number:06}" for number in range(2_000)]


@pytest.mark.parametrize(
    ("tenants", "base"),
    [
        (0, timedelta(minutes=10)),
        (300, timedelta(minutes=10)),
        (301, timedelta(seconds=602)),
        (10_000, timedelta(seconds=20_000)),
    ],
)
def test_the_interval_grows_with_the_fleet_and_is_spread_over_a_fifth_each_way(tenants, base):
    spans = [resync_after(identity, tenants) for identity in IDS]
    assert all(0.8 * base <= span <= 1.2 * base for span in spans)
    assert min(spans) < 0.81 * base
    assert max(spans) > 1.19 * base


def test_the_looks_at_a_fleet_are_spread_evenly():
    spans = sorted(resync_after(identity, 10_000) for identity in IDS)
    tenth = len(spans) // 10
    share = (spans[-1] - spans[0]) / 10
    assert all(
        abs((spans[number + tenth - 1] - spans[number]) / share - 1) < 0.35 for number in range(0, len(spans), tenth)
    )


def test_a_tenant_keeps_its_interval():
    assert resync_after("k3x9m2qd", 50) == resync_after("k3x9m2qd", 50)


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
