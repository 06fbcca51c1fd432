"""An agent is led through its workflow over HTTP, by whichever gateway it happens to reach."""

import asyncio

import pytest

from tests.agents import shop
from tests.agents.conftest import new_shop, scene_of
from tests.agents.gateway import LIMITS, mount, say, serving
from tests.agents.test_leading import WORKFLOW, approve, followed, led
from tests.databases.servers import start


@pytest.fixture(scope="module")
def scene():
    with new_shop(start("Superuser", 18)) as database:
        yield asyncio.run(scene_of(start("Superuser", 18), database, limits=LIMITS))


@pytest.fixture(scope="module")
def folder(scene, tmp_path_factory):
    made = tmp_path_factory.mktemp("mounted")
    asyncio.run(mount(made, scene, shop.policy(limits=LIMITS)))
    return made


async def refused(client, tool, **arguments):
    """The error that a call came to."""
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error, answer.structured_content
    return answer.structured_content["error"]


async def goes_on(client, run):
    """Make the call that comes next exactly as the gateway says it."""
    following = await say(client, "run_next", run=run)
    assert following["next"] in ("call", "compensation"), following
    answer = await say(client, following["tool"], **following["arguments"])
    assert isinstance(answer, dict), answer
    return answer


async def test_attack_34_an_agent_is_led_to_the_end_though_its_gateway_is_another_one_at_every_step(scene, folder):
    """Nothing is kept in a gateway: each is gone after one step, and the next one knows where the run stands."""
    run, seen = str(await led(scene)), []

    async def step(act):
        async with serving(folder) as gateway, gateway.client() as client:
            seen.append(await act(client))

    await step(lambda client: goes_on(client, run))
    assert seen[-1]["row"]["notes"] == {"untrusted": "note 2"}
    await step(lambda client: say(client, "run_next", run=run))
    assert seen[-1] == {"next": "decision", "step": "judge", "out": {"verdict": ["refund", "again", "reject"]}}
    await step(lambda client: say(client, "run_decide", run=run, values={"verdict": "refund"}))
    assert (seen[-1]["step"], seen[-1]["tool"]) == ("note", "orders_create")
    await step(lambda client: goes_on(client, run))
    await step(lambda client: say(client, "run_next", run=run))
    assert seen[-1] == {
        "next": "approval", "step": "ask", "tool": "orders_update",
        "arguments": {"key": {"id": 2}, "values": {"status": "refund_requested"}, "ifMatch": 1},
    }  # fmt: skip
    assert await approve(scene, run) == ""
    await step(lambda client: goes_on(client, run))
    await step(lambda client: goes_on(client, run))
    await step(lambda client: say(client, "run_next", run=run))
    assert seen[-1] == {"next": "done", "step": "tell", "ending": "Succeeded", "reason": ""}
    assert (await followed(scene, run)).ending == "Succeeded"
    assert scene.owner("SELECT status::text FROM orders WHERE id = 2") == [("refund_requested",)]


async def test_attack_19_a_wrong_step_is_answered_with_the_one_that_comes_next(scene, folder):
    run = str(await led(scene, order=4))
    mark = {"key": {"id": 4}, "values": {"status": "refund_requested"}, "ifMatch": 1, "idempotencyKey": "a"}
    async with serving(folder) as gateway, gateway.client() as client:
        allowed = {"run": run, "step": "load", "key": {"id": 4}}
        for tool, said in (
            ("orders_update", {**mark, "step": "mark"}), ("orders_update", mark), ("orders_list", {}),
            ("orders_get", {"key": {"id": 2}}), ("orders_get", {"key": {"id": 4}, "step": "judge"}),
            ("run_decide", {"values": {"verdict": "refund"}}), ("run_fail", {"step": "mark"}),
        ):  # fmt: skip
            error = await refused(client, tool, run=run, **said)
            assert (error["code"], error["retry"]) == ("NotNext", False), tool
            assert error["next"] == {"next": "call", "step": "load", "tool": "orders_get", "arguments": allowed}
        assert (await say(client, "orders_get", **allowed))["row"]["id"] == 4
        assert (await refused(client, "run_decide", run=run, values={"verdict": "all"}))["code"] == "InvalidArguments"
        assert (await refused(client, "run_decide", run=run, values={"verdict": 7}))["code"] == "InvalidArguments"
        assert (await say(client, "run_next", run=run))["next"] == "decision"


async def test_a_run_that_cannot_go_on_is_given_up_and_undone(scene, folder):
    run = str(await led(scene, order=6))
    scene.owner("UPDATE comments SET order_id = NULL WHERE id = 6")
    async with serving(folder) as gateway, gateway.client() as client:
        await goes_on(client, run)
        await say(client, "run_decide", run=run, values={"verdict": "refund"})
        await goes_on(client, run)
        assert await approve(scene, run) == ""
        await goes_on(client, run)
        undoes = await say(client, "run_fail", run=run)
        assert undoes == {
            "next": "compensation", "step": "mark", "tool": "orders_update",
            "arguments": {"run": run, "step": "mark", "key": {"id": 6}, "values": {"status": "open"}, "ifMatch": 1,
                          "idempotencyKey": "undo-mark-1"},
        }  # fmt: skip
        assert await goes_on(client, run) == {"rows": 1}
        assert await say(client, "run_next", run=run) == {
            "next": "done", "step": "tell", "ending": "Failed", "reason": "GivenUp",
        }  # fmt: skip


async def test_a_strangers_text_is_marked_where_it_fills_an_argument(scene, folder):
    step = {"name": "copy", "uses": "orders.update",
            "with": {"id": "$input.order", "notes": "$steps.load.notes", "ifMatch": "$steps.load.version"}}  # fmt: skip
    run = str(await led(scene, order=8, steps=[{**WORKFLOW["steps"][0], "next": [{"to": "copy"}]}, step]))
    async with serving(folder) as gateway, gateway.client() as client:
        await goes_on(client, run)
        following = await say(client, "run_next", run=run)
        assert following["arguments"]["values"] == {"notes": {"untrusted": "note 8"}}
        said = {**following["arguments"], "values": {"notes": "note 8"}}
        assert await say(client, "orders_update", **said) == {"rows": 1}


async def test_a_run_that_no_workflow_leads_says_so(scene, folder):
    run = str(await scene.run())
    async with serving(folder) as gateway, gateway.client() as client:
        assert await say(client, "run_next", run=run) == {"next": "free"}
        assert await say(client, "orders_get", run=run, key={"id": 2}) == "NotGranted"
