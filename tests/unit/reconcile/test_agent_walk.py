"""Whether a run that is open ends now, and how: by its workflow, by people, or by what changed around it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paybill.agents.interpreter import Await, Call, Done, Event, Expire
from paybill.agents.leading import Story, Told
from paybill.agents.runs import Standing
from paybill.api.agent_run import AgentRun
from paybill.api.agent_workflow import AgentWorkflow, AgentWorkflowSpec
from paybill.audit.links import Head
from paybill.reconcile.agent_walk import REPEAT_WITHIN, UNDO_WITHIN, Ended, Walk, ending

NOW = datetime(2026, 11, 29, tzinfo=UTC)
WORKFLOW = AgentWorkflowSpec.model_validate({"initial": "a", "steps": [{"name": "a", "uses": "orders.get"}]})
OTHER = AgentWorkflowSpec.model_validate({"initial": "a", "steps": [{"name": "a", "uses": "orders.delete"}]})
OPEN = Standing(
    opened=NOW - timedelta(minutes=5), deadline=NOW + timedelta(minutes=5), closed=None, ending=None, over=False,
    workflow=WORKFLOW.revision, policy="p1", current_policy="p1", used=(0, 0, 0), limits=(1, 1, 1),
    head=Head(uuid.uuid4(), 1, b""), schema_changed=False, led=True, newest=NOW - timedelta(minutes=1),
)  # fmt: skip
CALL = Call(step="mark", uses="orders.update", arguments={}, digest="d", key="mark-1")
UNDO = replace(CALL, compensates=True)
ASKED = Await(step="ok", of="approval", digest="d", call=CALL)


def story(*events: Event) -> Story:
    told = tuple(Told(seq=number, event=event, effect="") for number, event in enumerate(events))
    return Story(led=True, workflow=WORKFLOW, input={}, opened=OPEN.opened, told=told)


def walk(coming: Any, *events: Event, **found: Any) -> Walk:
    return Walk(found=replace(OPEN, **found), story=story(*events), coming=coming)


def run(*, cancel: bool = False) -> AgentRun:
    spec = {"policyRef": {"name": "p"}, "workflowRef": {"name": "w"}, "requestedBy": "ann", "cancel": cancel}
    return AgentRun.model_validate({"metadata": {"name": "r", "uid": str(uuid.uuid4())}, "spec": spec})


def workflow(spec: AgentWorkflowSpec = WORKFLOW) -> AgentWorkflow:
    return AgentWorkflow.model_validate({"metadata": {"name": "w"}, "spec": spec.wire()})


SINCE = {"over": True, "deadline": NOW - timedelta(minutes=1)}
LONG_SINCE = {"over": True, "deadline": NOW - UNDO_WITHIN}
EXPIRED = Event(kind="expired", step="ok")
CALLED = Event(kind="call", step="mark")


@pytest.mark.parametrize(
    ("stands", "ends"),
    [
        pytest.param(walk(CALL), None, id="a call comes next"),
        pytest.param(walk(ASKED), None, id="it waits for a person"),
        pytest.param(walk(Done(ending="Succeeded", step="mark")), Ended(how="Succeeded", step="mark"), id="done"),
        pytest.param(walk(Done(ending="Denied", step="ok", reason="Denied")),
                     Ended(how="Denied", step="ok", reason="Denied"), id="denied"),
        pytest.param(walk(Done(ending="Succeeded", step="mark"), current_policy="p2"),
                     Ended(how="Succeeded", step="mark"), id="done, and then the policy was changed"),
        pytest.param(walk(Done(ending="Succeeded", step="mark"), CALLED, newest=NOW - REPEAT_WITHIN),
                     Ended(how="Succeeded", step="mark"), id="done some time ago"),
        pytest.param(walk(Done(ending="Succeeded", step="mark"), CALLED, newest=NOW), None,
                     id="done, whose last answer may have been lost"),
        pytest.param(walk(Done(ending="Succeeded", step="mark"), CALLED, newest=NOW, **SINCE),
                     Ended(how="Succeeded", step="mark"), id="done and late, so nothing can be repeated"),
        pytest.param(walk(Done(ending="Succeeded", step="mark"), CALLED, newest=NOW, current_policy="p2"),
                     Ended(how="Succeeded", step="mark"), id="done, and then the policy was changed at once"),
        pytest.param(walk(Done(ending="Denied", step="ok"), CALLED, Event(kind="approval", step="ok"), newest=NOW),
                     Ended(how="Denied", step="ok"), id="denied now"),
        pytest.param(walk(CALL, current_policy="p2"), Ended(how="PolicyChanged"), id="another policy"),
        pytest.param(walk(ASKED, current_policy="p2"), Ended(how="PolicyChanged"), id="another policy while it waits"),
        pytest.param(walk(CALL, schema_changed=True), Ended(how="SchemaChanged"), id="other tables"),
        pytest.param(walk(Expire(step="ok")), None, id="late by our clock and not by the database's"),
        pytest.param(walk(ASKED, **SINCE), None, id="late, which the database has to write down"),
        pytest.param(walk(UNDO, EXPIRED, **SINCE), None, id="late, and undoing"),
        pytest.param(walk(UNDO, EXPIRED, **LONG_SINCE), Ended(how="Expired", step="mark", reason="NotUndone"),
                     id="never undone"),
        pytest.param(walk(UNDO, **LONG_SINCE), Ended(how="Failed", step="mark", reason="NotUndone"),
                     id="failed and never undone"),
        pytest.param(Walk(found=replace(OPEN, led=False)), None, id="led through nothing"),
        pytest.param(Walk(found=replace(OPEN, led=False, over=True)), Ended(how="Expired"), id="free and late"),
    ],
)  # fmt: skip
def test_how_a_run_ends(stands: Walk, ends: Ended | None) -> None:
    assert ending(run(), stands, workflow(), NOW) == ends


def test_what_is_late_has_to_be_written_down_first() -> None:
    assert [walk(one, **SINCE).late for one in (CALL, ASKED, Expire(step="ok"))] == [True] * 3
    assert [walk(one, **SINCE).late for one in (UNDO, Done(ending="Failed", step="a"))] == [False] * 2
    assert not walk(Expire(step="ok")).late
    assert not Walk(found=replace(OPEN, led=False, over=True)).late


def test_a_person_ends_it_though_nobody_can_say_what_comes_next() -> None:
    assert ending(run(cancel=True), Walk(found=OPEN), workflow(), NOW) == Ended(how="Cancelled")
    assert ending(run(cancel=True), walk(ASKED), workflow(), NOW) == Ended(how="Cancelled")


def test_while_it_waits_for_a_person_it_ends_with_its_workflow() -> None:
    assert ending(run(), walk(ASKED), workflow(OTHER), NOW) == Ended(how="WorkflowChanged", step="ok")
    assert ending(run(), walk(ASKED), None, NOW) is None, "what is gone says nothing else"
    assert ending(run(), walk(CALL), workflow(OTHER), NOW) is None, "nobody is shown a call that nobody has to allow"


def test_only_where_a_person_may_be_asked_or_it_is_about_to_end_it_is_looked_at_often() -> None:
    asks = AgentWorkflowSpec.model_validate({"initial": "ok", "steps": [{"name": "ok", "uses": "approve"}]})
    assert not walk(CALL).stirs
    assert replace(walk(CALL), story=replace(story(), workflow=asks)).stirs
    assert walk(Done(ending="Succeeded", step="a")).stirs
    assert not Walk(found=OPEN).stirs
