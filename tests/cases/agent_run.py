"""AgentRuns that must be accepted and refused."""

from __future__ import annotations

from typing import Any

from tests.cases.model import Case, Change, Object, named


def run(**spec: Any) -> Object:
    """An AgentRun that somebody asks for, unless the spec says otherwise."""
    said = {"policyRef": {"name": "support"}, "workflowRef": {"name": "refund"}, "requestedBy": "ann", **spec}
    return named("AgentRun", "case", said)


def _case(says: str, message: str | None, **spec: Any) -> Case:
    return Case("AgentRun", says, run(**spec), message)


CASES = (
    _case("with nothing", None),
    _case("with an input", None, input={"order": "2"}),
    _case("with as much input as it may have", None, input={f"i{n}": "x" * 1024 for n in range(16)}),
    _case(
        "with more input than it may have", "16384 characters in all", input={f"i{n}": "x" * 1024 for n in range(17)}
    ),
    _case("with an input of an endless name", "names of at most 63 characters", input={"i" * 64: "x"}),
    _case("with an endless input", "Too long: may not be more than 1024", input={"i": "x" * 1025}),
    _case("a policy whose name is none", "must be a DNS label", policyRef={"name": "Support Bot"}),
    _case("a workflow whose name is none", "must be a DNS label", workflowRef={"name": "Refund it"}),
    _case("by a name of two lines", "must be one line", requestedBy="a\nb"),
    Case("AgentRun", "a name of 64 characters", {**run(), "metadata": {"name": "a" * 64}}, "at most 63"),
    Case("AgentRun", "a name with a dot", {**run(), "metadata": {"name": "a.b"}}, "must be a DNS label"),
)

CHANGES = (
    Change("AgentRun", "the same again", run(), run(), None),
    Change("AgentRun", "cancelled", run(), run(cancel=True), None),
    Change("AgentRun", "going on after all", run(cancel=True), run(), "cannot go on"),
    Change("AgentRun", "with an input", run(), run(input={"order": "2"}), "only cancel can be changed"),
    Change("AgentRun", "with another input", run(input={"order": "1"}), run(input={"order": "2"}), "only cancel"),
    Change("AgentRun", "under another policy", run(), run(policyRef={"name": "b"}), "only cancel can be changed"),
)
