"""AgentPolicies that must be accepted and refused."""

from __future__ import annotations

from typing import Any

from tests.cases.model import Case, Change, Object, named

ORDERS: Object = {"name": "orders", "read": {"fields": ["id"]}}


def policy(**spec: Any) -> Object:
    """An AgentPolicy that lets an agent read one column, unless the spec says otherwise."""
    said = {"tenantRef": {"name": "acme"}, "agent": "support", "collections": [ORDERS], **spec}
    return named("AgentPolicy", "case", said)


def _case(says: str, message: str | None, **spec: Any) -> Case:
    return Case("AgentPolicy", says, policy(**spec), message)


def _orders(says: str, message: str | None, **more: Any) -> Case:
    return _case(says, message, collections=[{**ORDERS, **more}])


def _rule(says: str, message: str | None, **condition: Any) -> Case:
    return _orders(says, message, rows={"all": [{"field": "region", **condition}]})


CASES = (
    _case("the smallest", None),
    _case("a subject", None, subjects=[{"serviceAccount": {"namespace": "acme", "name": "support-bot"}}]),
    _case("that ends", None, expiresTime="2099-01-01T00:00:00Z"),
    _orders("rows, of which any", None, rows={"any": [{"field": "region", "op": "isNull"}]}),
    _rule("rows of some regions", None, op="in", values=["eu", "us"]),
    _orders("that may delete", None, delete={}),
    _case("an agent that is no label", "must be a DNS label", agent="Support Bot"),
    _case("an agent of 41 characters", "Too long", agent="a" * 41),
    _case("a Tenant whose name is none", "must be a DNS label", tenantRef={"name": "Acme Corp"}),
    _case("nothing", "should have at least 1 items", collections=[]),
    _case("a table twice", "Duplicate value", collections=[ORDERS, ORDERS]),
    _case("a table of which nothing may be done", "needs at least one of read", collections=[{"name": "orders"}]),
    _case("a name of two lines", "must be one line", collections=[{**ORDERS, "name": "a\nb"}]),
    _orders("a rule of nothing", "a rule needs a condition", rows={}),
    _rule("one of a value", "op in takes values", op="in", value="eu"),
    _rule("nothing of a value", "op isNull takes neither", op="isNull", value="eu"),
    _rule("the same as nothing", "every other op takes value", op="eq"),
    _orders("a column twice", "Duplicate value", read={"fields": ["id", "id"]}),
    _case("a duration that is none", "there is no unit for days", limits={"statementTimeout": "soon"}),
    _case("an end in the year 0", "must be a moment of the years", expiresTime="0000-01-01T00:00:00Z"),
    _case("a quantity that is none", "must be a Kubernetes quantity", limits={"tempFiles": "much"}),
    Case("AgentPolicy", "a name of 64 characters", {**policy(), "metadata": {"name": "a" * 64}}, "at most 63"),
    Case("AgentPolicy", "a name with a dot", {**policy(), "metadata": {"name": "a.b"}}, "must be a DNS label"),
)

CHANGES = (
    Change("AgentPolicy", "the same again", policy(), policy(), None),
    Change("AgentPolicy", "closed", policy(), policy(suspend=True), None),
    Change("AgentPolicy", "of another agent", policy(), policy(agent="other"), "cannot be changed"),
    Change("AgentPolicy", "of another tenant", policy(), policy(tenantRef={"name": "b"}), "cannot be changed"),
)
