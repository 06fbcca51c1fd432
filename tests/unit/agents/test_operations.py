"""What an agent can say is what the policy grants and the column takes, and nothing beside it."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from paybill.agents.operations import tools, tools_digest
from paybill.api.agent_policy import AgentPolicySpec
from paybill.api.failures import Invalid
from paybill.api.schema import structural
from tests.agents import shop
from tests.agents.tables import COMMENTS, ORDERS, SCHEMA


def tool(name: str, policy: AgentPolicySpec | None = None):
    return next(one for one in tools(policy or shop.policy(), SCHEMA) if one.name == name)


def says(name: str, **words: object):
    return tool(name).model.model_validate_json(json.dumps(words))


def test_there_is_a_tool_for_each_operation_that_is_granted_and_for_no_other() -> None:
    assert [one.name for one in tools(shop.policy(), SCHEMA)] == [
        "comments.delete", "comments.get", "comments.list",
        "orders.aggregate", "orders.create", "orders.get", "orders.list", "orders.update",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("orders.get", {"key": {"id": 7}}),
        ("orders.list", {"where": [{"field": "status", "op": "in", "values": ["open"]}], "limit": 20}),
        ("orders.list", {"sort": [{"field": "amount", "descending": True}]}),
        ("orders.aggregate", {"function": "sum", "field": "amount", "groupBy": "status"}),
        ("orders.create", {"values": {"customer_id": 1, "amount": "12.50"}}),
        ("orders.update", {"key": {"id": 7}, "values": {"status": "refund_requested"}, "ifMatch": 2}),
    ],
)
def test_what_is_granted_can_be_said(name: str, words: dict[str, object]) -> None:
    says(name, **words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("orders.get", {"key": {"id": True}}, id="a truth for a number"),
        pytest.param("orders.get", {"key": {"id": "7"}}, id="a text for a number"),
        pytest.param("orders.get", {"key": {"id": 2**31}}, id="more than 32 bits"),
        pytest.param("orders.get", {"key": {"id": [7]}}, id="a list for a scalar"),
        pytest.param("orders.get", {"key": {}}, id="no key"),
        pytest.param("orders.get", {"key": {"id": 7}, "sql": "SELECT 1"}, id="a word that there is not"),
        pytest.param("orders.list", {"limit": 21}, id="more rows than granted"),
        pytest.param("orders.list", {"where": [{"field": "region", "op": "eq", "value": "us"}]}, id="hidden filter"),
        pytest.param("orders.list", {"where": [{"field": "notes", "op": "eq", "value": "x"}]}, id="not filterable"),
        pytest.param("orders.list", {"where": [{"field": "id", "op": "or 1=1", "value": 7}]}, id="an operator of SQL"),
        pytest.param("orders.list", {"where": [{"field": "ID", "op": "eq", "value": 7}]}, id="another case"),
        pytest.param("orders.list", {"where": [{"field": "id", "op": "startsWith", "value": 7}]}, id="prefix"),
        pytest.param("orders.list", {"where": [{"field": "id", "op": "in", "values": [1] * 101}]}, id="long list"),
        pytest.param("orders.list", {"where": [{"field": "id", "op": "eq", "value": 1}] * 11}, id="many conditions"),
        pytest.param("orders.list", {"sort": [{"field": "placed"}]}, id="not sortable"),
        pytest.param("orders.create", {"values": {"customer_id": 1, "amount": 12.5}}, id="a float for a decimal"),
        pytest.param("orders.create", {"values": {"customer_id": 1, "amount": "NaN"}}, id="no number"),
        pytest.param("orders.create", {"values": {"customer_id": 1, "amount": "1.234"}}, id="too many digits"),
        pytest.param("orders.create", {"values": {"customer_id": 1, "amount": "1", "region": "us"}}, id="fixed"),
        pytest.param("orders.create", {"values": {"amount": "1"}}, id="a column that must have a value"),
        pytest.param("orders.create", {"values": {"customer_id": 1, "amount": "1", "notes": "x" * 41}}, id="too long"),
        pytest.param("orders.create", {"values": {"customer_id": 1, "amount": "1", "notes": "\0"}}, id="NUL"),
        pytest.param("orders.update", {"key": {"id": 7}, "values": {"status": "lost"}, "ifMatch": 2}, id="no label"),
        pytest.param("orders.update", {"key": {"id": 7}, "values": {"status": "open"}}, id="without ifMatch"),
        pytest.param("orders.aggregate", {"function": "max", "field": "amount"}, id="a function not granted"),
    ],
)  # fmt: skip
def test_what_is_not_granted_or_does_not_fit_cannot_be_said(name: str, words: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        says(name, **words)


def test_a_field_that_is_not_granted_is_not_in_any_schema() -> None:
    written = json.dumps([one.schema for one in tools(shop.policy(), SCHEMA)])
    assert "region" not in written
    assert "tags" not in written


def test_what_cannot_be_filtered_by_anything_is_listed_whole() -> None:
    plain = with_orders(read={"fields": ["id"]})
    model = tool("orders.list", plain).model
    model.model_validate_json('{"where": [], "limit": 5}')
    with pytest.raises(ValidationError):
        model.model_validate_json('{"where": [{"field": "id", "op": "eq", "value": 1}]}')


def test_the_schemas_are_the_same_bytes_every_time() -> None:
    pinned = "sha256:4aea9383f48688c36f33afede863290081cc20a4689045bccd25d6d04df9f2b4"
    assert tools_digest(tools(shop.policy(), SCHEMA)) == pinned


def test_a_column_of_another_type_is_another_digest() -> None:
    columns = tuple(one.model_copy(update={"length": 41}) if one.name == "notes" else one for one in ORDERS.columns)
    changed = SCHEMA.model_copy(update={"collections": (COMMENTS, ORDERS.model_copy(update={"columns": columns}))})
    assert tools_digest(tools(shop.policy(), changed)) != tools_digest(tools(shop.policy(), SCHEMA))


def with_orders(**changes: object) -> AgentPolicySpec:
    return shop.policy(collections=[{"name": "orders", **changes}])


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (shop.policy(collections=[{"name": "nothing", "delete": {}}]), "no table nothing"),
        (with_orders(read={"fields": ["id", "secret"]}), "no column secret"),
        (with_orders(read={"fields": ["tags"]}), "type text\\[\\]"),
        (with_orders(read={"fields": ["id"], "requireEq": ["id"]}), "read.filterable does not"),
        (with_orders(create={"fields": ["amount"]}), "customer_id must have a value"),
        (with_orders(create={"fields": ["customer_id", "amount", "region", "doubled"]}), "by the server alone"),
        (with_orders(delete={}), "comments refers to orders and follows it"),
        (with_orders(aggregate={"functions": ["sum"], "fields": ["notes"]}), "is no number"),
    ],
)
def test_a_policy_that_does_not_fit_the_tables_is_refused_as_a_whole(policy: AgentPolicySpec, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        tools(policy, SCHEMA)


def test_the_policy_has_a_structural_schema() -> None:
    assert structural(AgentPolicySpec)["properties"]["collections"]["x-kubernetes-list-map-keys"] == ["name"]
