"""Where a period ends: months of any length, leap days, and clocks that are put forward and back."""

from datetime import UTC, datetime

import pytest

from paybill.api.failures import Invalid
from paybill.lifecycle.contract import FOREVER
from paybill.lifecycle.periods import period_end


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


ENDS = [
    pytest.param("2027-01-31T09:00+00:00", 1, "Month", "Etc/UTC", "2027-02-28T09:00+00:00", id="a short month"),
    pytest.param("2027-01-31T09:00+00:00", 2, "Month", "Etc/UTC", "2027-03-31T09:00+00:00", id="the 31st is kept"),
    pytest.param("2028-01-31T09:00+00:00", 1, "Month", "Etc/UTC", "2028-02-29T09:00+00:00", id="a leap year"),
    pytest.param("2028-02-29T09:00+00:00", 1, "Year", "Etc/UTC", "2029-02-28T09:00+00:00", id="from a leap day"),
    pytest.param("2028-02-29T09:00+00:00", 4, "Year", "Etc/UTC", "2032-02-29T09:00+00:00", id="to a leap day"),
    pytest.param("2027-03-01T00:00+00:00", -1, "Month", "Etc/UTC", "2027-02-01T00:00+00:00", id="backwards"),
    pytest.param("2027-02-28T09:00+01:00", 1, "Month", "Europe/Berlin", "2027-03-28T07:00+00:00", id="summer time"),
    pytest.param(
        "2027-02-28T02:30+01:00", 1, "Month", "Europe/Berlin", "2027-03-28T01:30+00:00", id="an hour that is skipped"
    ),
    pytest.param(
        "2027-09-30T02:30+02:00", 31, "Day", "Europe/Berlin", "2027-10-31T00:30+00:00", id="an hour that comes twice"
    ),
    pytest.param(
        "2027-01-31T23:30-08:00", 1, "Month", "America/Los_Angeles", "2027-02-28T23:30-08:00", id="another day in UTC"
    ),
    pytest.param("2027-03-21T12:00+01:00", 1, "Week", "Europe/Berlin", "2027-03-28T12:00+02:00", id="a week of 167 h"),
    pytest.param("9999-12-01T00:00+00:00", 1, "Month", "Etc/UTC", None, id="where the calendar ends"),
]


@pytest.mark.parametrize(("anchor", "count", "every", "zone", "end"), ENDS)
def test_a_period_ends_at_the_same_hour_on_the_wall(anchor, count, every, zone, end):
    found = period_end(utc(anchor), count, every, zone=zone)
    assert found == (FOREVER if end is None else utc(end))
    assert found.tzinfo is UTC


def test_periods_counted_one_by_one_would_lose_the_last_of_the_month():
    """Why they are counted from the anchor."""
    anchor = utc("2027-01-31T09:00+00:00")
    step = period_end(period_end(anchor, 1, "Month"), 1, "Month")
    assert step == utc("2027-03-28T09:00+00:00")
    assert period_end(anchor, 2, "Month") == utc("2027-03-31T09:00+00:00")


@pytest.mark.parametrize("zone", ["Berlin", "", "../etc/passwd"])
def test_a_zone_that_nobody_knows_is_refused(zone):
    with pytest.raises(Invalid, match="time zone"):
        period_end(utc("2027-01-31T09:00+00:00"), 1, "Month", zone=zone)
