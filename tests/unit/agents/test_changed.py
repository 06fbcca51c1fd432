"""What of a tenant's tables became another, and whether it is an agent's business."""

from paybill.agents.changed import changes, concerns
from paybill.agents.facts import Collection, Column, Reference, Schema
from paybill.api.agent_policy import AgentPolicySpec


def column(name: str, type_: str = "integer", **more: object) -> Column:
    kind = {"integer": "Integer", "text": "Text"}[type_]
    return Column.model_validate({"name": name, "type": type_, "kind": kind, "nullable": True, **more})


def table(name: str, *columns: Column, **more: object) -> Collection:
    return Collection(name=name, kind="r", columns=columns or (column("id"),), **more)


def schema(*tables: Collection) -> Schema:
    return Schema(name="t_k3x9m2qd", collections=tables)


POLICY = AgentPolicySpec.model_validate(
    {
        "tenantRef": {"name": "acme"},
        "agent": "support",
        "collections": [{"name": "orders", "read": {"fields": ["id"]}}],
    }
)
FOLLOWS = Reference(columns=("order_id",), collection="orders", to=("id",), on_delete="Cascade")


def test_each_difference_is_named():
    before = schema(table("a"), table("b", column("x"), column("y")), table("c", primary_key=("id",)))
    now = schema(table("b", column("x", "text"), column("z")), table("c"), table("d"))
    assert list(changes(before, now)) == [
        "table a is gone",
        "column b.x is text, was integer",
        "column b.y is gone",
        "column b.z is new",
        "keys of table c are others",
        "table d is new",
    ]


def test_a_column_whose_type_stays_may_still_be_another():
    before, now = schema(table("a", column("x"))), schema(table("a", column("x", nullable=False)))
    assert list(changes(before, now)) == ["column a.x is another"]


def test_nothing_is_said_of_the_same():
    assert list(changes(schema(table("a")), schema(table("a")))) == []


def test_what_no_policy_names_or_reaches_is_no_business_of_an_agents():
    before = schema(table("orders"), table("other"))
    assert concerns(POLICY, before) == concerns(POLICY, schema(table("orders"), table("other", column("x"))))
    assert concerns(POLICY, before) != concerns(POLICY, schema(table("orders", column("x")), table("other")))


def test_a_table_that_follows_it_is():
    before = schema(table("lines", column("order_id")), table("orders"))
    now = schema(table("lines", column("order_id"), references=(FOLLOWS,)), table("orders"))
    assert concerns(POLICY, before) != concerns(POLICY, now)
