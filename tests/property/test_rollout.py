"""A rollout keeps under its ceiling, comes to its end, and is the same whoever computes it; so is placement."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from paybill.api.cell import Cell
from paybill.api.failures import Blocked
from paybill.lifecycle.placement import HOLDS, capacity, choose
from paybill.lifecycle.rollout import Member, ceiling, plan_wave

ceilings = st.one_of(st.integers(1, 100).map(lambda share: f"{share}%"), st.integers(1, 9).map(str))
members = st.lists(
    st.builds(
        Member,
        id=st.from_regex("[0-9a-z]{8}", fullmatch=True),
        revision=st.sampled_from(["new", "old", "older"]),
        ready=st.booleans(),
        failed=st.booleans(),
        pinned=st.booleans(),
        held=st.booleans(),
    ),
    unique_by=lambda one: one.id,
    max_size=30,
)


@given(members, ceilings, st.booleans())
def test_never_more_are_in_change_than_the_ceiling(fleet, most, pause):
    wave = plan_wave(fleet, "new", max_unavailable=most, pause_on_failure=pause)
    followers = [one for one in fleet if not one.pinned]
    moving = [one for one in followers if one.revision == "new" and not one.ready and not one.failed]
    assert len(wave.admitted) + len(moving) <= max(ceiling(most, len(followers)), len(moving))
    assert wave.admitted <= {one.id for one in followers if one.revision != "new" and not one.held}


@given(members, ceilings, st.booleans(), st.data())
def test_the_same_tenants_have_their_turn_in_whatever_order_they_are_listed(fleet, most, pause, data):
    other = data.draw(st.permutations(fleet))
    one, two = (plan_wave(each, "new", max_unavailable=most, pause_on_failure=pause) for each in (fleet, other))
    assert one == two


@given(members, ceilings, st.data())
def test_a_rollout_in_which_nobody_fails_ends_with_everybody_who_may_move(fleet, most, data):
    """Each round some of those admitted take the step and some of those moving become Ready, in any order."""
    fleet = {one.id: replace(one, failed=False) for one in fleet}
    movable = {one.id for one in fleet.values() if not one.pinned and not one.held}
    for _ in range(20 * len(fleet) + 1):
        wave = plan_wave(list(fleet.values()), "new", max_unavailable=most, pause_on_failure=True)
        moving = [one for one in fleet.values() if one.revision == "new" and not one.ready]
        if not wave.admitted and not moving:
            break
        # At least one makes a step; which ones is chance.
        steps = sorted(wave.admitted) + sorted(one.id for one in moving)
        chosen = data.draw(st.lists(st.sampled_from(steps), min_size=1, unique=True))
        for name in chosen:
            arriving = name not in wave.admitted
            fleet[name] = replace(fleet[name], revision="new", ready=arriving)
    assert {one.id for one in fleet.values() if one.revision == "new"} >= movable
    assert not wave.admitted


@given(st.lists(st.from_regex("[0-9a-z]{8}", fullmatch=True), unique=True, max_size=20), ceilings, st.data())
def test_from_a_settled_fleet_the_ceiling_holds_at_every_moment(ids, most, data):
    fleet = {name: Member(id=name, revision="old", ready=True) for name in ids}
    while True:
        wave = plan_wave(list(fleet.values()), "new", max_unavailable=most, pause_on_failure=True)
        moving = sorted(name for name, one in fleet.items() if not one.ready)
        assert len(moving) <= ceiling(most, len(fleet))
        if not wave.admitted and not moving:
            break
        name = data.draw(st.sampled_from([*sorted(wave.admitted), *moving]))
        fleet[name] = replace(fleet[name], revision="new", ready=name in moving)
    assert all(one.revision == "new" and one.ready for one in fleet.values())


@given(members, ceilings)
def test_a_paused_rollout_admits_nobody(fleet, most):
    wave = plan_wave(fleet, "new", max_unavailable=most, pause_on_failure=True)
    if any(one.failed and one.revision == "new" and not one.pinned for one in fleet):
        assert wave.admitted == frozenset()


servers = st.lists(
    st.tuples(st.sampled_from(["Rows", "Schemas", "Databases"]), st.integers(0, 3), st.integers(0, 3)), max_size=4
)


@given(st.lists(st.tuples(st.booleans(), servers), min_size=1, max_size=3), st.data())
def test_tenants_are_placed_until_everything_is_full_and_no_further(declared, data):
    cells = {}
    for number, (default, each) in enumerate(declared):
        made = [
            {
                "name": f"s{index}",
                "holds": holds,
                "adminSecretRef": {"name": "admins", "key": "k"},
                "capacity": {"rows": rows, "schemas": schemas},
            }
            for index, (holds, rows, schemas) in enumerate(each)
        ]
        spec = {"provider": "Embedded", "default": default, "servers": made}
        cells[f"c{number}"] = Cell.model_validate({"metadata": {"name": f"c{number}"}, "spec": spec})
    level = data.draw(st.sampled_from(sorted(HOLDS)))
    room = {
        (name, server.name): capacity(server)
        for name, cell in cells.items() if cell.spec.default
        for server in cell.spec.servers if server.holds == HOLDS[level]
    }  # fmt: skip
    counts: dict[tuple[str, str], int] = {}
    for _ in range(sum(room.values())):
        place = choose(cells, None, level, counts)
        assert place == choose(dict(reversed(cells.items())), None, level, counts)
        counts[place.cell, place.server] = counts.get((place.cell, place.server), 0) + 1
    assert counts == {key: count for key, count in room.items() if count}
    try:
        choose(cells, None, level, counts)
    except Blocked:
        return
    raise AssertionError("one too many was placed")
