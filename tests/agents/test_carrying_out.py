"""A plan makes the database what the policy says, once; and it is known when the database is that no longer."""

import pytest
from psycopg.types.json import Jsonb as Json

from paybill.agents.drift import drifted, scan
from paybill.api.failures import Retry
from tests.agents import shop
from tests.agents.conftest import administrator, may, scene_of


@pytest.fixture
async def scene(at, database):
    return await scene_of(at, database)


async def test_a_plan_that_was_carried_out_is_not_carried_out_again(scene):
    assert await scene.carry_out(shop.policy()) == ()


async def test_the_agent_does_what_its_policy_says_through_the_gates(scene):
    run = await scene.run(
        may("get"), may("list", 20), may("aggregate", 50), may("create"), may("update"),
        may("list", 20, collection="comments"), may("delete", collection="comments"),
    )  # fmt: skip
    with scene.agent(run) as agent:
        one = lambda query, *values: agent.execute(query, values).fetchone()[0]  # noqa: E731
        order = one("SELECT pba_support.orders_get('{\"id\": 2}')")
        assert (order["id"], order["amount"], order["status"]) == (2, "2.00", "open")
        assert "region" not in order
        sort = Json([{"field": "amount"}])
        listed = agent.execute("SELECT pba_support.orders_list(sort => %s, most => 3)", [sort]).fetchall()
        assert [row["id"] for (row,) in listed] == [2, 4, 6]
        assert one("SELECT pba_support.orders_aggregate('count')") == {"group": None, "value": "50"}
        made = one('SELECT pba_support.orders_create(\'{"customer_id": 1, "amount": "12.50"}\')')
        assert made == {"id": 1001}
        assert one("SELECT pba_support.orders_update('{\"id\": 1001}', '{\"status\": \"refund_requested\"}', '1')") == 1
    assert scene.owner("SELECT region, status::text, amount FROM orders WHERE id = 1001")[0][:2] == (
        "eu", "refund_requested",
    )  # fmt: skip
    assert scene.admin("SELECT calls, rows_read, rows_written FROM pb.run WHERE id = %s", [run]) == [(5, 5, 2)]


async def test_the_tenants_own_programs_go_on_as_before(scene):
    with scene.login(shop.APP, "app") as app:
        app.execute(f"SET search_path = {shop.SCHEMA}")
        assert app.execute("SELECT count(*) FROM orders WHERE id <= 100").fetchone() == (100,)
        app.execute("UPDATE orders SET notes = notes WHERE id <= 10")
        app.execute("INSERT INTO orders (customer_id, region, amount) VALUES (1, 'us', 1)")
        app.execute("SELECT pg_advisory_lock(1), pg_sleep(0) FROM pg_roles LIMIT 1")
        app.execute("DO $$ BEGIN NULL; END $$")
    assert await scene.carry_out(shop.policy()) == ()


async def test_what_changed_since_somebody_looked_is_not_taken_for_the_plans(scene):
    """It would be in the state that the plan is said to have left, and never be found again."""
    async with administrator(scene.at, scene.database) as session:
        seen = await scan(session, shop.TENANT, "support", shop.SCHEMA, scene.database)
    scene.owner("CREATE POLICY everybody ON orders USING (true)")
    with pytest.raises(Retry, match="row policies changed while an agent's plan was carried out"):
        await scene.carry_out(shop.policy(), accepted=seen)
    async with administrator(scene.at, scene.database) as session:
        assert await drifted(session, shop.TENANT, "support", shop.SCHEMA, scene.database) == ("row policies",)

    await scene.carry_out(shop.policy(), accepted=None)
    async with administrator(scene.at, scene.database) as session:
        assert await drifted(session, shop.TENANT, "support", shop.SCHEMA, scene.database) == (), (
            "without the look it is"
        )
