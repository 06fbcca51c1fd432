"""There is no dry run of a call: what looks like one is refused, leaves nothing behind, or is a call like any other."""

import asyncio

import pytest
from psycopg.types.json import Jsonb

from tests.agents import shop
from tests.agents.conftest import may, new_shop, scene_of
from tests.agents.gateway import LIMITS, mount, say, serving
from tests.agents.test_limits import refused
from tests.databases.servers import start

POLICY = shop.policy(limits=LIMITS)
GET, MAKE = "SELECT pba_support.orders_get('{\"id\": 2}')", "SELECT pba_support.orders_create(%s)"
ORDER = {"customer_id": 7, "amount": "44.44"}
TRACES = (
    "SELECT (SELECT count(*) FROM pb.journal), (SELECT count(*) FROM pb.answer), (SELECT sum(calls) FROM pb.run),"
    f" (SELECT count(*) FROM {shop.SCHEMA}.orders), (SELECT last_value FROM {shop.SCHEMA}.orders_id_seq),"
    " (SELECT last_value FROM pb.reads_support)"
)


@pytest.fixture(scope="module")
def scene():
    """A shop."""
    at = start("Superuser", 18)
    with new_shop(at) as database:
        yield asyncio.run(scene_of(at, database, limits=LIMITS))


async def test_attack_39_what_asks_for_a_dry_run_is_no_call_and_leaves_no_trace(scene, tmp_path):
    run = str(await scene.run(may("get", step="*"), may("create", step="*")))
    await mount(tmp_path, scene, POLICY)
    async with serving(tmp_path) as gateway, gateway.client() as client:
        before = scene.admin(TRACES)
        for more in ({"dryRun": True}, {"dry_run": "All"}, {"preview": True}, {"explain": True}):
            call = {"run": run, "idempotencyKey": "a", "values": ORDER, **more}
            assert await say(client, "orders_create", **call) == "InvalidArguments"
            assert await say(client, "orders_get", run=run, key={"id": 2}, **more) == "InvalidArguments"
        assert scene.admin(TRACES) == before
        assert "key" in await say(client, "orders_create", run=run, idempotencyKey="a", values=ORDER)
        assert scene.admin(TRACES) != before, "the same call without that word"


async def test_attack_39_explaining_a_call_is_none_and_analyzing_it_is_one_like_any_other(scene):
    run = await scene.run(may("get"), may("create"))
    with scene.agent(run) as session:
        before = scene.admin(TRACES)
        session.execute(f"EXPLAIN {GET}")
        session.execute("PREPARE one AS " + GET)
        session.execute("EXPLAIN EXECUTE one")
        assert scene.admin(TRACES) == before, "planned, and not done"
        for hidden in (f"SELECT FROM {shop.SCHEMA}.orders WHERE id = 1", "SELECT FROM pb.journal"):
            assert refused(session, f"EXPLAIN {hidden}") == "42501", "how many rows a plan expects is told to nobody"
        assert refused(session, f"EXPLAIN ANALYZE {GET}") == ""
        assert scene.admin("SELECT calls, rows_read FROM pb.run WHERE id = %s", [run]) == [(1, 1)]
        scene.admin(f'GRANT USAGE ON SCHEMA {shop.SCHEMA} TO "{scene.role}"')
        scene.admin(f'GRANT SELECT (id) ON {shop.SCHEMA}.orders TO "{scene.role}"')
        try:
            assert refused(session, f"EXPLAIN SELECT id FROM {shop.SCHEMA}.orders WHERE id = 1") == "", "granted"
        finally:
            await scene.carry_out(POLICY)
    with scene.agent(await scene.run()) as session:
        assert refused(session, f"EXPLAIN ANALYZE {GET}") == "PA002"


async def test_attack_39_a_write_that_is_taken_back_leaves_a_number_and_nothing_else(scene):
    run = await scene.run(may("create"))
    with scene.agent(run) as session:
        [before] = scene.admin(TRACES)
        session.execute("BEGIN")
        session.execute(MAKE, [Jsonb(ORDER)])
        session.execute("ROLLBACK")
        [after] = scene.admin(TRACES)
        assert (after[:4], after[5]) == (before[:4], before[5])
        assert after[4] == before[4] + 1, "Postgres gives no number of a sequence twice"
        session.execute(MAKE, [Jsonb(ORDER)])
        assert scene.admin(TRACES)[0][:4] != before[:4]
