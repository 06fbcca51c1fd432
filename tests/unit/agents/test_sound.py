"""A workflow that cannot be walked, leaves its policy or trusts a stranger's text is refused before it is run."""

from __future__ import annotations

from typing import Any

import pytest

from paybill.agents.sound import check
from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.api.failures import Invalid
from paybill.api.schema import structural
from tests.agents import shop
from tests.agents.tables import SCHEMA

LOAD = {"name": "load", "uses": "orders.get", "with": {"id": "$input.orderId"}, "next": [{"to": "judge"}]}
JUDGE = {"name": "judge", "uses": "decide", "out": {"verdict": ["refund", "reject"]},
         "next": [{"to": "ask", "when": {"field": "$steps.judge.verdict", "op": "eq", "value": "refund"}}]}  # fmt: skip
ASK = {"name": "ask", "uses": "approve", "next": [{"to": "mark"}]}
MARK = {"name": "mark", "uses": "orders.update", "trusted": ["id", "status"],
        "with": {"id": "$steps.load.id", "status": "refund_requested", "notes": "$steps.load.notes",
                 "ifMatch": "$steps.load.version"}}  # fmt: skip


def checked(**changes: Any) -> None:
    steps = [{**step, **changes.get(step["name"], {})} for step in (LOAD, JUDGE, ASK, MARK)]
    content = {"input": {"orderId": "Integer"}, "initial": changes.get("initial", "load"), "steps": steps}
    check(AgentWorkflowSpec.model_validate(content), shop.policy(), SCHEMA)


def test_a_workflow_inside_its_policy_is_sound() -> None:
    checked()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"initial": "begin"}, "no step begin"),
        ({"load": {"next": [{"to": "nowhere"}]}}, "nowhere, which is no step"),
        ({"load": {"with": {"id": "$input.order"}}}, "is nothing that there is"),
        ({"load": {"with": {"id": "$env.HOME"}}}, "is nothing that there is"),
        ({"mark": {"with": {"id": "$steps.judge.mood"}}}, "is nothing that there is"),
        ({"load": {"uses": "orders.delete"}}, "does not grant orders.delete"),
        ({"load": {"uses": "customers.get"}}, "does not grant customers.get"),
        ({"load": {"uses": "orders.execute"}}, "does not grant orders.execute"),
        ({"mark": {"with": {"id": "1", "amount": "0"}, "trusted": []}}, "no argument amount"),
        ({"mark": {"compensate": {"uses": "orders.delete", "with": {"id": "1"}}}}, "does not grant orders.delete"),
        ({"judge": {"out": None}}, "out is for decide"),
        ({"ask": {"next": []}}, "exactly one operation"),
        ({"ask": {"next": [{"to": "judge"}]}}, "exactly one operation"),
        ({"mark": {"trusted": ["id", "customer_id"]}}, "customer_id, which is no argument"),
    ],
)
def test_a_workflow_that_is_not_sound_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said) as failure:
        checked(**changes)
    assert failure.value.reason == "WorkflowUnsound"


def test_attack_2_a_strangers_text_fills_no_trusted_argument() -> None:
    with pytest.raises(Invalid, match="may be a stranger's text"):
        checked(mark={"trusted": ["notes"]})
    checked(mark={"trusted": ["ifMatch"]})


def test_the_revision_is_the_hash_of_the_content() -> None:
    def revision(status: str) -> str:
        mark = {**MARK, "with": {"id": "1", "status": status}}
        return AgentWorkflowSpec.model_validate({"initial": "mark", "steps": [mark]}).revision

    assert revision("open") == revision("open") != revision("refund_requested")


def test_the_workflow_has_a_structural_schema() -> None:
    steps = structural(AgentWorkflowSpec)["properties"]["steps"]
    assert steps["items"]["required"] == ["name", "uses"]
