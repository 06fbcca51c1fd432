"""The database and the interpreter come to the same next thing, whatever the workflow and whatever happens in it."""

from __future__ import annotations

import json
from decimal import Decimal
from importlib import resources
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paybill.agents.interpreter import Await, Call, Done, Event, Next, Run, exact, following, text_of
from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.api.canonical import digest
from tests.agents.walks import OPENED, ROUNDS, VALUES, happened, texts, values, workflows
from tests.databases.servers import start

BEGUN = "SELECT pb.begun(ROW(%s, %s::jsonb, '{}')::pb.workflow, %s::jsonb)::text"
WALKED = "SELECT pb.walked(ROW(%s, %s::jsonb, '{}')::pb.workflow, %s::jsonb, %s::jsonb, %s, %s::jsonb, %s)::text"


@pytest.fixture(scope="module")
def session():
    """A database with nothing in it but the functions that lead."""
    at = start("Superuser", 18)
    at.run("CREATE DATABASE walks")
    try:
        with at.superuser("walks") as made:
            made.execute("CREATE SCHEMA pb")
            for file in ("pb.sql", "leading.sql"):
                made.execute(resources.files("paybill.agents").joinpath(file).read_text(encoding="utf-8"))
            yield made
    finally:
        at.run("DROP DATABASE walks WITH (FORCE)")


def said(value: Any) -> str:
    """JSON with the digits of decimals as they are."""
    match value:
        case Decimal():
            return format(value, "f")
        case dict():
            return "{" + ",".join(f"{json.dumps(name)}:{said(one)}" for name, one in value.items()) + "}"
        case list():
            return "[" + ",".join(map(said, value)) + "]"
        case _:
            return json.dumps(value)


class Walk:
    """The database's walk through one run."""

    def __init__(self, session: psycopg.Connection, run: Run) -> None:
        self.session, self.run = session, run
        self.workflow = (run.workflow.revision, said(run.workflow.wire()))
        self.state = self.asked(BEGUN, *self.workflow, said(dict(run.input)))

    def asked(self, query: str, *given: str) -> str:
        row = self.session.execute(query.encode(), given).fetchone()
        assert row is not None
        return str(row[0])

    def on(self, event: Event) -> None:
        given = (event.kind, said(dict(event.values)), event.error)
        self.state = self.asked(WALKED, *self.workflow, said(dict(self.run.input)), self.state, *given)

    @property
    def next(self) -> Next:
        found = json.loads(self.state, parse_float=Decimal)
        step, call = found["step"], found.get("call")
        match found["next"]:
            case "done":
                return Done(ending=found["ending"], step=step, reason=found["reason"])
            case "decision":
                return Await(step=step, of="decision")
            case "approval":
                return Await(step=step, of="approval", digest=call["digest"])
            case kind:
                assert call["step"] == step
                return Call(
                    step=step, uses=call["uses"], arguments=call["arguments"], digest=call["digest"], key=call["key"],
                    compensates=kind == "compensation",
                )  # fmt: skip


def walk_together(session: psycopg.Connection, workflow: AgentWorkflowSpec, data: st.DataObject) -> None:
    run = Run(workflow, {"one": data.draw(texts), "two": data.draw(texts)}, OPENED)
    walk, events = Walk(session, run), list[Event]()
    for _ in range(60):
        wanted = following(run, events, OPENED)
        assert walk.next == wanted, f"after {events}"
        if isinstance(wanted, Done):
            return
        event = happened(wanted, data, run)
        events.append(event)
        walk.on(event)
    raise AssertionError("a run does not end")


QUICK = settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)


@QUICK
@given(workflow=workflows(), data=st.data())
def test_the_database_comes_to_what_the_interpreter_comes_to(session, workflow, data):
    walk_together(session, workflow, data)


@QUICK
@given(data=st.data())
def test_both_come_to_the_same_limits_and_undo_the_same_in_a_run_that_goes_round(session, data):
    walk_together(session, ROUNDS, data)


@pytest.mark.exhaustive
@settings(QUICK, max_examples=5000)
@given(workflow=workflows(), data=st.data())
def test_the_database_comes_to_what_the_interpreter_comes_to_in_many_more(session, workflow, data):
    walk_together(session, workflow, data)


@QUICK
@given(
    value=st.recursive(
        values | st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)
    )
)
def test_a_hash_is_of_the_same_bytes_in_both(session, value):
    if "\\u0000" in said(value) or "\\ud" in said(value).lower():
        return  # what jsonb does not take is no value of a column
    query = "SELECT pb.digest(pb.canonical(jsonb_build_object('v', %s::jsonb))), pb.said(%s::jsonb)"
    found = session.execute(query, [said(value), said(value)]).fetchone()
    assert found == (digest({"v": exact(value)}), None if value is None else text_of(value))


def test_the_odd_values_are_told_apart(session):
    """Else the tests above would hold the same against the same."""
    assert len({digest({"v": exact(value)}) for value in VALUES}) >= len(VALUES) - 2
