"""Which hours of use are told, what they are worth, and under which name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from paybill.api.plan import Meter
from paybill.lifecycle import meters
from paybill.lifecycle.meters import Measured

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
MEASURED = Measured(hour=HOUR, bytes=3 * 2**30 + 1, rows=None, connections=7)


def meter(usage: str, **unit: object) -> Meter:
    return Meter.model_validate({"provider": "Stripe", "event": "e", "usage": usage, **unit})


@pytest.mark.parametrize(
    ("one", "value"),
    [
        (meter("Storage", unit="1Gi"), 4),
        (meter("Storage", unit="1G"), 4),
        (meter("Storage"), 3 * 2**30 + 1),
        (meter("Connections", unit=7), 1),
        (meter("Connections", unit=8), 1),
        (meter("Rows"), None),
    ],
)
def test_a_part_of_a_unit_counts_as_one_and_what_cannot_be_told_is_no_value(one, value):
    assert meters.value(one, MEASURED) == value


def test_a_name_is_of_installation_tenant_meter_and_hour_whatever_the_zone_of_the_clock():
    one = meters.name("a", "k3x9m2qd", "storage", HOUR)
    elsewhere = HOUR.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert meters.name("a", "k3x9m2qd", "storage", elsewhere) == one
    others = {
        meters.name("b", "k3x9m2qd", "storage", HOUR), meters.name("a", "other", "storage", HOUR),
        meters.name("a", "k3x9m2qd", "rows", HOUR), meters.name("a", "k3x9m2qd", "storage", HOUR + meters.HOUR),
    }  # fmt: skip
    assert len(others | {one}) == 5
    assert len(one) <= 100


@pytest.mark.parametrize(
    ("age", "tried", "fate"),
    [
        (timedelta(hours=2), None, "Send"),
        (timedelta(days=34), None, "Send"),
        (timedelta(days=35), None, "Expired"),
        (timedelta(days=2), timedelta(hours=22), "Send"),
        (timedelta(days=2), timedelta(hours=24), "Unsure"),
        (timedelta(days=36), timedelta(hours=24), "Unsure"),
    ],
)
def test_what_is_too_old_or_may_be_there_already_is_not_sent(age, tried, fate):
    now = HOUR + age
    assert meters.fate(HOUR, None if tried is None else now - tried, now) == fate


def test_an_hour_is_final_a_little_after_its_end():
    assert meters.final_until(HOUR + timedelta(minutes=4, seconds=59)) == HOUR - meters.HOUR
    assert meters.final_until(HOUR + timedelta(minutes=5)) == HOUR


def test_pauses_grow_up_to_an_hour():
    assert [meters.pause(number).total_seconds() for number in (0, 1, 5, 6, 1000)] == [60, 120, 1920, 3600, 3600]
