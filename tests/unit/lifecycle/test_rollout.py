"""Who may move to a new revision of a Plan now."""

from dataclasses import replace

import pytest

from paybill.lifecycle.rollout import Member, Orders, ceiling, orders, plan_wave

WAITING = [Member(id=f"t{number}", revision="old", ready=True) for number in range(10)]
MOVING = Member(id="moving", revision="new", ready=False)
ARRIVED = Member(id="arrived", revision="new", ready=True)
FAILED = Member(id="failed", revision="new", ready=False, failed=True)


def wave(*members: Member, most: str = "3", pause: bool = True):
    return plan_wave(members, "new", max_unavailable=most, pause_on_failure=pause)


@pytest.mark.parametrize(
    ("declared", "total", "most"),
    [
        ("5%", 0, 1),
        ("5%", 10, 1),
        ("5%", 20, 1),
        ("5%", 21, 2),
        ("5%", 10_000, 500),
        ("100%", 7, 7),
        ("1%", 1, 1),
        ("3", 10_000, 3),
        ("3", 1, 3),
    ],
)
def test_the_ceiling_is_a_count_or_a_share_rounded_up_and_at_least_one(declared, total, most):
    assert ceiling(declared, total) == most


def test_as_many_are_admitted_as_there_is_room():
    assert len(wave(*WAITING).admitted) == 3
    assert len(wave(*WAITING, ARRIVED).admitted) == 3
    assert len(wave(*WAITING, MOVING).admitted) == 2
    assert len(wave(*WAITING, *(replace(MOVING, id=f"m{number}") for number in range(5))).admitted) == 0


def test_a_failure_stops_those_that_wait():
    stopped = wave(*WAITING, ARRIVED, FAILED)
    assert stopped.paused
    assert stopped.admitted == frozenset()


def test_a_failure_stops_nobody_where_the_plan_says_so():
    going_on = wave(*WAITING, FAILED, most="1", pause=False)
    assert not going_on.paused
    assert len(going_on.admitted) == 1


def test_a_failure_on_the_old_revision_stops_nothing():
    assert not wave(*WAITING, replace(FAILED, revision="old")).paused


def test_nothing_is_paused_when_nobody_waits():
    assert not wave(ARRIVED, FAILED).paused


def test_who_is_pinned_is_no_part_of_it():
    pinned = [replace(one, pinned=True) for one in WAITING]
    found = wave(*pinned, ARRIVED, replace(FAILED, pinned=True))
    assert (found.admitted, found.updated, found.total, found.paused) == (frozenset(), 1, 1, False)


def test_who_may_not_change_now_keeps_no_place_from_the_others():
    first = plan_wave(WAITING, "new", max_unavailable="1", pause_on_failure=True).admitted
    held = [replace(one, held=one.id in first) for one in WAITING]
    second = plan_wave(held, "new", max_unavailable="1", pause_on_failure=True)
    assert len(second.admitted) == 1
    assert not second.admitted & first
    assert (second.updated, second.total) == (0, 10)


def test_each_revision_has_its_own_order():
    orders = {
        revision: plan_wave(WAITING, revision, max_unavailable="3", pause_on_failure=True).admitted
        for revision in ("new", "newer", "newest")
    }
    assert len(set(orders.values())) > 1


KEPT = ("aaaaaaaaaa", "bbbbbbbbbb")


@pytest.mark.parametrize(
    ("said", "target", "paused"),
    [
        pytest.param(None, "bbbbbbbbbb", False, id="nothing"),
        pytest.param("paused", "bbbbbbbbbb", True, id="a pause"),
        pytest.param("bbbbbbbbbb/aaaaaaaaaa", "aaaaaaaaaa", False, id="a rollback from what it is now"),
        pytest.param("cccccccccc/aaaaaaaaaa", "bbbbbbbbbb", False, id="one that an edit has ended"),
        pytest.param("bbbbbbbbbb/dddddddddd", "bbbbbbbbbb", False, id="one to what is not kept"),
        pytest.param("go", "bbbbbbbbbb", False, id="no word of ours"),
    ],
)
def test_what_a_person_orders(said, target, paused):
    assert orders(said, "bbbbbbbbbb", KEPT) == Orders(target=target, paused=paused)


def test_a_rollout_that_a_person_stopped_admits_nobody_and_says_so():
    members = [Member(id=f"t{number}", revision="old", ready=True) for number in range(5)]
    wave = plan_wave(members, "new", max_unavailable="100%", pause_on_failure=True, stopped=True)
    assert (wave.admitted, wave.paused) == (frozenset(), True)
    there = [Member(id="t", revision="new", ready=True)]
    assert not plan_wave(there, "new", max_unavailable="1", pause_on_failure=True, stopped=True).paused, "all are there"
