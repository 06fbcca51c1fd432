"""A run that failed is undone, whoever is cut off meanwhile: each step once, the last first; what cannot be is said."""

import asyncio
import copy

import psycopg
import pytest

from paybill.agents.interpreter import Done
from tests.agents.conftest import new_shop, scene_of, without
from tests.agents.shop import policy
from tests.agents.test_leading import LIMITS, UPDATE, WORKFLOW, Agent, followed, led
from tests.databases.servers import start

BACK = {"uses": "orders.update", "with": {"id": "$input.order", "status": "open", "ifMatch": "$steps.load.version"}}
MARK = {
    "name": "mark", "uses": "orders.update", "compensate": BACK,
    "with": {"id": "$input.order", "status": "refund_requested", "ifMatch": "$steps.load.version"},
    "next": [{"to": "other"}],
}  # fmt: skip
OTHER = {
    "name": "other", "uses": "orders.update", "next": [{"to": "tell"}],
    "with": {"id": "4", "notes": "marked", "ifMatch": "1"},
    "compensate": {"uses": "orders.update", "with": {"id": "4", "notes": "unmarked", "ifMatch": "1"}},
}  # fmt: skip
LOAD = {**WORKFLOW["steps"][0], "next": [{"to": "mark"}]}
STEPS = [LOAD, MARK, OTHER, WORKFLOW["steps"][-1]]
GET = "SELECT pba_support.orders_get(%s)"
DO = (UPDATE, {"id": 2}, {"status": "refund_requested"}, "1")
UNDO = (UPDATE, {"id": 2}, {"status": "open"}, "1")
DO_OTHER = (UPDATE, {"id": 4}, {"notes": "marked"}, "1")
UNDO_OTHER = (UPDATE, {"id": 4}, {"notes": "unmarked"}, "1")


@pytest.fixture(scope="module")
def scene():
    """An agent in a shop."""
    with new_shop(start("Superuser", 18)) as database:
        yield asyncio.run(scene_of(start("Superuser", 18), database, limits=LIMITS))


@pytest.fixture
async def failed(scene):
    """A run that did two things and failed: both are to be undone."""
    scene.owner("UPDATE orders SET status = 'open', notes = 'as it was', version = 1 WHERE id IN (2, 4)")
    run = await led(scene, steps=copy.deepcopy(STEPS))
    with Agent(scene, run) as agent:
        agent.does(GET, {"id": 2})
        assert [agent.does(*DO), agent.does(*DO_OTHER)] == [1, 1]
        assert agent.fails("tell")["step"] == "other"
    return run


def rows(scene):
    return scene.owner("SELECT status::text, notes FROM orders WHERE id IN (2, 4) ORDER BY id")


MARKED = [("refund_requested", "as it was"), ("open", "marked")]


async def test_attack_38_only_the_last_thing_that_was_done_is_undone_next(scene, failed):
    with Agent(scene, failed) as agent:
        assert agent.does(*UNDO) == "PA002", "the last first"
        assert agent.does(*DO) == "PA002"
        assert agent.does(UPDATE, {"id": 4}, {"notes": "something else"}, "1") == "PA002"
        assert rows(scene) == MARKED
        # What holds it is that the database compares: without that the undoing writes what its agent likes.
        exchanged = {"pb.equal(p_call -> 'arguments', p_arguments, p_types)": "true"}
        async with without(scene, policy(limits=LIMITS), "pb.fits(jsonb,text,jsonb,jsonb)", exchanged):
            assert agent.does(UPDATE, {"id": 4}, {"notes": "something else"}, "1") == 1
    assert rows(scene)[1] == ("open", "something else")


async def test_attack_38_what_cannot_be_undone_is_left_as_it_is_and_named_and_the_rest_is_undone(scene, failed):
    scene.owner("UPDATE orders SET version = 2, notes = 'a person was here' WHERE id = 4")
    with Agent(scene, failed) as agent:
        assert agent.does(*UNDO_OTHER) == "PA007", "somebody changed it since"
        assert agent.does(UPDATE, {"id": 4}, {"notes": "unmarked"}, "2") == "PA002", "nor by what was not read"
        assert agent.fails("other", "PA007")["step"] == "mark"
        assert agent.does(*UNDO) == 1
        ended = agent.next
    assert (ended["next"], ended["ending"], ended["reason"]) == ("done", "Failed", "23505, and other was not undone")
    assert rows(scene) == [("open", "as it was"), ("open", "a person was here")]
    assert isinstance(await followed(scene, failed), Done)


async def test_attack_34_a_session_that_ends_while_it_undoes_has_undone_nothing_and_the_next_one_does_it_once(
    scene, failed
):
    with Agent(scene, failed) as agent:
        agent.session.execute("BEGIN")
        assert agent.does(*UNDO_OTHER) == 1
        [(backend,)] = agent.session.execute("SELECT pg_backend_pid()").fetchall()
        scene.admin("SELECT pg_terminate_backend(%s, 60000)", [backend])
        with pytest.raises(psycopg.OperationalError):
            agent.session.execute("COMMIT")
    assert rows(scene) == MARKED
    with Agent(scene, failed) as agent:
        assert agent.stands() == ("compensation", "other")
        assert [agent.does(*UNDO_OTHER), agent.does(*UNDO_OTHER)] == [1, 1], "once, and answered again"
        assert [agent.does(*UNDO), agent.does(*UNDO)] == [1, 1]
        assert agent.next["next"] == "done"
    assert rows(scene) == [("open", "as it was"), ("open", "unmarked")]
    undone = "SELECT count(*) FROM pb.journal WHERE run = %s AND kind = 'compensation'"
    assert scene.admin(undone, [failed]) == [(2,)]
    assert scene.admin("SELECT rows_written FROM pb.run WHERE id = %s", [failed]) == [(4,)]
    assert isinstance(await followed(scene, failed), Done)
