"""What a mode permits, and what holds when it cannot be read: the truth table of halts."""

from __future__ import annotations

import pytest

from paybill.lifecycle.mode import FULL, UNREAD, Halt, Mode, absent, read, unread

OBSERVE = Halt(mode=Mode.OBSERVE, reason="a wrong import", by="ada", time="2026-03-01T12:00:00Z")


@pytest.mark.parametrize(
    ("mode", "building", "destroying"),
    [(Mode.FULL, True, True), (Mode.NON_DESTRUCTIVE, True, False), (Mode.OBSERVE, False, False)],
)
def test_each_mode_permits_less_than_the_one_before(mode, building, destroying):
    halt = Halt(mode=mode)
    assert (halt.permits(destructive=False), halt.permits(destructive=True)) == (building, destroying)
    assert halt.observing is (mode is Mode.OBSERVE)


def test_what_is_written_is_read_back():
    assert read(OBSERVE.data()) == OBSERVE


@pytest.mark.parametrize("mode", list(Mode))
def test_a_mode_alone_is_enough(mode):
    assert read({"mode": str(mode)}) == Halt(mode=mode)


@pytest.mark.parametrize("said", ["", "full", "Fulll", "Full ", "None", "0"])
def test_a_mode_that_is_none_of_ours_says_nothing(said):
    assert read({"mode": said}) is None
    assert read({}) is None


@pytest.mark.parametrize(("remembered", "held"), [(None, UNREAD), (FULL, UNREAD), (UNREAD, UNREAD), (OBSERVE, OBSERVE)])
def test_what_cannot_be_read_at_the_start_permits_nothing_destructive_whatever_was_before(remembered, held):
    assert unread(remembered) == held
    assert not unread(remembered).permits(destructive=True)


@pytest.mark.parametrize(("remembered", "held"), [(None, FULL), (FULL, FULL), (OBSERVE, OBSERVE)])
def test_a_halt_does_not_end_because_its_config_map_vanished(remembered, held):
    assert absent(remembered) == held


def test_the_words_name_who_when_and_why_in_one_short_line():
    assert OBSERVE.words == "mode Observe by ada at 2026-03-01T12:00:00Z: a wrong import"
    assert Halt(mode=Mode.OBSERVE).words == "mode Observe"
    long = Halt(mode=Mode.OBSERVE, reason="many\nlines " * 100).words
    assert "\n" not in long
    assert len(long) < 230
    assert long.endswith("…")


def test_what_cannot_be_shown_or_kept_is_left_out():
    halt = read({"mode": "Observe", "reason": "a\x00b\x1bc\nd", "by": "x" * 5000})
    assert halt is not None
    assert halt.reason == "a b c\nd"
    assert len(halt.by) == 1000
    assert halt.words.isprintable()
    assert len(halt.words) < 512


def test_every_mode_says_what_it_means():
    assert len({mode.effect for mode in Mode}) == len(Mode)
