"""The number of a run is no secret and opens nothing: not to another agent, not at another tenant's, not when it is
over; and no number beside it is a run. Through the gateway, and with the stolen login."""

import asyncio
import uuid

import pytest
from psycopg.types.json import Jsonb

from paybill.agents import names
from paybill.agents.runs import FREE, close_run
from tests.agents import shop
from tests.agents.conftest import Scene, administrator, may, new_shop, scene_of, without
from tests.agents.gateway import LIMITS, TOKEN, mount, say, serving
from tests.agents.test_limits import refused
from tests.databases.servers import start

SALES = "the.sales.token"
SUPPORT, OTHER = shop.policy(limits=LIMITS), shop.policy(agent="sales", limits=LIMITS)
READ, MAKE = "SELECT pba_{}.orders_get('{{\"id\": 2}}')", "SELECT pba_{}.orders_create(%s)"
WHOSE = {"AND r.role = p_role FOR NO KEY UPDATE": "FOR NO KEY UPDATE", "a.policy_hash = v_run.policy_hash": "true"}
"""Two agents have two policies, so another's run is refused twice."""
OVER = {"v_run.closed_time IS NOT NULL": "false", "v_run.deadline <= clock_timestamp()": "false"}
LOCKED, ANSWERED = "pb.locked(uuid,text)", "pb.answered(text,text,jsonb,jsonb)"
FREELY = tuple(may(one, 20, step=FREE) for one in ("get", "create"))


@pytest.fixture(scope="module")
def at():
    """A server as its superuser sees it."""
    return start("Superuser", 18)


@pytest.fixture(scope="module")
def scene(at):
    """A shop with two agents."""
    with new_shop(at) as database:
        made = asyncio.run(scene_of(at, database, limits=LIMITS))
        asyncio.run(made.carry_out(OTHER))
        yield made


@pytest.fixture
async def gateway(scene, tmp_path):
    """What both agents call."""
    await mount(tmp_path, scene, SUPPORT)
    await mount(tmp_path, scene, OTHER, "sales")
    async with serving(tmp_path, tokens={TOKEN: "support", SALES: "sales"}) as made:
        yield made


def as_sales(scene):
    made = Scene(scene.at, scene.database)
    made.role = names.login(shop.TENANT, "sales")
    return made


async def over(scene):
    """A run that was closed and one past its deadline."""
    closed, expired = [await scene.run(*FREELY) for _ in range(2)]
    scene.admin("UPDATE pb.run SET deadline = clock_timestamp() WHERE id = %s", [expired])
    async with administrator(scene.at, scene.database) as admin:
        await close_run(admin, closed, "Cancelled")
    return closed, expired


async def test_attack_16_a_number_is_a_run_of_its_agent_in_its_database_while_it_is_open(scene, gateway):
    run, (closed, expired) = await scene.run(*FREELY), await over(scene)
    theirs = await as_sales(scene).run(*FREELY)
    with new_shop(scene.at) as elsewhere:
        another = await (await scene_of(scene.at, elsewhere)).run(*FREELY)
    beside = [uuid.UUID(int=run.int ^ (1 << bit)) for bit in range(128)]
    async with gateway.client() as client:

        async def asked(number, **more):
            return await say(client, "orders_get", run=str(number), key={"id": 2}, **more)

        for number in (theirs, another, closed, expired, *beside):
            assert await asked(number) == "NoOpenRun", number
        for number in ("", str(run)[:-1], f"{run}' OR '1'='1", f"{run}\x00"):
            assert await asked(number) == "InvalidArguments"
        assert await asked(run, cursor="AAAA") == "InvalidArguments", "there are none that could be another's"
        assert (await asked(run))["row"]["id"] == 2
    async with gateway.client(SALES) as client:
        for number in (run, closed, expired):
            assert await say(client, "orders_get", run=str(number), key={"id": 2}) == "NoOpenRun"
        assert (await say(client, "orders_get", run=str(theirs), key={"id": 2}))["row"]["id"] == 2
    assert scene.admin("SELECT count(*) FROM pb.journal WHERE kind = 'call'") == [(2,)]


async def test_attack_16_with_the_one_check_gone_the_same_call_goes_through(scene, gateway):
    run, (closed, expired) = await scene.run(*FREELY), await over(scene)
    for token, number, parts in ((SALES, run, WHOSE), (TOKEN, closed, OVER), (TOKEN, expired, OVER)):
        async with gateway.client(token) as client:

            async def asked(client=client, number=number):
                return await say(client, "orders_get", run=str(number), key={"id": 2})

            assert await asked() == "NoOpenRun"
            async with without(scene, SUPPORT, LOCKED, parts):
                assert (await asked())["row"]["id"] == 2
            assert await asked() == "NoOpenRun"


async def test_attack_16_the_stolen_login_does_nothing_and_learns_nothing_in_another_agents_run(scene):
    run, (closed, expired) = await scene.run(*FREELY), await over(scene)
    given = Jsonb({"customer_id": 7, "amount": "66.66"})
    with scene.agent(run, FREE) as session:
        session.execute("SELECT set_config('pb.key', 'theirs', false)")
        [made] = session.execute(MAKE.format("support"), [given]).fetchone()
    sales = as_sales(scene)
    for number in (run, closed, expired, uuid.UUID(int=run.int ^ 1)):
        with sales.agent(number, FREE) as session:
            session.execute("SELECT set_config('pb.key', 'theirs', false)")
            assert refused(session, READ.format("sales")) == "PA001"
            assert refused(session, MAKE.format("sales"), given) == "PA001", "what was made there is no answer"
    async with without(scene, OTHER, ANSWERED, {"AND r.role = session_user": ""}):
        with sales.agent(run, FREE) as session:
            session.execute("SELECT set_config('pb.key', 'theirs', false)")
            assert session.execute(MAKE.format("sales"), [given]).fetchone() == (made,)
    assert scene.owner("SELECT count(*) FROM orders WHERE amount = 66.66") == [(1,)]
