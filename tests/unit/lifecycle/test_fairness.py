"""Whose operation comes next: by class, by age within it, and a class is caught up with by a minute of waiting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from paybill.lifecycle.fairness import CLASSES, Waiting, pick, rank

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def waiting(name: str, tier: str, seconds: float = 0.0) -> Waiting:
    return Waiting(id=name, tier=tier, queued_time=NOW - timedelta(seconds=seconds))


def test_who_pays_comes_first_and_what_only_looks_last() -> None:
    assert CLASSES == ("Paying", "Trial", "Other", "Background")
    assert [rank(waiting("x", tier), NOW) for tier in CLASSES] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("queue", "first"),
    [
        pytest.param([], None, id="nobody waits"),
        pytest.param([("a", "Background", 0)], "a", id="alone"),
        pytest.param([("a", "Trial", 59), ("b", "Paying", 0)], "b", id="the class decides"),
        pytest.param([("a", "Paying", 1), ("b", "Paying", 2)], "b", id="within a class the oldest"),
        pytest.param([("b", "Paying", 1), ("a", "Paying", 1)], "a", id="of the same age by name"),
        pytest.param([("a", "Paying", 0), ("b", "Trial", 60)], "b", id="a minute catches up with one class"),
        pytest.param([("a", "Paying", 1), ("b", "Background", 180)], "b", id="three minutes with three"),
        pytest.param([("a", "Paying", 0), ("b", "Background", 179)], "a", id="and not a second less"),
        pytest.param([("a", "Background", 0), ("b", "", 0)], "b", id="a class that nobody knows is the third"),
        pytest.param([("a", "Gold", 0), ("b", "Trial", 0)], "b", id="not more than the third"),
        pytest.param([("a", "Trial", -900), ("b", "Other", 0)], "a", id="a clock that went back harms nobody"),
    ],
)
def test_whose_turn_it_is(queue: list[tuple[str, str, float]], first: str | None) -> None:
    chosen = pick((waiting(*one) for one in queue), NOW)
    assert (chosen.id if chosen else None) == first
