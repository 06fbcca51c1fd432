"""What a run is opened with, and what it is not opened with."""

from datetime import timedelta

import pytest

from paybill.agents import opening
from paybill.agents.runs import Budget, Grant
from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.api.failures import Invalid


def workflow(**changes: object) -> AgentWorkflowSpec:
    steps = [
        {"name": "load", "uses": "orders.get", "maxCalls": 2, "next": [{"to": "judge"}]},
        {"name": "judge", "uses": "decide", "out": {"verdict": ["yes", "no"]}, "next": [{"to": "mark"}]},
        {
            "name": "mark", "uses": "orders.update", "maxRows": 3,
            "compensate": {"uses": "orders.update"}, "next": [{"to": "note"}],
        },
        {"name": "note", "uses": "notes.create", "compensate": {"uses": "notes.delete"}},
    ]  # fmt: skip
    return AgentWorkflowSpec.model_validate({"initial": "load", "steps": steps, **changes})


def test_each_step_may_do_its_operation_and_what_undoes_it_as_often():
    assert set(opening.grants(workflow())) == {
        Grant(step="load", collection="orders", operation="get", calls=2, rows=1),
        Grant(step="mark", collection="orders", operation="update", calls=2, rows=3),
        Grant(step="note", collection="notes", operation="create", calls=1, rows=1),
        Grant(step="note", collection="notes", operation="delete", calls=1, rows=1),
    }


def test_the_budget_is_the_workflows_and_a_call_more_for_each_that_is_undone_or_read_again():
    limits = {"maxSteps": 7, "deadline": "90s", "rowsRead": 4, "rowsWritten": 2}
    budget = Budget(calls=14, rows_read=4, rows_written=2, time=timedelta(seconds=90))
    assert opening.budget(workflow(limits=limits)) == budget


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "order is missing"),
        ({"order": "2", "more": "x"}, "more is no input"),
        ({"order": "2.5"}, "order is no Integer"),
        ({"order": "2 OR 1=1"}, "order is no Integer"),
        ({"order": "9" * 19}, "order is no Integer"),
        ({"order": "2\n"}, "order is no Integer"),
        ({"order": "2", "sure": "yes"}, "sure is no Boolean"),
        ({"order": "2", "sure": "true", "much": "1e3"}, "much is no Decimal"),
        ({"order": "2", "sure": "true", "much": "1", "why": "a\x00b"}, "why is no Text"),
    ],
)
def test_an_input_is_what_the_workflow_asks_for_and_nothing_else(given, said):
    asked = {"order": "Integer", "sure": "Boolean", "much": "Decimal", "why": "Text"}
    with pytest.raises(Invalid, match=said):
        opening.check_input(workflow(input=asked), given)
    opening.check_input(workflow(input=asked), {"order": "-2", "sure": "false", "much": "0.10", "why": "a\nb"})
