"""A tenant is warned before its Plan's storage is full, only reads when it is, and is never shut out on a guess."""

from __future__ import annotations

from datetime import timedelta

import pytest

from paybill.lifecycle.phases import Access, Phase
from paybill.lifecycle.storage import judge, narrowed
from paybill.lifecycle.tenant import course
from tests.unit.lifecycle.contracts import START

LATER = (START + timedelta(hours=1)).isoformat()


@pytest.mark.parametrize(
    ("used", "level", "grace", "state"),
    [
        (0, "Schema", None, "Within"),
        (799, "Schema", None, "Within"),
        (800, "Schema", None, "Near"),
        (999, "Database", None, "Near"),
        (1000, "Schema", None, "Full"),
        (5000, "Server", None, "Full"),
        (5000, "Server", LATER, "Grace"),
        (5000, "Server", START.isoformat(), "Full"),
        (5000, "Server", "tomorrow", "Full"),
        (5000, "Server", "2099-01-01T00:00:00", "Full"),
        (5000, "Rows", None, "Over"),
        (800, "Rows", None, "Near"),
        (None, "Rows", None, "Unmeasured"),
        (None, "Schema", LATER, "Unmeasured"),
    ],
)
def test_the_last_measure_decides(used, level, grace, state):
    verdict = judge("1k", used, level, grace, START)

    assert verdict is not None
    assert verdict.state == state
    assert verdict.read_only is (state == "Full")


def test_without_a_limit_there_is_nothing_to_say():
    assert judge(None, 10**15, "Schema", None, START) is None


def test_a_limit_of_nothing_is_full_with_the_first_byte():
    assert [judge("0", used, "Schema", None, START).state for used in (0, 1)] == ["Within", "Full"]


def test_words_change_with_the_percent_and_not_with_every_byte():
    said = [judge("1Gi", 950_000_000 + number, "Schema", None, START).words for number in range(1000)]
    assert len(set(said)) == 1


def test_an_annotation_that_is_no_moment_is_told():
    assert "2026-12-01T00:00:00Z" in judge("1k", 1000, "Schema", "soon", START).words
    assert judge("1k", 1000, "Schema", LATER, START).until == START + timedelta(hours=1)


def test_who_is_moved_to_where_there_is_more_may_write_meanwhile():
    moving = judge("1k", 1000, "Schema", None, START, moving=True)
    assert (moving.state, moving.until) == ("Grace", None)


@pytest.mark.parametrize("phase", Phase)
def test_full_takes_writing_away_and_gives_nothing(phase):
    before = course(phase, "why", exists=True)
    after = narrowed(before, judge("1k", 1000, "Schema", None, START))

    assert after.stopped is before.stopped
    assert after.effect.access is (Access.READ_ONLY if before.effect.access is Access.FULL else before.effect.access)
    assert (after.reason == "StorageFull") is (before.effect.access is Access.FULL)
    assert narrowed(before, judge("1k", 999, "Schema", None, START)) is before
    assert narrowed(before, None) is before
