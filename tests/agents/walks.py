"""Workflows and what happens in them, at random: sound ones, with loops, conditions of every kind and odd values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from paybill.agents.interpreter import Await, Call, Event, Next, Run
from paybill.api.agent_workflow import AgentWorkflowSpec

OPENED = datetime(2026, 11, 1, tzinfo=UTC)
LATER = OPENED + timedelta(hours=1)
NAMES = ("a", "b", "c", "d", "e")
FIELDS = ("id", "note", "amount", 'o\'ne "two"')
TEXTS = (
    "",
    "yes",
    "no",
    "7",
    "7.0",
    "07",
    "-1.50",
    'é\u2028\n\t\\"',
    "$5",
    "true",
    "Infinity",
    "1e3",
    " 7",
    "٧",
    "x" * 70,
)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 7, -3, 2**70, Decimal("7.00"), Decimal("0.0000001"), Decimal("-12.5"),
    [1, Decimal("2.5"), None], {"b": 1, "a": [{"é": "\x7f"}]}, *TEXTS,
)  # fmt: skip
OPERATORS = ("eq", "ne", "lt", "lte", "gt", "gte", "in", "isNull", "startsWith")
OPERATIONS = ("get", "list", "create", "update", "delete")

values = st.sampled_from(VALUES)
texts = st.sampled_from(TEXTS)


def expressions(steps: list[str]) -> st.SearchStrategy[str]:
    named = st.sampled_from([f"$steps.{step}.{field}" for step in steps for field in FIELDS])
    inputs = st.sampled_from(["$input.one", "$input.two"])
    constants = texts.map(lambda text: f"${text}" if text.startswith("$") else text)
    return st.one_of(named, inputs, constants)


@st.composite
def whens(draw: st.DrawFn, steps: list[str]) -> dict[str, Any]:
    op = draw(st.sampled_from(OPERATORS))
    more: dict[str, Any] = {}
    if op == "in":
        more["values"] = draw(st.lists(texts, max_size=3))
    elif op != "isNull":
        more["value"] = draw(texts)
    return {"field": draw(expressions(steps)), "op": op, **more}


@st.composite
def nexts(draw: st.DrawFn, named: list[str], steps: list[str]) -> list[dict[str, Any]]:
    found = []
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 3]))):
        # Mostly onward without a condition, so that runs go round and come to their limits.
        when = draw(st.one_of(st.none(), st.none(), whens(steps)))
        found.append({"to": draw(st.sampled_from(named)), **({"when": when} if when is not None else {})})
    return found


@st.composite
def workflows(draw: st.DrawFn) -> AgentWorkflowSpec:
    """A workflow that can be walked, over tables that there need not be."""
    named = list(NAMES[: draw(st.integers(1, 5))])
    kinds = {name: draw(st.sampled_from(["operation", "operation", "decide", "approve"])) for name in named}
    if "operation" not in kinds.values():
        kinds[named[-1]] = "operation"
    operations = [name for name in named if kinds[name] == "operation"]
    answering = [name for name in named if kinds[name] != "approve"]
    steps = [draw(_step(name, kinds[name], named, operations, answering)) for name in named]
    return AgentWorkflowSpec.model_validate(
        {
            "input": {"one": "Text", "two": "Text"}, "initial": draw(st.sampled_from(named)), "steps": steps,
            "limits": {"maxSteps": draw(st.sampled_from([3, 9, 20]))},
            "onFailure": draw(st.sampled_from(["Halt", "Compensate", "Compensate"])),
        }
    )  # fmt: skip


@st.composite
def _step(
    draw: st.DrawFn, name: str, kind: str, named: list[str], operations: list[str], answering: list[str]
) -> dict[str, Any]:
    step: dict[str, Any] = {"name": name, "maxCalls": draw(st.sampled_from([1, 2, 2, 3]))}
    match kind:
        case "decide":
            step |= {"uses": "decide", "out": {"id": ["yes", "no"], "note": ["7", "7.0"]}}
        case "approve":
            return {**step, "uses": "approve", "next": [{"to": draw(st.sampled_from(operations))}]}
        case _:
            given = st.dictionaries(st.sampled_from(FIELDS), expressions(answering), max_size=3)
            step |= {"uses": f"ta.ble.{draw(st.sampled_from(OPERATIONS))}", "with": draw(given)}
            if draw(st.booleans()):
                step["idempotencyKey"] = draw(expressions(answering))
            if draw(st.sampled_from([True, True, False])):
                step["compensate"] = {"uses": "ta.ble.delete", "with": draw(given)}
    return {**step, "next": draw(nexts(named, answering))}


ROUNDS = AgentWorkflowSpec.model_validate(
    {
        "input": {"one": "Text", "two": "Text"}, "initial": "a", "onFailure": "Compensate", "limits": {"maxSteps": 9},
        "steps": [
            {"name": "a", "uses": "ta.ble.create", "maxCalls": 3, "with": {"note": "$steps.b.note"},
             "next": [{"to": "b"}], "compensate": {"uses": "ta.ble.delete", "with": {"id": "$steps.a.id"}}},
            {"name": "b", "uses": "ta.ble.update", "maxCalls": 4, "with": {"id": "$steps.a.id"},
             "idempotencyKey": "$steps.a.id",
             "compensate": {"uses": "ta.ble.update", "with": {"id": "$steps.a.id", "note": "$steps.b.note"}},
             "next": [{"to": "a", "when": {"field": "$steps.b.amount", "op": "isNull"}}, {"to": "c"}]},
            {"name": "c", "uses": "decide", "maxCalls": 9, "out": {"id": ["yes", "no"]}, "next": [{"to": "a"}]},
        ],
    }
)  # fmt: skip
"""Goes round until one of its limits stops it, with everything that it did to be undone."""


def happened(wanted: Next, data: st.DataObject, run: Run) -> Event:
    """What may happen where ``wanted`` comes next."""
    if data.draw(st.integers(0, 19)) == 0 and not (isinstance(wanted, Call) and wanted.compensates):
        return Event(kind="expired", step=wanted.step)
    match wanted:
        case Call(compensates=True):
            error = data.draw(st.sampled_from(["", "", "PA001"]))
            return Event(kind="compensation", step=wanted.step, digest=wanted.digest, error=error)
        case Call():
            error = data.draw(st.sampled_from(["", "", "", "", "", "40001", "40001", "23505"]))
            row = data.draw(st.dictionaries(st.sampled_from(FIELDS), values)) if not error else {}
            return Event(kind="call", step=wanted.step, digest=wanted.digest, values=row, error=error)
        case Await(of="decision"):
            step = next(one for one in run.workflow.steps if one.name == wanted.step)
            said = {name: data.draw(st.sampled_from(allowed)) for name, allowed in (step.out or {}).items()}
            return Event(kind="decision", step=wanted.step, values=said)
        case Await():
            error = data.draw(st.sampled_from(["", "", "Denied"]))
            return Event(kind="approval", step=wanted.step, digest=wanted.digest, error=error)
        case _:
            raise AssertionError(wanted)
