"""Durations in Go's notation."""

from __future__ import annotations

from datetime import timedelta

import pytest

from paybill.api import duration
from paybill.api.failures import Invalid

READ = [
    ("24h", timedelta(hours=24)), ("30s", timedelta(seconds=30)), ("1h30m", timedelta(minutes=90)),
    ("90m", timedelta(minutes=90)), ("250ms", timedelta(milliseconds=250)), ("1.5h", timedelta(minutes=90)),
    ("100us", timedelta(microseconds=100)), ("100µs", timedelta(microseconds=100)), ("999ns", timedelta(0)),
    ("0", timedelta(0)), ("0s", timedelta(0)), ("-1h", timedelta(hours=-1)), ("+1h", timedelta(hours=1)),
    ("1h1h", timedelta(hours=2)), ("336h", timedelta(days=14)),
]  # fmt: skip


@pytest.mark.parametrize(("written", "span"), READ)
def test_reading(written: str, span: timedelta) -> None:
    assert duration.parse(written) == span


@pytest.mark.parametrize(
    "written", ["", "24", "h", "1 h", "1hour", "24H", "1h;", "'1h'", "１h", "1e3s", "1h-1m", ".5h",
                "1" * 65 + "h", "1h\n"],
    ids=repr,
)  # fmt: skip
def test_what_is_no_duration_is_refused_with_the_value_and_what_to_write(written: str) -> None:
    with pytest.raises(Invalid) as refusal:
        duration.parse(written)
    assert refusal.value.reason == "InvalidDuration"
    assert '"1h30m"' in refusal.value.message


def test_days_are_refused_with_the_hours_to_write_instead() -> None:
    with pytest.raises(Invalid, match=r"'14d' is not a duration: there is no unit for days, write \"336h\""):
        duration.parse("14d")


def test_a_span_beyond_counting_is_refused() -> None:
    with pytest.raises(Invalid, match="longer than can be counted"):
        duration.parse("9" * 60 + "h")


@pytest.mark.parametrize(
    ("span", "written"),
    [
        (timedelta(days=1), "24h"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(seconds=30), "30s"),
        (timedelta(milliseconds=1250), "1s250ms"),
        (timedelta(microseconds=7), "7us"),
        (timedelta(0), "0s"),
        (timedelta(hours=-1), "-1h"),
    ],
)
def test_writing(span: timedelta, written: str) -> None:
    assert duration.render(span) == written
