"""A run that the database leads: who has the agent's login can do what comes next, as it is written, and no more."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.types.json import Jsonb

from paybill.agents import leading, opening
from paybill.agents.interpreter import Await, Done, following, parted
from paybill.agents.journal import verify
from paybill.agents.leading import story
from paybill.agents.reading import entries, heads
from paybill.agents.runs import Lead, close_run, open_day, open_run
from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.api.failures import Invalid
from tests.agents import shop
from tests.agents.conftest import administrator, new_shop, scene_of
from tests.databases.servers import start

WORKFLOW = {
    "input": {"order": "Integer"},
    "initial": "load",
    "onFailure": "Compensate",
    "limits": {"maxSteps": 12, "rowsRead": 50, "rowsWritten": 10},
    "steps": [
        {"name": "load", "uses": "orders.get", "with": {"id": "$input.order"}, "maxCalls": 2,
         "next": [{"to": "judge"}]},
        {"name": "judge", "uses": "decide", "out": {"verdict": ["refund", "again", "reject"]}, "maxCalls": 2,
         "next": [{"to": "load", "when": {"field": "$steps.judge.verdict", "op": "eq", "value": "again"}},
                  {"to": "note", "when": {"field": "$steps.judge.verdict", "op": "eq", "value": "refund"}}]},
        {"name": "note", "uses": "orders.create", "with": {"customer_id": "$steps.load.customer_id", "amount": "1.50"},
         "next": [{"to": "ask"}]},
        {"name": "ask", "uses": "approve", "next": [{"to": "mark"}]},
        {"name": "mark", "uses": "orders.update",
         "with": {"id": "$input.order", "status": "refund_requested", "ifMatch": "$steps.load.version"},
         "compensate": {"uses": "orders.update",
                        "with": {"id": "$input.order", "status": "open", "ifMatch": "$steps.load.version"}},
         "next": [{"to": "tell"}]},
        {"name": "tell", "uses": "comments.delete", "with": {"id": "$input.order"}},
    ],
}  # fmt: skip
GET = "SELECT pba_support.orders_get(%s)"
CREATE = "SELECT pba_support.orders_create(%s)"
UPDATE = "SELECT pba_support.orders_update(%s, %s, %s)"
DELETE = "SELECT pba_support.comments_delete(%s)"
MARK = (UPDATE, {"id": 2}, {"status": "refund_requested"}, "1")
NOTE = (CREATE, {"customer_id": 3, "amount": "1.50"})
LIMITS = {**shop.POLICY["limits"], "connections": 60, "rowsReadPerDay": 10_000, "rowsWrittenPerDay": 10_000}


@pytest.fixture(scope="module")
def scene():
    with new_shop(start("Superuser", 18)) as database:
        yield asyncio.run(scene_of(start("Superuser", 18), database, limits=LIMITS))


async def led(scene, order=2, time=600, **changes):
    """The id of a run that is led through the workflow, or through one with ``changes``."""
    workflow = AgentWorkflowSpec.model_validate({**WORKFLOW, **changes})
    budget = opening.budget(workflow)
    run = uuid.uuid4()
    async with administrator(scene.at, scene.database) as admin:
        await open_day(admin, scene.role)
        lead = Lead(workflow=workflow, input={"order": str(order)})
        budget = type(budget)(calls=budget.calls, rows_read=50, rows_written=10, time=timedelta(seconds=time))
        await open_run(admin, run, scene.role, lead, budget, opening.grants(workflow))
    return run


class Agent:
    """The stolen login in one run: it says its step and key only where a test does."""

    def __init__(self, scene, run):
        self.scene, self.run, self.session = scene, run, scene.agent(run, step="*")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()

    def says(self, step="*", key="", run=None):
        for name, value in (("run", str(run or self.run)), ("step", step), ("key", key)):
            self.session.execute("SELECT set_config('pb.' || %s, %s, false)", [name, value])
        return self

    def does(self, statement, *given):
        """The SQLSTATE with which it was refused; else what was answered."""
        values = [Jsonb(one) if isinstance(one, dict | list) else one for one in given]
        try:
            row = self.session.execute(statement, values).fetchone()
        except psycopg.Error as error:
            return error.sqlstate
        return row[0]

    @property
    def next(self):
        return self.does("SELECT pb.standing(%s)", self.run)

    def decides(self, step="judge", **values):
        return self.does("SELECT pb.decide(%s, %s, %s)", self.run, step, values)

    def fails(self, step, error="23505"):
        return self.does("SELECT pb.fail(%s, %s, %s)", self.run, step, error)

    def stands(self):
        found = self.next
        return found["next"], found["step"]


async def approve(scene, run, *, denied=False, digest=None, step="ask", approval=None):
    async with administrator(scene.at, scene.database) as admin:
        waits = (await leading.standing(admin, run)).get("digest")
        try:
            await leading.approve(
                admin, run, step, digest or waits, approval=approval or str(uuid.uuid4()), approver="ann", denied=denied
            )
        except psycopg.Error as error:
            return error.sqlstate
    return ""


async def followed(scene, run):
    """What the interpreter comes to with what the database tells; the journal is whole and bound to it."""
    async with administrator(scene.at, scene.database) as admin:
        told = await story(admin, run)
        assert parted(told.run, told.events, datetime.now(UTC)) is None
        assert verify([one async for one in entries(admin)], await heads(admin), await heads(admin)).intact
    return following(told.run, told.events, datetime.now(UTC))


def to_the_approval(agent):
    assert agent.does(GET, {"id": 2})["version"] == 1
    assert agent.decides(verdict="refund")["step"] == "note"
    assert agent.does(*NOTE)["id"] > 1000
    assert agent.stands() == ("approval", "ask")


async def test_a_run_is_led_from_its_first_step_to_its_end(scene):
    run = await led(scene)
    with Agent(scene, run) as agent:
        assert agent.next == {
            "next": "call", "step": "load", "uses": "orders.get", "arguments": {"id": "2"}, "rows": 1,
            "key": "load-1", "digest": (await followed(scene, run)).digest,
        }  # fmt: skip
        agent.does(GET, {"id": 2})
        assert agent.next == {
            "next": "decision", "step": "judge", "out": {"verdict": ["refund", "again", "reject"]},
        }  # fmt: skip
        assert agent.decides(verdict="again")["step"] == "load"
        to_the_approval(agent)
        waits = await followed(scene, run)
        assert waits == Await(step="ask", of="approval", digest=agent.next["digest"])
        assert agent.next["arguments"] == {"id": "2", "status": "refund_requested", "ifMatch": 1}
        assert await approve(scene, run) == ""
        assert agent.says("mark", "mark-1").does(*MARK) == 1
        assert agent.says().does(DELETE, {"id": 2}) == 1
        assert agent.next == {"next": "done", "step": "tell", "ending": "Succeeded", "reason": ""}
    assert await followed(scene, run) == Done(ending="Succeeded", step="tell")
    kinds = scene.admin("SELECT array_agg(kind ORDER BY seq) FROM pb.journal WHERE run = %s", [run])
    assert kinds == [
        (["opened", "call", "decision", "call", "decision", "call", "approval", "call", "call"],)
    ]  # fmt: skip


OTHER = (CREATE, {"customer_id": 3, "amount": "499"})
WRONG = {
    "a-step-is-skipped": ("load", "note", NOTE),
    "the-last-step-first": ("load", "tell", (DELETE, {"id": 4})),
    "an-operation-instead-of-a-decision": ("judge", "note", NOTE),
    "a-step-once-more-with-another-row": ("judge", "load", (GET, {"id": 4})),
    "an-approval-is-skipped": ("ask", "mark", MARK),
    "back": ("ask", "load", (GET, {"id": 2})),
    "another-row": ("load", "load", (GET, {"id": 4})),
    "another-value": ("note", "note", OTHER),
    "a-value-more": ("note", "note", (CREATE, {"customer_id": 3, "amount": "1.50", "notes": "x"})),
    "another-change": ("mark", "mark", (UPDATE, {"id": 2}, {"notes": "x"}, "1")),
    "a-change-more": ("mark", "mark", (UPDATE, {"id": 2}, {"status": "refund_requested", "notes": "x"}, "1")),
    "a-change-of-another-row": ("mark", "mark", (UPDATE, {"id": 6}, {"status": "refund_requested"}, "1")),
}  # fmt: skip


async def brought_to(scene, agent, step):
    """As far as ``step``, the way the workflow goes."""
    for there in ("load", "judge", "note", "ask", "mark"):
        if there == step:
            break
        match there:
            case "load":
                agent.does(GET, {"id": 2})
            case "judge":
                agent.decides(verdict="refund")
            case "note":
                agent.does(*NOTE)
            case "ask":
                assert await approve(scene, agent.run) == ""
    assert agent.stands()[1] == step


@pytest.mark.parametrize("wrong", WRONG)
async def test_attack_19_only_what_comes_next_is_done_and_exactly_as_it_is_written(scene, wrong):
    """And that it is led is what holds it: its steps' grants alone let the very same statement through."""
    at, step, does = WRONG[wrong]
    with Agent(scene, await led(scene)) as agent:
        await brought_to(scene, agent, at)
        before = agent.stands()
        for said in ("*", step, at):
            assert agent.says(said).does(*does) == "PA002"
        assert agent.stands() == before
        scene.admin("UPDATE pb.run SET led = false WHERE id = %s", [agent.run])
        with agent.session.transaction(force_rollback=True):
            assert not isinstance(agent.says(step).does(*does), str)


async def test_attack_19_a_step_of_another_run_or_workflow_is_none_of_this_one(scene):
    ahead, behind = await led(scene), await led(scene)
    other = await led(scene, initial="tell")
    with Agent(scene, ahead) as agent:
        await brought_to(scene, agent, "note")
        assert agent.says(run=behind).does(*NOTE) == "PA002"
        assert agent.says(run=other).does(*NOTE) == "PA002"
        assert agent.says(run=ahead).does(DELETE, {"id": 2}) == "PA002"
        assert agent.does("SELECT pb.decide(%s, 'judge', %s)", ahead, {"verdict": "refund"}) == "PA002"
        assert agent.does("SELECT pb.decide(%s, 'judge', %s)", behind, {"verdict": "refund"}) == "PA002"
        assert agent.says(run=ahead).does(*NOTE)["id"] > 1000
        assert agent.says(run=behind).does(*NOTE) == "PA002", "each run stands where it stands"


async def test_attack_19_a_call_whose_answer_was_lost_is_answered_again_and_is_no_second_step(scene):
    run = await led(scene)
    with Agent(scene, run) as agent:
        first = agent.does(GET, {"id": 2})
        assert agent.does(GET, {"id": 2}) == first
        assert agent.stands() == ("decision", "judge")
        assert agent.decides("load", verdict="refund") == "PA002"
        assert agent.decides(verdict="everything") == "PA006"
        assert agent.decides(verdict="refund", more="x") == "PA006"
        assert agent.decides() == "PA006"
        assert agent.decides(verdict=["refund"]) == "PA006"
        agent.decides(verdict="refund")
        made = agent.does(*NOTE)
        assert [agent.does(*NOTE), agent.says("note", "note-1").does(*NOTE)] == [made, made]
        assert agent.says().does(GET, {"id": 2}) == "PA002", "only the last one"
        assert await approve(scene, run) == ""
        assert [agent.does(*MARK), agent.does(*MARK)] == [1, 1]
    assert scene.admin("SELECT rows_written, calls FROM pb.run WHERE id = %s", [run]) == [(2, 4)]
    assert scene.owner("SELECT version FROM orders WHERE id = 2") is not None
    await followed(scene, run)


async def test_attack_17_fifty_sessions_at_once_make_one_step(scene):
    run = await led(scene)
    with Agent(scene, run) as agent:
        await brought_to(scene, agent, "note")
    ready, found = threading.Barrier(50), []

    def work():
        with Agent(scene, run) as one:
            ready.wait(120)
            found.append(str(one.does(*NOTE)))

    threads = [threading.Thread(target=work) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    [(made, times)] = Counter(found).items()
    assert times == 50
    assert "'id'" in made
    assert scene.admin("SELECT rows_written FROM pb.run WHERE id = %s", [run]) == [(1,)]
    await followed(scene, run)


async def test_attack_24_only_the_controller_says_that_a_person_approved_and_once(scene):
    one, two = await led(scene), await led(scene)
    approval = str(uuid.uuid4())
    asked = "SELECT pb.approve(%s, 'ask', %s, 'mine', 'me', false)"
    with Agent(scene, one) as agent, Agent(scene, two) as other:
        to_the_approval(agent)
        to_the_approval(other)
        digest = agent.next["digest"]
        assert agent.does(asked, one, digest) == "42501"
        assert await approve(scene, one, digest="sha256:forged") == "PA002"
        assert await approve(scene, one, step="mark") == "PA002"
        assert await approve(scene, one, approval=approval) == ""
        assert await approve(scene, two, approval=approval) == "PA005"
        assert other.stands() == ("approval", "ask")
        scene.admin("DELETE FROM pb.approval")
        assert await approve(scene, two, approval=approval) == "", "that it was used is what held it"
        assert agent.stands() == ("call", "mark")
    three = await led(scene)
    with Agent(scene, three) as agent, scene.at.superuser(scene.database) as keeper:
        to_the_approval(agent)
        keeper.execute(f'GRANT EXECUTE ON FUNCTION pb.approve TO "{scene.role}"')
        assert agent.does(asked, three, agent.next["digest"])["step"] == "mark"
        keeper.execute(f'REVOKE EXECUTE ON FUNCTION pb.approve FROM "{scene.role}"')


async def test_what_was_denied_or_failed_is_undone_and_ends(scene):
    run = await led(scene)
    with Agent(scene, run) as agent:
        to_the_approval(agent)
        assert await approve(scene, run, denied=True) == ""
        assert agent.next == {"next": "done", "step": "ask", "ending": "Denied", "reason": "Denied"}
    assert await followed(scene, run) == Done(ending="Denied", step="ask", reason="Denied")


async def test_attack_38_what_undoes_is_no_second_way_to_write(scene):
    scene.owner("UPDATE orders SET status = 'open', version = 1 WHERE id = 2")
    undo = (UPDATE, {"id": 2}, {"status": "open"}, "1")
    run = await led(scene)
    with Agent(scene, run) as agent:
        await brought_to(scene, agent, "mark")
        assert agent.does(*undo) == "PA002", "nothing was done yet that could be undone"
        assert agent.fails("tell") == "PA002"
        assert agent.does(*MARK) == 1
        assert agent.does(*undo) == "PA002", "it did not fail"
        assert agent.fails("tell", "not one word") == "PA006"
        assert agent.fails("tell")["next"] == "compensation"
        assert agent.does(DELETE, {"id": 2}) == "PA002", "it failed: nothing more is begun"
        assert agent.does(UPDATE, {"id": 2}, {"notes": "x"}, "1") == "PA002"
        assert agent.does(UPDATE, {"id": 4}, {"status": "open"}, "1") == "PA002"
        assert agent.does(*undo) == 1
        assert agent.does(*undo) == 1, "its answer was lost"
        assert agent.next == {"next": "done", "step": "tell", "ending": "Failed", "reason": "23505"}
        assert agent.does(UPDATE, {"id": 2}, {"status": "open"}, "9") == "PA002"
    assert await followed(scene, run) == Done(ending="Failed", step="tell", reason="23505")
    assert scene.owner("SELECT status FROM orders WHERE id = 2") == [("open",)]


async def test_what_could_not_be_undone_is_named(scene):
    run = await led(scene)
    with Agent(scene, run) as agent:
        await brought_to(scene, agent, "mark")
        agent.does(*MARK)
        agent.fails("tell")
        assert agent.fails("mark", "PA007")["reason"] == "23505, and mark was not undone"
    assert (await followed(scene, run)).reason == "23505, and mark was not undone"


async def test_attack_40_past_its_deadline_nothing_is_begun_and_what_was_done_is_undone(scene):
    scene.owner("UPDATE orders SET status = 'open', version = 1 WHERE id = 2")
    run = await led(scene)
    with Agent(scene, run) as agent:
        await brought_to(scene, agent, "mark")
        agent.does(*MARK)
        scene.admin("UPDATE pb.run SET deadline = clock_timestamp() WHERE id = %s", [run])
        assert agent.does(DELETE, {"id": 2}) == "PA001"
        assert agent.fails("tell") == "PA001"
        assert agent.stands() == ("compensation", "mark")
        assert agent.does(UPDATE, {"id": 2}, {"status": "open"}, "1") == 1
        assert agent.next == {"next": "done", "step": "tell", "ending": "Expired", "reason": "DeadlinePassed"}
    assert await followed(scene, run) == Done(ending="Expired", step="tell", reason="DeadlinePassed")
    two = await led(scene)
    with Agent(scene, two) as agent:
        to_the_approval(agent)
        digest = agent.next["digest"]
        scene.admin("UPDATE pb.run SET deadline = clock_timestamp() WHERE id = %s", [two])
        assert await approve(scene, two, digest=digest) == "PA001"


async def test_a_run_that_was_closed_is_over_for_its_agent(scene):
    run = await led(scene)
    with Agent(scene, run) as agent:
        agent.does(GET, {"id": 2})
        async with administrator(scene.at, scene.database) as admin:
            await close_run(admin, run, "Cancelled")
        assert agent.next == {"next": "done", "step": "judge", "ending": "Cancelled", "reason": ""}
        assert agent.does(GET, {"id": 2}) == "PA001"
        assert agent.decides(verdict="refund") == "PA001"


async def test_attack_16_a_run_of_another_agent_says_nothing(scene):
    run = await led(scene)
    with Agent(scene, run) as agent:
        forged = str(run)[:-1] + ("0" if str(run)[-1] != "0" else "1")
        for ask in ("SELECT pb.standing(%s)", "SELECT pb.decide(%s, 'judge', '{}')", "SELECT pb.fail(%s, 'load', 'x')"):
            assert agent.does(ask, forged) == "PA001"


async def test_attack_37_only_what_the_workflow_names_is_kept_and_never_in_the_journal(scene):
    secret = f"kept-{uuid.uuid4()}"
    scene.owner(f"UPDATE orders SET notes = '{secret}' WHERE id = 2")
    run = await led(scene)
    with Agent(scene, run) as agent:
        assert secret in str(agent.does(GET, {"id": 2}))
    kept = "SELECT string_agg(to_jsonb(x)::text, ' ') FROM pb.{} x"
    assert all(secret not in scene.admin(kept.format(name))[0][0] for name in ("value", "run", "journal"))
    assert scene.admin('SELECT "values" FROM pb.value WHERE run = %s', [run]) == [({"customer_id": 3, "version": 1},)]
    note = {"name": "note", "uses": "orders.update",
            "with": {"id": "$input.order", "notes": "$steps.load.notes", "ifMatch": "$steps.load.version"}}  # fmt: skip
    named = await led(scene, initial="load", steps=[{**WORKFLOW["steps"][0], "next": [{"to": "note"}]}, note])
    with Agent(scene, named) as agent:
        agent.does(GET, {"id": 2})
    assert secret in scene.admin(kept.format("value"))[0][0], "a field that an argument is filled with"
    assert secret not in scene.admin(kept.format("journal"))[0][0]
    async with administrator(scene.at, scene.database) as admin:
        await close_run(admin, named, "Cancelled")
        scene.admin("UPDATE pb.run SET closed_time = closed_time - interval '31 days' WHERE id = %s", [named])
        scene.admin("UPDATE pb.agent SET read_day = '-infinity'")
        assert await open_day(admin, scene.role)
        with pytest.raises(Invalid, match="ValuesForgotten"):
            await story(admin, named)
        assert secret not in str(scene.admin(kept.format("value")) + scene.admin(kept.format("run")))
        with pytest.raises(Invalid, match="RunNotLed"):
            await story(admin, uuid.uuid4())


async def test_attack_36_a_value_that_somebody_altered_parts_from_what_was_done(scene):
    run = await led(scene)
    with Agent(scene, run) as agent:
        to_the_approval(agent)
    altered = json.dumps({"verdict": "reject"})
    scene.admin('UPDATE pb.value SET "values" = %s WHERE run = %s AND seq = 3', [altered, run])
    async with administrator(scene.at, scene.database) as admin:
        told = await story(admin, run)
    assert parted(told.run, told.events, datetime.now(UTC)) == 2
    with pytest.raises(Invalid, match="JournalDiverges"):
        following(told.run, told.events, datetime.now(UTC))
