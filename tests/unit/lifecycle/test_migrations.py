"""Whose turn it is: canaries first, then so many at a time, nobody once too many have failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paybill.lifecycle.migrations import Subject, turn

FLEET = [Subject(id=f"tenant{number:02}", version=1) for number in range(20)]
POOL = Subject(id="pool/cell/server", version=1, pool=True)


def decide(subjects, **changes):
    said = {"canaries": 2, "max_unavailable": "5", "failure_budget": 0} | changes
    return turn(subjects, 2, "digest", **said)


def test_canaries_are_first_and_the_same_after_a_restart():
    first = decide(FLEET)
    assert (first.stage, len(first.admitted)) == ("Canaries", 2)
    assert decide(list(reversed(FLEET))) == first


def test_a_wave_comes_when_the_canaries_are_done():
    canaries = decide(FLEET).admitted
    after = [replace(one, version=2) if one.id in canaries else one for one in FLEET]
    wave = decide(after)
    assert (wave.stage, len(wave.admitted), wave.current) == ("Waves", 5, 2)
    half = [replace(one, version=2) if one.id in sorted(canaries)[:1] else one for one in FLEET]
    assert decide(half).admitted == canaries - set(sorted(canaries)[:1])


def test_all_are_done_in_the_end_and_a_pool_after_all_others():
    fleet, rounds, order = [*FLEET, POOL], 0, []
    while (now := decide(fleet)).stage != "Done":
        rounds += 1
        order.append(now.admitted)
        fleet = [replace(one, version=2) if one.id in now.admitted else one for one in fleet]
        assert rounds < 20
    assert (rounds, now.current, now.total) == (1 + 4, 21, 21)
    assert POOL.id in order[-1]
    assert all(POOL.id not in admitted for admitted in order[:-1])


@pytest.mark.parametrize(("budget", "stage"), [(0, "Stopped"), (1, "Stopped"), (2, "Waves")])
def test_it_stops_when_more_have_failed_than_may(budget, stage):
    fleet = [replace(one, failed=True) if one.id in {"tenant03", "tenant07"} else one for one in FLEET]
    decided = decide(fleet, canaries=0, failure_budget=budget)
    assert (decided.stage, decided.failed) == (stage, ("tenant03", "tenant07"))
    assert not decided.admitted & {"tenant03", "tenant07"}
    assert bool(decided.admitted) is (stage == "Waves")


def test_a_canary_that_failed_within_the_budget_lets_the_others_go_on():
    one, other = sorted(decide(FLEET).admitted)
    fleet = [replace(each, failed=each.id == one, version=2 if each.id == other else 1) for each in FLEET]
    assert decide(fleet, failure_budget=1).stage == "Waves"


def test_who_is_held_takes_nobodys_place():
    held = decide(FLEET).admitted
    fleet = [replace(one, held=one.id in held) for one in FLEET]
    decided = decide(fleet)
    assert (decided.stage, len(decided.admitted), decided.held) == ("Canaries", 2, 2)
    assert not decided.admitted & held
    assert decide([replace(one, held=True) for one in FLEET]).admitted == frozenset()


def test_nobody_is_left_without_anybody():
    assert decide([]).stage == "Done"
