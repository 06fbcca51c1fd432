"""When a server is measured: once an hour, in a minute of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from paybill.reconcile.metering import SPREAD, due

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)


def server(name: str, measured: datetime | None = None) -> Any:
    return SimpleNamespace(cell="eu", spec=SimpleNamespace(name=name), metered_hour=measured)


def first(name: str) -> int:
    """The minute from which on it is due."""
    return next(minute for minute in range(60) if due(server(name), HOUR + timedelta(minutes=minute)))


def test_servers_are_spread_over_the_hour_and_each_keeps_its_minute() -> None:
    minutes = [first(f"server-{number}") for number in range(200)]

    assert max(minutes) < SPREAD
    assert len(set(minutes)) > SPREAD / 2
    assert minutes == [first(f"server-{number}") for number in range(200)]


def test_it_is_measured_once_an_hour() -> None:
    late = HOUR + timedelta(minutes=59)

    assert due(server("a"), late)
    assert not due(server("a", measured=HOUR), late)
    assert due(server("a", measured=HOUR), late + timedelta(hours=1))
