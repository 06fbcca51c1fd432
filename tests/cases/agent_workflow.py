"""AgentWorkflows that must be accepted and refused."""

from __future__ import annotations

from typing import Any

from tests.cases.model import Case, Change, Object, named

LOAD: Object = {"name": "load", "uses": "orders.get", "with": {"id": "$input.order"}}


def workflow(**spec: Any) -> Object:
    """An AgentWorkflow of one read, unless the spec says otherwise."""
    return named("AgentWorkflow", "case", {"input": {"order": "Integer"}, "initial": "load", "steps": [LOAD], **spec})


def _case(says: str, message: str | None, **spec: Any) -> Case:
    return Case("AgentWorkflow", says, workflow(**spec), message)


def _load(says: str, message: str | None, **more: Any) -> Case:
    return _case(says, message, steps=[{**LOAD, **more}])


CASES = (
    _case("one read", None),
    _load("what undoes it", None, compensate={"uses": "orders.update"}, idempotencyKey="$input.order"),
    _case("a decision", None, steps=[{"name": "load", "uses": "decide", "out": {"verdict": ["refund", "reject"]}}]),
    _case("nothing", "should have at least 1 items", steps=[]),
    _case("a step twice", "Duplicate value", steps=[LOAD, LOAD]),
    _load("an operation that is none", "must be decide, approve or COLLECTION.OPERATION", uses="orders.drop"),
    _load("a read that decides", "out is for decide", out={"verdict": ["refund"]}),
    _case("a decision of nothing", "out is for decide", steps=[{"name": "load", "uses": "decide"}]),
    _load("an argument of two lines", "must be one line", trusted=["a\nb"]),
    _load("an argument twice", "Duplicate value", trusted=["id", "id"]),
    _case("a duration that is none", "there is no unit for days", limits={"deadline": "soon"}),
    Case("AgentWorkflow", "a name of 64 characters", {**workflow(), "metadata": {"name": "a" * 64}}, "at most 63"),
    Case("AgentWorkflow", "a name with a dot", {**workflow(), "metadata": {"name": "a.b"}}, "must be a DNS label"),
)

CHANGES = (
    Change("AgentWorkflow", "the same again", workflow(), workflow(), None),
    Change("AgentWorkflow", "another limit", workflow(), workflow(limits={"maxSteps": 3}), "spec cannot be changed"),
)
