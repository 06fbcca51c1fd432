"""A run is played again from what is kept of it: it is the same, or the first place is found where it was altered."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
import yaml
from click.testing import CliRunner

from paybill.agents.interpreter import parted
from paybill.agents.journal import verify
from paybill.agents.leading import story
from paybill.agents.reading import entries, heads
from paybill.agents.replay import differences, what_if
from paybill.agents.runs import close_run
from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.cli.main import main
from tests.agents import shop
from tests.agents.conftest import administrator, new_shop, scene_of
from tests.agents.test_journal_attacks import REHASH
from tests.agents.test_leading import DELETE, GET, LIMITS, MARK, NOTE, WORKFLOW, Agent, approve, led
from tests.databases.servers import start


@pytest.fixture(scope="module")
def told():
    """A run that went from its first step to its last one: seq 2 load, 3 judge, 4 note, 5 ask, 6 mark, 7 tell."""
    with new_shop(start("Superuser", 18)) as database:
        yield asyncio.run(_told(database))


async def _told(database):
    scene = await scene_of(start("Superuser", 18), database, limits=LIMITS)
    scene.ran = await led(scene)
    with Agent(scene, scene.ran) as agent:
        agent.does(GET, {"id": 2})
        agent.decides(verdict="refund")
        agent.does(*NOTE)
        assert await approve(scene, scene.ran) == ""
        agent.does(*MARK)
        agent.does(DELETE, {"id": 2})
    async with administrator(scene.at, database) as admin:
        await close_run(admin, scene.ran, "Succeeded")
    return scene


async def found(told, *statements):
    """The places that a replay names after the database's owner said ``statements``, and whether the chain is whole."""
    async with administrator(told.at, told.database) as admin, admin.transaction(force_rollback=True):
        await admin.execute(REHASH)
        for one in statements:
            await admin.execute(one.format(run=told.ran))
        read, journal = await story(admin, told.ran), [one async for one in entries(admin, told.ran)]
        chain = verify(journal, (), [one for one in await heads(admin) if one.writer == told.ran])
    return [one.seq for one in differences(read, journal)], chain.intact, read


async def test_a_run_that_nobody_touched_is_the_same(told):
    places, whole, read = await found(told)
    assert (places, whole) == ([], True)
    assert [one.event.kind for one in read.told] == ["call", "decision", "call", "approval", "call", "call"]


VALUE = "UPDATE pb.value SET \"values\" = '{to}' WHERE run = '{{run}}' AND seq = {seq}"
ANEW = (
    "SELECT pg_temp.rehash('{{run}}', {seq}, 99)",
    "UPDATE pb.run r SET head = j.hash FROM pb.journal j WHERE r.id = '{{run}}' AND j.run = r.id AND j.seq = r.seq",
)
BOUND = (
    "UPDATE pb.journal SET digest = pb.digest(pb.canonical((SELECT {what} FROM pb.value v WHERE v.run = '{{run}}'"
    " AND v.seq = {seq}))) WHERE run = '{{run}}' AND seq = {seq}"
)
CALL = "jsonb_build_object('effect', v.effect, 'call', v.call, 'values', v.\"values\", 'error', v.error)"


def altered(seq, to):
    return VALUE.format(seq=seq, to=to.replace("{", "{{").replace("}", "}}"))


def covered(seq, what):
    """Whoever owns the database writes the journal anew to fit."""
    return [one.format(seq=seq, what=what) for one in (BOUND, *ANEW)]


FORGED = {
    # what was done: the places a replay names, and those left when the journal was written anew to fit
    "a-decision": ([altered(3, '{"verdict": "reject"}')], [3, 4], covered(3, 'v."values"'), [4]),
    "what-filled-an-argument": ([altered(2, '{"version": 7, "customer_id": 3}')], [2, 5], covered(2, CALL), [5]),
    "another-value": ([altered(2, '{"version": 1, "customer_id": 4}')], [2, 4], covered(2, CALL), [4]),
    "a-call-that-failed": (
        ["UPDATE pb.value SET error = 'PA007' WHERE run = '{run}' AND seq = 6"], [6, 7], covered(6, CALL), [7],
    ),
    "an-approval-denied": (["UPDATE pb.journal SET rows = 0 WHERE run = '{run}' AND seq = 5"], [5], [], None),
    "an-approval-taken-out": (["DELETE FROM pb.value WHERE run = '{run}' AND seq = 5"], [5, 6], [], None),
    "the-last-step-taken-out": (["DELETE FROM pb.value WHERE run = '{run}' AND seq = 7"], [7, 8], [], None),
    "the-input": (["UPDATE pb.run SET input = '{{\"order\": \"4\"}}' WHERE id = '{run}'"], [2], [], None),
    "the-ending": (["UPDATE pb.journal SET digest = 'Failed' WHERE run = '{run}' AND kind = 'closed'"], [8],
                   [one.format(seq=8) for one in ANEW], [8]),
    "the-workflow": (
        ["UPDATE pb.workflow SET spec = jsonb_set(spec, '{{steps,0,uses}}', '\"orders.delete\"')"], [1, 2], [], None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("forged", FORGED)
async def test_attack_36_the_first_place_is_found_where_a_run_is_not_what_it_was(told, forged):
    statements, places, anew, left = FORGED[forged]
    at, _, read = await found(told, *statements)
    assert at == places
    if left is not None:
        at, whole, read = await found(told, *statements, *anew)
        assert (at, whole) == (left, True), "a chain that was written anew is whole, and the workflow still finds it"
    if forged not in ("an-approval-denied", "the-last-step-taken-out", "the-ending"):
        assert parted(read.run, read.events, datetime.now(UTC)) is not None


def test_the_command_says_so_and_what_another_workflow_would_deny(told, tmp_path):
    uri = f"postgresql://postgres@127.0.0.1:{told.at.port}/{told.database}"
    (tmp_path / "uri").write_text(uri)

    def said(*more, code):
        given = ["agents", "replay", str(tmp_path / "uri"), "--run", str(told.ran), *more]
        result = CliRunner().invoke(main, given, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    assert said(code=0) == f"6 events of run {told.ran}: the same\n"
    assert json.loads(said("--output", "json", code=0))["places"] == []
    strict = json.loads(json.dumps(WORKFLOW))
    strict["steps"][1]["next"][1]["to"] = "ask"
    (tmp_path / "strict.yaml").write_text(
        yaml.safe_dump({"apiVersion": "agents.paybill.dev/v1alpha1", "kind": "AgentWorkflow",
                        "metadata": {"name": "strict", "namespace": "shop"}, "spec": strict})
    )  # fmt: skip
    assert said("--workflow", str(tmp_path / "strict.yaml"), code=1).startswith(
        "row 4: denied: the call of note; an approval of ask comes next\n"
    )
    policy = shop.policy(collections=[{**shop.POLICY["collections"][0], "create": None}])
    (tmp_path / "policy.yaml").write_text(
        yaml.safe_dump({"apiVersion": "agents.paybill.dev/v1alpha1", "kind": "AgentPolicy",
                        "metadata": {"name": "support", "namespace": "shop"}, "spec": policy.wire()})
    )  # fmt: skip
    assert said("--policy", str(tmp_path / "policy.yaml"), code=1).splitlines()[:2] == [
        "row 4: denied: the policy does not grant orders.create",
        "row 7: denied: the policy does not grant comments.delete",
    ]
    told.admin('UPDATE pb.value SET "values" = \'{"verdict": "reject"}\' WHERE run = %s AND seq = 3', [told.ran])
    try:
        assert said(code=1).startswith("row 3: what is kept of the decision of judge is not what was written down\n")
    finally:
        told.admin('UPDATE pb.value SET "values" = \'{"verdict": "refund"}\' WHERE run = %s AND seq = 3', [told.ran])


async def test_what_another_workflow_would_do_otherwise_is_named_and_the_rest_goes_on(told):
    _, _, read = await found(told)
    other = json.loads(json.dumps(WORKFLOW))
    other["steps"][2]["with"]["amount"] = "1.49"
    changed = what_if(read, AgentWorkflowSpec.model_validate(other))
    assert [(one.seq, one.message) for one in changed] == [
        (4, "denied: the call of note as it was made: orders.create with other arguments")
    ]
    assert what_if(read, AgentWorkflowSpec.model_validate(WORKFLOW)) == ()
    short = {**WORKFLOW, "limits": {**WORKFLOW["limits"], "maxSteps": 3}}
    assert [one.seq for one in what_if(read, AgentWorkflowSpec.model_validate(short))] == [5]
