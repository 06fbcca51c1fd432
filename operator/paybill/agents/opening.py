"""What a run is opened with: the budget and grants that a workflow comes to; and whether its input is what it asks for.

Every step gets what it may do at once, because the database counts each step's calls for itself; which of them comes
next is the database's as well (leading.sql). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from paybill.agents.runs import Budget, Grant
from paybill.api import duration
from paybill.api.agent_workflow import AgentWorkflowSpec, InputType, Step
from paybill.api.failures import Invalid

_FORMS: Final[Mapping[InputType, re.Pattern[str]]] = {
    "Boolean": re.compile("true|false"),
    "Decimal": re.compile(r"-?[0-9]{1,128}(\.[0-9]{1,128})?"),
    "Integer": re.compile("-?[0-9]{1,18}"),
    "Text": re.compile(r"[^\x00]*", re.DOTALL),
}


def check_input(workflow: AgentWorkflowSpec, given: Mapping[str, str]) -> None:
    """Raise ``Invalid("InputDoesNotFit")`` unless every input has a value of its type, and nothing else has one."""
    wrong = [f"{name} is missing" for name in sorted(workflow.input.keys() - given.keys())]
    wrong += [f"{name} is no input of the workflow" for name in sorted(given.keys() - workflow.input.keys())]
    for name, kind in sorted(workflow.input.items()):
        if name in given and not _FORMS[kind].fullmatch(given[name]):
            wrong.append(f"{name} is no {kind}")
    if wrong:
        raise Invalid("InputDoesNotFit", "; ".join(wrong))


def budget(workflow: AgentWorkflowSpec) -> Budget:
    """What the whole run may use: each step once more, for what undoes it or is read again."""
    limits = workflow.limits
    return Budget(
        calls=2 * limits.max_steps,
        rows_read=limits.rows_read,
        rows_written=limits.rows_written,
        time=duration.parse(limits.deadline),
    )


def grants(workflow: AgentWorkflowSpec) -> tuple[Grant, ...]:
    """What each step may do: its operation, and once more for each time what undoes it."""
    found: dict[tuple[str, str], Grant] = {}
    for step in workflow.steps:
        undoes = [step.compensate.uses] if step.compensate is not None else []
        for uses in (step.uses, *undoes):
            if uses not in ("decide", "approve"):
                known = found.get((step.name, uses))
                found[step.name, uses] = _grant(step, uses, known.calls if known is not None else 0)
    return tuple(found.values())


def _grant(step: Step, uses: str, calls: int) -> Grant:
    collection, _, operation = uses.rpartition(".")
    return Grant(
        step=step.name, collection=collection, operation=operation, calls=calls + step.max_calls, rows=step.max_rows
    )
