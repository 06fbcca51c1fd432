"""The gateway over a real database, spoken to by the SDK's own client over HTTP."""

import asyncio
import contextlib
import uuid

import httpx2
import pytest
from psycopg.sql import SQL, Identifier, Literal

from paybill.agents.journal import verify
from paybill.agents.reading import entries
from paybill.agents.runs import FREE
from paybill.api.failures import Invalid
from paybill.databases.credentials import scram_verifier
from paybill.gateway.mounted import read
from tests.agents import shop
from tests.agents.conftest import PASSWORD, VERSIONS, administrator, may, new_shop, scene_of
from tests.agents.gateway import LIMITS, TOKEN, mount, say, serving
from tests.cluster.waiting import until
from tests.databases.servers import start


@pytest.fixture(scope="module", params=VERSIONS, ids="postgres-{}".format)
def at(request):
    """A server as its superuser sees it."""
    return start("Superuser", request.param)


@pytest.fixture(scope="module")
def scene(at):
    """An agent with room for many calls."""
    with new_shop(at) as database:
        yield asyncio.run(scene_of(at, database, limits=LIMITS))


@pytest.fixture(scope="module")
def folder(scene, tmp_path_factory):
    """What is mounted."""
    made = tmp_path_factory.mktemp("mounted")
    asyncio.run(mount(made, scene, shop.policy(limits=LIMITS)))
    return made


def free(operation, rows=20, **more):
    return may(operation, rows, step=FREE, **more)


async def test_a_get_is_charged_and_journalled(scene, folder):
    run = await scene.run(free("get"))
    async with serving(folder) as gateway, gateway.client() as client:
        assert await say(client, "orders_get", run=str(run), key={"id": 2}) == {
            "row": {
                "id": 2, "customer_id": 3, "amount": "2.00", "status": "open",
                "notes": {"untrusted": "note 2"}, "version": 1,
            }
        }  # fmt: skip
        assert await say(client, "orders_get", run=str(run), key={"id": 1}) == {"row": None}, "a row of the us"
        assert await say(client, "orders_get", run=str(uuid.uuid4()), key={"id": 2}) == "NoOpenRun"
    assert scene.admin("SELECT calls, rows_read FROM pb.run WHERE id = %s", [run]) == [(2, 1)]
    async with administrator(scene.at, scene.database) as admin:
        journal = [entry async for entry in entries(admin, run)]
    assert [(entry.kind, entry.operation, entry.rows) for entry in journal] == [
        ("opened", None, None), ("call", "get", 1), ("call", "get", 0),
    ]  # fmt: skip
    assert verify(journal).intact


async def test_every_operation_through_the_sdks_client(scene, folder):
    run = str(await scene.run(*map(free, ("get", "list", "aggregate", "create", "update"))))
    async with serving(folder) as gateway, gateway.client() as client:
        listed = await say(
            client, "orders_list", run=run, limit=2, where=[{"field": "id", "op": "lte", "value": 8}],
            sort=[{"field": "amount", "descending": True}],
        )  # fmt: skip
        assert [row["id"] for row in listed["rows"]] == [8, 6]
        assert listed["rows"][0]["notes"] == {"untrusted": "note 8"}
        assert len((await say(client, "orders_list", run=run))["rows"]) == 20
        counted = await say(client, "orders_aggregate", run=run, function="count", groupBy="status")
        assert counted["groups"][0]["group"] == "open"
        made = await say(
            client, "orders_create", run=run, idempotencyKey="one", values={"customer_id": 7, "amount": "9.50"}
        )
        changed = await say(
            client, "orders_update", run=run, idempotencyKey="two", key=made["key"],
            values={"status": "refund_requested"}, ifMatch=1,
        )  # fmt: skip
        assert changed == {"rows": 1}
        found = (await say(client, "orders_get", run=run, key=made["key"]))["row"]
        assert (found["amount"], found["status"], found["notes"]) == ("9.50", "refund_requested", None)


async def test_attack_19_a_call_is_part_of_a_step_that_may_do_it_or_is_refused(scene, folder):
    led = str(await scene.run(may("get", step="load"), may("update", step="mark", calls=1)))
    key, change = {"id": 90}, {"values": {"notes": "x"}, "ifMatch": 1}
    async with serving(folder) as gateway, gateway.client() as client:
        assert (await say(client, "orders_get", run=led, step="load", key=key))["row"]["id"] == 90
        for step, code in (("mark", "NotGranted"), ("other", "NotGranted"), ("*", "InvalidArguments")):
            assert await say(client, "orders_get", run=led, step=step, key=key) == code
        assert await say(client, "orders_get", run=led, key=key) == "NotGranted", "a run that a workflow leads"
        mark = {"run": led, "step": "mark", "key": key, **change}
        assert await say(client, "orders_update", idempotencyKey="a", **mark) == {"rows": 1}
        assert await say(client, "orders_update", idempotencyKey="b", **mark) == "BudgetUsedUp"
        assert await say(client, "orders_update", idempotencyKey="a", **mark) == {"rows": 1}, "what was done before"


async def test_a_repeated_write_is_answered_as_the_first_one_and_has_no_second_effect(scene, folder):
    run = str(await scene.run(free("create"), free("update")))
    values = {"customer_id": 7, "amount": "11.11"}
    async with serving(folder) as gateway, gateway.client() as client:

        async def make(key="again", **more):
            return await say(client, "orders_create", run=run, idempotencyKey=key, values={**values, **more})

        first = await make()
        assert "key" in first
        assert await make() == first
        assert await asyncio.gather(*(make() for _ in range(20))) == [first] * 20
        assert await make(amount="11.12") == "KeyUsedBefore"
        changing = {"run": run, "idempotencyKey": "again", "key": first["key"], "values": {"notes": "x"}, "ifMatch": 1}
        assert await say(client, "orders_update", **changing) == "KeyUsedBefore"
        at_once = await asyncio.gather(*(make("new", amount="11.13") for _ in range(20)))
    assert len({str(answer) for answer in at_once}) == 1, at_once
    effects = "SELECT amount::text, count(*) FROM orders WHERE amount::text ~ '^11.1' GROUP BY 1 ORDER BY 1"
    assert scene.owner(effects) == [
        ("11.11", 1), ("11.13", 1),
    ]  # fmt: skip
    assert scene.admin("SELECT calls, rows_written FROM pb.run WHERE id = %s", [run]) == [(2, 2)]


async def test_attack_21_fifty_clients_never_exceed_the_budget_of_a_run(scene, folder):
    run = str(await scene.run(free("update"), rows_written=15))
    async with serving(folder) as gateway, gateway.client() as client:

        async def mark(number):
            key = {"id": 2 + 2 * (number % 40)}
            given = {"run": run, "idempotencyKey": f"mark-{number}", "key": key, "values": {"notes": "m"}, "ifMatch": 1}
            answer = await say(client, "orders_update", **given)
            return answer if isinstance(answer, str) else "done"

        answers = await asyncio.gather(*map(mark, range(50)))
    assert sorted(answers) == ["BudgetUsedUp"] * 35 + ["done"] * 15
    assert scene.admin("SELECT calls, rows_written FROM pb.run WHERE id = %s", [run]) == [(15, 15)]


async def test_attack_28_what_an_agent_is_told_of_a_failure_gives_nothing_away(scene, folder):
    run = str(await scene.run(*map(free, ("get", "list", "create", "update"))))
    made = {"run": run, "idempotencyKey": "k"}
    order = {"customer_id": 1, "amount": "1.00"}
    hidden = [{"field": "internal_margin", "op": "eq", "value": 7}]
    async with serving(folder) as gateway, gateway.client() as client:
        for code, tool, given in (
            ("UnknownTool", "customers_get", {"run": run, "key": {"id": 1}}),
            ("UnknownTool", "orders_delete", {"run": run, "key": {"id": 1}, "idempotencyKey": "k"}),
            ("UnknownTool", "orders_get'; DROP TABLE orders; --", {}),
            ("InvalidArguments", "orders_get", {"run": run, "key": {"id": "2"}}),
            ("InvalidArguments", "orders_get", {"run": run, "key": {"id": 2**63}}),
            ("InvalidArguments", "orders_get", {"run": run, "key": {"id": True}}),
            ("InvalidArguments", "orders_get", {"run": "x", "key": {"id": 2}}),
            ("InvalidArguments", "orders_get", {"run": run, "key": {"id": 2}, "internal_margin": 1}),
            ("InvalidArguments", "orders_list", {"run": run, "where": hidden}),
            ("InvalidArguments", "orders_list", {"run": run, "sort": [{"field": "internal_margin"}]}),
            ("InvalidArguments", "orders_create", {**made, "values": {**order, "amount": "1e400"}}),
            ("InvalidArguments", "orders_create", {**made, "values": {**order, "amount": "NaN"}}),
            ("InvalidArguments", "orders_create", {**made, "values": {**order, "region": "us"}}),
            ("InvalidArguments", "orders_create", {**made, "values": {**order, "notes": "\0"}}),
            ("Refused", "orders_create", {**made, "values": {**order, "amount": "501.00"}}),
            ("Refused", "orders_create", {**made, "values": {**order, "customer_id": 999999}}),
            ("NoSuchRow", "orders_update", {**made, "key": {"id": 1}, "values": {"notes": "x"}, "ifMatch": 1}),
            ("NoSuchRow", "orders_update", {**made, "key": {"id": 2}, "values": {"notes": "x"}, "ifMatch": 99}),
            ("Refused", "orders_update", {**made, "key": {"id": 2}, "values": {"status": "refunded"}, "ifMatch": 1}),
        ):  # fmt: skip
            answer = await client.call_tool(tool, given)
            assert answer.is_error, (code, given)
            [error] = answer.structured_content.values()
            assert error["code"] == code, (given, error)
            assert error.keys() <= {"code", "message", "retry", "problems"}
            said = str([error["message"], [one["problem"] for one in error.get("problems", ())]])
            for word in ("orders", "pba_", "pb.", "constraint", "violates", "SELECT", "region", "eu", scene.database):
                assert word not in said, (word, error)
    assert scene.admin("SELECT calls FROM pb.run WHERE id = %s", [run]) == [(0,)]


async def test_attack_21_what_is_refused_counts_as_a_call(scene, tmp_path):
    await mount(tmp_path, scene, shop.policy(limits={**LIMITS, "callsPerMinute": 3}))
    async with serving(tmp_path) as gateway, gateway.client() as client:
        said = [await say(client, "orders_nothing") for _ in range(4)]
        assert said == ["UnknownTool"] * 3 + ["TooManyCalls"]


async def test_the_list_of_tools_is_the_agents_own_and_the_same_every_time(scene, tmp_path):
    await mount(tmp_path, scene, shop.policy(limits=LIMITS))
    async with serving(tmp_path, tokens={"the.first.token": "support", "no.bodys.token": "nobody"}) as gateway:
        async with gateway.client("the.first.token") as client:
            first, second = await client.list_tools(), await client.list_tools()
        assert [tool.name for tool in first.tools] == [
            "comments_delete", "comments_get", "comments_list", "orders_aggregate", "orders_create", "orders_get",
            "orders_list", "orders_update", "run_decide", "run_fail", "run_next",
        ]  # fmt: skip
        assert first == second
        assert first.cache_scope == "private"
        hints = {tool.name: tool.annotations for tool in first.tools}
        assert hints["orders_get"].read_only_hint
        assert hints["comments_delete"].destructive_hint
        assert "internal_margin" not in first.model_dump_json()
        assert (await gateway.post(Authorization="Bearer no.bodys.token")).status_code == 401
        assert (await gateway.post(Authorization=None)).status_code == 401
        assert (await gateway.post(Host="evil.test")).status_code == 421
        assert (await gateway.post(Origin="https://evil.test")).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"[]", 400), (b"{", 400), (b"[" * 100_000, 400), (b"\xff\xfe", 400), (b'{"a":' * 50_000, 400),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"orders_get"}}', 400),
        (b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"tools/list"}', 400), (b" " * 1_048_577, 413),
    ],
    ids=range(9),
)  # fmt: skip
async def test_attack_30_a_body_that_is_no_request_is_refused_and_nothing_breaks(folder, body, status):
    async with serving(folder) as gateway:
        answer = await gateway.post(body, **{"MCP-Protocol-Version": "2026-07-28"})
        assert answer.status_code == status, answer.text
        assert "Traceback" not in answer.text
        async with gateway.client() as client:
            assert (await client.list_tools()).tools


async def test_a_password_that_is_rotated_costs_no_call_whichever_of_both_hears_of_it_first(scene, tmp_path):
    await mount(tmp_path, scene, shop.policy(limits=LIMITS))
    run, uri = str(await scene.run(free("get"))), tmp_path / "support.uri"
    role = Identifier(scene.role)

    def in_the_database(password):
        scene.at.run(SQL("ALTER ROLE {} PASSWORD {}").format(role, Literal(scram_verifier(password, iterations=16))))

    def in_the_files(password):
        uri.write_text(uri.read_text().replace(PASSWORD, password))

    def sessions():
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND application_name = 'paybill-gateway'"
        return scene.admin(query, [scene.role])[0][0]

    async with contextlib.AsyncExitStack() as stack:
        stack.callback(in_the_database, PASSWORD)
        gateway = await stack.enter_async_context(serving(tmp_path))
        client = await stack.enter_async_context(gateway.client())

        async def answered():
            answer = await client.call_tool("orders_get", {"run": run, "key": {"id": 2}})
            return answer.structured_content.get("row", {}).get("id") == 2

        assert await until(answered, seconds=60)
        assert sessions() == 1
        in_the_files("another")
        assert await gateway.served.take_up()
        assert await answered(), "the session that is there goes on, though no new one could be made"
        in_the_database("another")
        assert await answered()
        assert sessions() == 1, "nobody has logged in again"
        scene.at.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", None, [scene.role])
        assert await until(answered, seconds=90), "and a new one logs in with what is mounted now"


async def test_what_is_mounted_anew_is_served_and_what_cannot_be_read_changes_nothing(scene, tmp_path):
    await mount(tmp_path, scene, shop.policy(limits=LIMITS))
    run = str(await scene.run(free("get")))
    async with serving(tmp_path) as gateway:
        served = gateway.served
        async with gateway.client() as client:
            assert not await served.take_up()
            (tmp_path / "support.schema.json").write_text("{")
            with pytest.raises(Invalid, match=r"support\.schema\.json holds no tables"):
                await served.take_up()
            assert "row" in await say(client, "orders_get", run=run, key={"id": 2})
            await mount(tmp_path, scene, shop.policy(limits={**LIMITS, "callsPerMinute": 7}))
            assert await served.take_up()
            assert "row" in await say(client, "orders_get", run=run, key={"id": 2})
        for path in tmp_path.iterdir():
            path.unlink()
        assert await served.take_up()
        assert (await gateway.post()).status_code == 401


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"uri": "postgresql://postgres@127.0.0.1/shop"}, "is not of the login of agent support"),
        ({"uri": "postgresql://pba_shop0001_a_other@127.0.0.1/shop"}, "is not of the login of agent support"),
        ({"uri": "postgresql://x:the-secret@[::1"}, "no connection string"),
        ({"policy": "agent: ["}, "is no YAML"),
        ({"policy": "[]"}, "holds no AgentPolicy"),
    ],
    ids=str,
)
async def test_attack_a_gateway_takes_no_other_login_than_the_agents(scene, tmp_path, change, said):
    await mount(tmp_path, scene, shop.policy(limits=LIMITS))
    for what, text in change.items():
        (tmp_path / f"support.{what}{'.yaml' if what == 'policy' else ''}").write_text(text)
    with pytest.raises(Invalid, match=said) as failure:
        read(tmp_path, shop.TENANT)
    assert "the-secret" not in str(failure.value)


async def test_two_agents_of_one_account_are_refused(scene, tmp_path):
    subjects = [{"serviceAccount": {"namespace": "shop", "name": "bot"}}]
    for agent in ("support", "sales"):
        await mount(tmp_path, scene, shop.policy(agent=agent, limits=LIMITS, subjects=subjects), agent)
    with pytest.raises(Invalid, match="is a subject of agent"):
        read(tmp_path, shop.TENANT)


async def test_the_logs_and_the_metrics_hold_nothing_of_what_was_said(scene, folder, caplog):
    caplog.set_level("DEBUG", "paybill")
    run = str(await scene.run(free("get"), free("create")))
    async with serving(folder) as gateway, gateway.client() as client:
        values = {"customer_id": 7, "amount": "1.00", "notes": "canary-in-the-notes"}
        await say(client, "orders_create", run=run, idempotencyKey="canary-key", values=values)
        await say(client, "canary_tool", run=run)
        async with httpx2.AsyncClient() as http:
            shown = (await http.get(f"{gateway.probes}/metrics")).text
    assert "agent support: orders_create: ok" in caplog.text
    assert 'paybill_gateway_calls_total{agent="support",outcome="ok",tool="orders_create"}' in shown
    for text in (shown, caplog.text):
        assert "canary" not in text
        assert PASSWORD not in text
        assert TOKEN not in text
