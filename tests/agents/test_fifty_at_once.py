"""Fifty sessions that ask at the same moment: none of the budgets is exceeded by one, whichever it is."""

import asyncio

import pytest
from psycopg.types.json import Jsonb

from tests.agents.conftest import may, new_shop, scene_of
from tests.agents.test_limits import LIMITS, THREADS, at_once, refused
from tests.databases.servers import start

MOST = 30
ROOM = {**LIMITS, "callsPerMinute": 100_000, "rowsReadPerDay": 100_000, "rowsWrittenPerDay": 100_000,
        "statementTimeout": "60s"}  # fmt: skip
GET, MAKE = "SELECT pba_support.orders_get('{\"id\": 2}')", "SELECT pba_support.orders_create(%s)"
ORDER = Jsonb({"customer_id": 7, "amount": "1"})
READS = "SELECT COALESCE(pg_sequence_last_value('pb.reads_support'), 0)"
SPANS = "SELECT used FROM pb.usage WHERE role = %s AND span = %s ORDER BY start"


@pytest.fixture(scope="module")
def scene():
    """An agent with room for all of them at once."""
    at = start("Superuser", 18)
    with new_shop(at) as database:
        yield asyncio.run(scene_of(at, database, limits=ROOM))


@pytest.fixture(autouse=True)
def unused(scene):
    """Nothing was used on this day and in this minute, and everything may be."""
    scene.admin("DELETE FROM pb.usage")
    scene.admin("UPDATE pb.agent SET read_day = '-infinity', rows_written_per_day = 100000, calls_per_minute = 100000")


def get(session, _):
    return refused(session, GET)


def make(session, _):
    return refused(session, MAKE, ORDER)


@pytest.mark.parametrize(("limit", "say"), [
    ({"calls": MOST}, get), ({"rows_read": MOST}, get), ({"rows_written": MOST}, make),
], ids=["calls", "rows-read", "rows-written"])  # fmt: skip
async def test_attack_21_fifty_at_once_never_exceed_what_a_run_has(scene, limit, say):
    run = await scene.run(may("get"), may("create"), **limit)
    assert at_once(scene, run, say) == {"": MOST, "PA003": THREADS - MOST}
    used = "SELECT calls, rows_read + rows_written FROM pb.run WHERE id = %s"
    assert scene.admin(used, [run]) == [(MOST, MOST)]
    assert scene.admin("SELECT count(*) FROM pb.journal WHERE run = %s AND kind = 'call'", [run]) == [(MOST,)]
    without = await scene.run(may("get"), may("create"))
    assert at_once(scene, without, say) == {"": THREADS}


async def test_attack_21_fifty_at_once_never_exceed_what_a_step_has(scene):
    run = await scene.run(may("get", calls=MOST))
    assert at_once(scene, run, get) == {"": MOST, "PA003": THREADS - MOST}
    assert scene.admin("SELECT calls FROM pb.step_grant WHERE run = %s", [run]) == [(MOST,)]


@pytest.mark.parametrize(("column", "span", "say", "state"), [
    ("calls_per_minute", "minute", get, "PA004"), ("rows_written_per_day", "day", make, "PA003"),
])  # fmt: skip
async def test_attack_21_fifty_at_once_over_many_runs_never_exceed_a_minute_or_a_day(scene, column, span, say, state):
    """Each in a run of its own, which has room: what they share is the clock. A new minute is a new budget."""
    runs = [await scene.run(may("get"), may("create")) for _ in range(THREADS)]
    scene.admin(f"UPDATE pb.agent SET {column} = {MOST}")

    def in_its_run(session, number):
        session.execute("SELECT set_config('pb.run', %s, false)", [str(runs[number])])
        return say(session, number)

    ended = at_once(scene, runs[0], in_its_run)
    spans = [used for (used,) in scene.admin(SPANS, [scene.role, span])]
    assert max(spans) <= MOST
    assert ended[""] == sum(spans)
    assert ended.keys() <= {"", state}
    assert ended[""] == MOST or len(spans) > 1
    scene.admin("DELETE FROM pb.usage")
    scene.admin(f"UPDATE pb.agent SET {column} = 100000")
    assert at_once(scene, runs[0], in_its_run) == {"": THREADS}


async def test_attack_21_fifty_at_once_never_exceed_the_rows_to_be_read_on_a_day(scene):
    run = await scene.run(may("get"))
    scene.admin(f"UPDATE pb.agent SET read_ceiling = ({READS}) + {MOST}")
    assert at_once(scene, run, get) == {"": MOST, "PA003": THREADS - MOST}
    assert scene.admin("SELECT rows_read FROM pb.run WHERE id = %s", [run]) == [(MOST,)]


async def test_attack_17_fifty_at_once_with_one_key_change_a_row_once(scene):
    run = await scene.run(may("update"))
    mark = "SELECT pba_support.orders_update('{\"id\": 2}', %s, '1')"

    def change(session, _):
        session.execute("SELECT set_config('pb.key', 'once', false)")
        return refused(session, mark, Jsonb({"notes": "once"}))

    ended = at_once(scene, run, change)
    assert ended.keys() <= {"", "PA005"}
    assert scene.admin("SELECT rows_written, calls FROM pb.run WHERE id = %s", [run]) == [(1, 1)]
    assert scene.owner("SELECT count(*) FROM orders WHERE notes = 'once'") == [(1,)]
    unkeyed = await scene.run(may("update"))
    again = at_once(scene, unkeyed, lambda session, _: refused(session, mark, Jsonb({"notes": "twice"})))
    assert again == {"": THREADS}, "without a key each one is another change"
