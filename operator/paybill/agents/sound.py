"""Whether a workflow can be walked at all, stays inside the policy, and keeps strangers' text out of trusted arguments.

All of it is known before a run begins, because expressions name where a value comes from: what may be in a column is
said by its type and by the policy, so no value has to be followed through a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paybill.agents.facts import Collection, Schema
from paybill.api.agent_policy import AgentPolicySpec, CollectionPolicy
from paybill.api.agent_workflow import AgentWorkflowSpec, Step
from paybill.api.failures import Invalid

_PLAIN = ("Boolean", "Date", "Decimal", "Enum", "Float", "Integer", "Time", "Timestamp", "Uuid")
"""Kinds of columns that hold no text of anybody's."""
_ASKS = ("decide", "approve")


def check(workflow: AgentWorkflowSpec, policy: AgentPolicySpec, schema: Schema) -> None:
    """Raise ``Invalid("WorkflowUnsound")`` with everything that is wrong."""
    steps = {step.name: step for step in workflow.steps}
    wrong = list(_walk(workflow))
    for step in workflow.steps:
        wrong += [f"step {step.name}: {said}" for said in _bounds(step, steps, policy, schema)]
    if wrong:
        raise Invalid("WorkflowUnsound", "; ".join(wrong))


def walkable(workflow: AgentWorkflowSpec) -> None:
    """Raise ``Invalid("WorkflowUnsound")`` with what is wrong whatever a policy grants."""
    wrong = list(_walk(workflow))
    if wrong:
        raise Invalid("WorkflowUnsound", "; ".join(wrong))


def untrusted(workflow: AgentWorkflowSpec, name: str, policy: AgentPolicySpec, schema: Schema | None) -> frozenset[str]:
    """The arguments of step ``name`` that may be a stranger's text; without a ``schema`` all out of columns may."""
    steps = {step.name: step for step in workflow.steps}
    known = schema if schema is not None else Schema(name="", collections=())
    given = steps[name].with_.items()
    return frozenset(one for one, expression in given if not _trusted(expression, steps, policy, known))


def _walk(workflow: AgentWorkflowSpec) -> Iterator[str]:
    steps = {step.name: step for step in workflow.steps}
    if workflow.initial not in steps:
        yield f"there is no step {workflow.initial}, the initial one"
    if len(steps) < len(workflow.steps):
        yield "two steps have the same name"
    for step in workflow.steps:
        yield from (f"step {step.name}: {said}" for said in _step(step, steps, workflow))


def _step(step: Step, steps: Mapping[str, Step], workflow: AgentWorkflowSpec) -> Iterator[str]:
    yield from (f"next names {one.to}, which is no step" for one in step.next if one.to not in steps)
    yield from _named(step, steps, workflow)
    if (step.uses == "decide") != (step.out is not None):
        yield "out is for decide, which needs it"
    if step.uses == "approve":
        following = [steps[one.to] for one in step.next if one.to in steps]
        if len(step.next) != 1 or step.next[0].when is not None or any(one.uses in _ASKS for one in following):
            yield "an approval is of exactly one operation: give it one next without when"
    yield from (f"trusted names {name}, which is no argument" for name in step.trusted if name not in step.with_)


def _bounds(step: Step, steps: Mapping[str, Step], policy: AgentPolicySpec, schema: Schema) -> Iterator[str]:
    if step.uses not in _ASKS:
        yield from _granted(step.uses, set(step.with_), policy, schema)
    if step.compensate is not None:
        yield from _granted(step.compensate.uses, set(step.compensate.with_), policy, schema)
    for name in step.trusted:
        if name in step.with_ and not _trusted(step.with_[name], steps, policy, schema):
            yield f"argument {name} is trusted, and {step.with_[name]} may be a stranger's text"


def _named(step: Step, steps: Mapping[str, Step], workflow: AgentWorkflowSpec) -> Iterator[str]:
    expressions = [*step.with_.values(), *(one.when.field for one in step.next if one.when is not None)]
    expressions += list(step.compensate.with_.values()) if step.compensate is not None else []
    expressions += [step.idempotency_key] if step.idempotency_key is not None else []
    for expression in expressions:
        match _parts(expression):
            case ["input", name]:
                known = name in workflow.input
            case ["steps", name, field]:
                found = steps.get(name)
                known = found is not None and found.uses != "approve" and (found.out is None or field in found.out)
            case []:
                known = True
            case _:
                known = False
        if not known:
            yield f"{expression} is nothing that there is"


def _parts(expression: str) -> list[str]:
    return expression[1:].split(".") if expression.startswith("$") and not expression.startswith("$$") else []


def _granted(uses: str, arguments: set[str], policy: AgentPolicySpec, schema: Schema) -> Iterator[str]:
    collection, _, operation = uses.rpartition(".")
    granted = {one.name: one for one in policy.collections}.get(collection)
    table = schema.by_name.get(collection)
    allowed = _arguments(granted, table, operation) if granted is not None and table is not None else None
    if allowed is None:
        yield f"the policy of agent {policy.agent} does not grant {uses}"
        return
    yield from (f"{uses} has no argument {name}" for name in sorted(arguments - allowed))


def _arguments(policy: CollectionPolicy, table: Collection, operation: str) -> set[str] | None:
    """The arguments of an operation; None when it is not granted."""
    key = set(table.primary_key)
    match operation:
        case "get" if policy.read is not None:
            return key
        case "list" if policy.read is not None:
            return set(policy.read.filterable)
        case "aggregate" if policy.aggregate is not None:
            return {"function", "field", "groupBy", *(policy.read.filterable if policy.read is not None else ())}
        case "create" if policy.create is not None:
            return set(policy.create.fields)
        case "update" if policy.update is not None:
            return {*key, *policy.update.fields, *(["ifMatch"] if policy.update.if_match is not None else [])}
        case "delete" if policy.delete is not None:
            return key
        case _:
            return None


def _trusted(expression: str, steps: Mapping[str, Step], policy: AgentPolicySpec, schema: Schema) -> bool:
    """Input, constants and decisions out of a list are; a column is when its type holds no text, or only a key's."""
    match _parts(expression):
        case ["steps", name, field] if name in steps and steps[name].out is None:
            collection = steps[name].uses.rpartition(".")[0]
            table = schema.by_name.get(collection)
            column = table.by_name.get(field) if table is not None else None
            named = {one.name: one.untrusted for one in policy.collections}
            return column is not None and column.kind in _PLAIN and field not in named.get(collection, ())
        case _:
            return True
