"""When backups are due, and which are kept: anchored in the schedule, whatever the operator slept through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from paybill.api.failures import Invalid
from paybill.api.policies import Backup
from paybill.lifecycle.backups import SPREAD, Kept, excess, run_name, runs

DAILY = Backup(schedule="0 3 * * *")
ID = "k3x9m2qd"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_the_last_two_runs_and_the_next():
    found = runs(DAILY, ID, at("2026-03-10T12:00"))
    assert found is not None
    assert (found.last, found.before) == (at("2026-03-10T03:00"), at("2026-03-09T03:00"))
    assert at("2026-03-11T03:00") <= found.next_due < at("2026-03-11T03:00") + SPREAD


@pytest.mark.parametrize("minutes", range(0, 24 * 60, 37))
def test_a_run_is_due_at_the_same_moment_whenever_it_is_asked_for(minutes):
    now = at("2026-03-10T00:00") + timedelta(minutes=minutes)
    found = runs(DAILY, ID, now)
    assert found is not None
    again = runs(DAILY, ID, found.next_due)
    assert again is not None
    assert again.before == found.last
    assert found.next_due > now
    assert again.last <= found.next_due < again.last + SPREAD


def test_tenants_do_not_all_begin_at_once_and_none_late_where_runs_are_close():
    now = at("2026-03-10T12:00")
    for schedule, longest in (("0 3 * * *", SPREAD), ("*/10 * * * *", timedelta(minutes=2.5))):
        due = [runs(Backup(schedule=schedule), f"tenant{number:02d}", now) for number in range(40)]
        delays = {one.next_due - (one.next_due - longest).replace(second=0) for one in due if one}
        assert len(delays) > 20
        latest = max(one.next_due for one in due if one)
        earliest = min(one.next_due for one in due if one)
        assert latest - earliest <= timedelta(minutes=10) + longest


def test_the_zone_decides_what_three_in_the_morning_is():
    found = runs(Backup(schedule="0 3 * * *", time_zone="Europe/Berlin"), ID, at("2026-07-10T12:00"))
    assert found is not None
    assert found.last == at("2026-07-10T01:00")


@pytest.mark.parametrize(
    ("schedule", "zone"),
    [
        ("0 3 * * *", "Mars/Olympus"),
        ("99 3 * * *", "Etc/UTC"),
        ("0 3 31 2 *", "Etc/UTC"),
        ("0 3 * * *", "../etc/passwd"),
    ],
)
def test_what_cannot_be_read_is_said(schedule, zone):
    with pytest.raises(Invalid) as failure:
        runs(Backup(schedule=schedule, time_zone=zone), ID, at("2026-03-10T12:00"))
    assert failure.value.reason == "BadSchedule"


def test_one_run_has_one_name():
    assert run_name(ID, at("2026-03-10T03:00")) == "k3x9m2qd-202603100300"


def kept(*states: str) -> list[Kept]:
    """One a day, the oldest first: v(erified), f(ailed), r(unning)."""
    return [
        Kept(name=f"b{day}", created=at("2026-03-01") + timedelta(days=day), verified=state == "v", ended=state != "r")
        for day, state in enumerate(states)
    ]


@pytest.mark.parametrize(
    ("states", "keep", "gone"),
    [
        pytest.param("vvvvv", 3, ("b1", "b0"), id="the oldest go"),
        pytest.param("vvv", 3, (), id="no more than are kept"),
        pytest.param("vffffff", 1, (), id="failures never take the last good one away"),
        pytest.param("fvv", 2, ("b0",), id="a failure older than all that are kept"),
        pytest.param("vfvr", 1, ("b0", "b1"), id="what runs stays"),
        pytest.param("ffrr", 1, (), id="where none is good, none goes"),
    ],
)
def test_what_is_kept(states, keep, gone):
    assert excess(kept(*states), keep) == gone
