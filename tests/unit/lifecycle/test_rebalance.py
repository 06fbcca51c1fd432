"""Who should go where, when a server is nearly full: few, the same each time, and never back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.lifecycle.rebalance import HIGH, MEASURES, TARGET, Proposal, Resident, Room, propose


def residents(*bytes_: int, prefix: str = "t", **changes: object) -> list[Resident]:
    return [
        Resident(id=f"{prefix}{number}", name=f"{prefix}-{number}", bytes=size, **changes)
        for number, size in enumerate(bytes_)
    ]


def room(name: str, who: list[Resident], holds: str = "Schemas", **most: int) -> Room:
    return Room(name=name, holds=holds, most=most, residents=who)


def pairs(found: tuple[Proposal, ...]) -> list[tuple[str, str, str]]:
    return [(one.id, one.source, one.target) for one in found]


@pytest.mark.parametrize(
    ("rooms", "moves"),
    [
        pytest.param([room("a", residents(1, 1), tenants=3), room("b", [], tenants=3)], [], id="nobody is over"),
        pytest.param([room("a", residents(50, 30, 8, 2), bytes=100), room("b", [], bytes=100)], [("t1", "a", "b")],
                     id="the smallest that alone is enough"),
        pytest.param([room("a", residents(*[10] * 9), bytes=100), room("b", [], bytes=100)],
                     [("t0", "a", "b"), ("t1", "a", "b")], id="as few as are needed"),
        pytest.param([room("a", residents(90), bytes=100), room("b", [], bytes=100)], [],
                     id="nobody would be better off elsewhere"),
        pytest.param([room("a", residents(1, 1), tenants=2), room("b", [], "Databases", tenants=9)], [],
                     id="only where the same is held"),
        pytest.param([room("a", residents(1, 1), tenants=2), room("b", [], tenants=0)], [], id="not where nobody fits"),
        pytest.param([room("a", residents(1, 1, movable=False), tenants=2), room("b", [], tenants=9)], [],
                     id="not who cannot be moved"),
        pytest.param([room("a", residents(1, 1), tenants=2), room("b", residents(1, prefix="u"), tenants=9),
                      room("c", [], tenants=9)], [("t0", "a", "c")], id="to the emptiest"),
        pytest.param([room("a", residents(1, 1), tenants=2), room("b", [], tenants=9, bytes=1)], [],
                     id="by every measure of the target"),
        pytest.param([room("a", residents(*[1] * 3, connections=30), connections=100), room("b", [])],
                     [("t0", "a", "b")], id="by connections"),
    ],
)  # fmt: skip
def test_who_is_proposed(rooms, moves):
    assert pairs(propose(rooms, {})) == moves


def test_the_words_say_what_is_full():
    (one,) = propose([room("a", residents(1, 1, 1, 1), tenants=4), room("b", [], tenants=9)], {})
    assert one.because == "server a has 100% of its tenants"


def test_who_was_asked_to_go_counts_there_already():
    rooms = [room("a", residents(*[10] * 9), bytes=100), room("b", [], bytes=100)]
    assert pairs(propose(rooms, {"t0": "b", "t1": "b"})) == []
    assert pairs(propose(rooms, {"t5": "b"})) == []
    assert pairs(propose(rooms, {"t5": "nowhere"})) == [("t0", "a", "b"), ("t1", "a", "b")]


sizes = st.lists(st.integers(min_value=0, max_value=60), max_size=12)


@given(st.lists(sizes, min_size=1, max_size=4), st.integers(min_value=0, max_value=12))
def test_what_is_proposed_helps_is_the_same_each_time_and_leads_to_no_other(fleet, capacity):
    rooms = [
        room(f"s{number}", residents(*who, prefix=f"s{number}-"), bytes=200, tenants=capacity)
        for number, who in enumerate(fleet)
    ]
    found = propose(rooms, {})
    assert found == propose([replace(one, residents=one.residents[::-1]) for one in rooms], {})
    assert len({one.id for one in found}) == len(found)

    after = {one.name: {who.id: who for who in one.residents} for one in rooms}
    for move in found:
        after[move.target][move.id] = after[move.source].pop(move.id)
    for one in rooms:
        full = _fullest(one, list(after[one.name].values()))
        if any(move.target == one.name for move in found):
            assert full <= TARGET
        if any(move.source == one.name for move in found):
            assert _fullest(one, list(one.residents)) >= HIGH
    # Each move is made: whoever went stays.
    moved = [replace(one, residents=list(after[one.name].values())) for one in rooms]
    assert not {one.id for one in found} & {one.id for one in propose(moved, {})}


def _fullest(one: Room, who: list[Resident]) -> float:
    def part(measure) -> float:
        taken, most = sum(resident.takes(measure) for resident in who), one.most.get(measure)
        if most is None:
            return 0.0
        return taken / most if most else float(taken > 0)

    return max(part(measure) for measure in MEASURES)
