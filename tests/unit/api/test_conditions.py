"""Conditions: the time of the last change moves only with the status, and a reconcile of no change changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from paybill.api.conditions import (
    Condition,
    ConditionStatus,
    find_condition,
    is_true,
    remove_condition,
    set_condition,
)

THEN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = THEN + timedelta(hours=1)


def ready(status: ConditionStatus = "False", reason: str = "Waiting", message: str = "for quota") -> Condition:
    return Condition(
        type="Ready", status=status, reason=reason, message=message, observed_generation=1, last_transition_time=THEN
    )


OTHER = ready().model_copy(update={"type": "Guarded"})

TRANSITIONS = [
    ("a new condition starts now", (), ("True", "Done", "", 1), NOW),
    ("another status moves the time", (ready(),), ("True", "Done", "", 1), NOW),
    ("unknown is another status", (ready(),), ("Unknown", "Waiting", "for quota", 1), NOW),
    ("another reason keeps it", (ready(),), ("False", "Other", "for quota", 1), THEN),
    ("another message keeps it", (ready(),), ("False", "Waiting", "for a server", 1), THEN),
    ("another generation keeps it", (ready(),), ("False", "Waiting", "for quota", 2), THEN),
]


@pytest.mark.parametrize(("before", "new", "expected"), [row[1:] for row in TRANSITIONS],
                         ids=[row[0] for row in TRANSITIONS])  # fmt: skip
def test_the_time_of_the_last_change(before, new, expected) -> None:
    (after,) = set_condition(before, "Ready", *new, NOW)
    assert after.last_transition_time == expected
    assert (after.status, after.reason, after.message, after.observed_generation) == new


def test_setting_what_is_so_already_changes_nothing() -> None:
    before = (ready(), OTHER)
    assert set_condition(before, "Ready", "False", "Waiting", "for quota", 1, NOW) == before


def test_a_condition_keeps_its_place_and_the_others_are_untouched() -> None:
    after = set_condition((ready(), OTHER), "Ready", "True", "Done", "", 1, NOW)
    assert [condition.type for condition in after] == ["Ready", "Guarded"]
    assert after[1] is OTHER


def test_a_new_condition_comes_last() -> None:
    assert [each.type for each in set_condition((OTHER,), "Ready", "True", "Done", "", 1, NOW)] == ["Guarded", "Ready"]


def test_a_condition_that_no_longer_applies_is_taken_away() -> None:
    assert remove_condition((ready(), OTHER), "Ready") == (OTHER,)
    assert remove_condition((OTHER,), "Ready") == (OTHER,)


def test_looking_up() -> None:
    assert find_condition((ready(), OTHER), "Guarded") is OTHER
    assert find_condition((OTHER,), "Ready") is None
    assert not is_true((ready(),), "Ready")
    assert not is_true((ready("Unknown"),), "Ready")
    assert not is_true((), "Ready")
    assert is_true((ready("True"),), "Ready")


def test_on_the_wire() -> None:
    assert ready().wire() == {
        "type": "Ready",
        "status": "False",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": "Waiting",
        "message": "for quota",
    }


@pytest.mark.parametrize("reason", ["", "two words", "1st", "é"])
def test_a_reason_is_a_word_for_machines(reason: str) -> None:
    with pytest.raises(ValueError, match="reason"):
        ready(reason=reason)
