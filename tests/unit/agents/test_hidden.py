"""What a policy lets its agent find out of rows that it may not see is refused or warned of when it is compiled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from paybill.agents.facts import Collection, Column, Facts, Reference, Schema
from paybill.agents.hidden import told, warnings
from paybill.agents.plan import plan
from paybill.api.failures import Invalid
from paybill.cli.main import main
from tests.agents import shop
from tests.unit.agents.test_plan import AROUND, sql


def column(name: str) -> Column:
    return Column(name=name, type="integer", kind="Integer", bits=32)


def table(name: str, *columns: str, key: str = "id", **more: Any) -> Collection:
    return Collection(name=name, kind="r", columns=tuple(map(column, columns)), primary_key=(key,), **more)


PAIR = Reference(columns=("region", "place"), collection="places", to=("region", "number"))
SCHEMA = Schema(
    name="t_shop0001",
    collections=(
        table(
            "lines", "id", "owner", "parent", "region", "place", "far", "mail",
            unique=(("mail",), ("region", "place")),
            references=(
                Reference(columns=("owner",), collection="people", to=("id",)),
                Reference(columns=("parent",), collection="lines", to=("id",)),
                PAIR,
                Reference(columns=("far",), collection="other.things", to=("id",)),
            ),
        ),
        table("people", "id", "team"),
        table("places", "id", "region", "number"),
    ),
)  # fmt: skip
FACTS = Facts(database="pb_t_shop0001", schema_=SCHEMA, surroundings=AROUND.model_copy(update={"guarded": ()}))
TEAM = {"all": [{"field": "team", "op": "eq", "value": 7}]}
PEOPLE = {"name": "people", "read": {"fields": ["id"]}}
PLACES = {"name": "places", "read": {"fields": ["region", "number"]}}
ALL = {"fields": ["id", "owner", "parent", "region", "place", "mail"]}


def lines(**policy: Any) -> dict[str, Any]:
    return {"name": "lines", "read": ALL, **policy}


def made(*collections: dict[str, Any]) -> str:
    return sql(plan(shop.policy(collections=list(collections)), FACTS, shop.TENANT))


def warned(*collections: dict[str, Any]) -> tuple[str, ...]:
    return warnings(shop.policy(collections=list(collections)), SCHEMA)


@pytest.mark.parametrize("write", ["create", "update"])
@pytest.mark.parametrize(
    ("field", "others", "said"),
    [
        ("owner", [], "lines.owner a key of people that the agent may not read: grant read of id there"),
        ("owner", [{"name": "people", "create": {"fields": ["id"]}}], "lines.owner a key of people"),
        ("place", [{**PLACES, "read": {"fields": ["region"]}}], "lines.region, place a key of places"),
        ("far", [PEOPLE, PLACES], "lines.far a key of other.things"),
    ],
)
def test_no_policy_lets_an_agent_refer_to_what_it_may_not_read(
    write: str, field: str, others: list[dict[str, Any]], said: str
) -> None:
    one = lines(**{write: {"fields": [field]}})
    with pytest.raises(Invalid, match=said) as refused:
        made(one, *others)
    assert refused.value.reason == "PolicyDoesNotFit"
    pinned = {"all": [{"field": field, "op": "in", "values": [1, 2]}]}
    assert made(lines(**{write: {"fields": [field], "check": pinned}}), *others)
    assert made(lines(rows=pinned, **{write: {"fields": [field]}}), *others)
    loose = {"any": [{"field": field, "op": "eq", "value": 1}], "all": [{"field": field, "op": "gt", "value": 1}]}
    with pytest.raises(Invalid, match=said):
        made(lines(**{write: {"fields": [field], "check": loose}}), *others)


def test_a_reference_is_held_to_what_the_agent_sees_whatever_the_columns_are_called() -> None:
    written = made(lines(create={"fields": ["owner", "parent", "place"]}, update={"fields": ["mail"]}), PEOPLE, PLACES)
    [create] = [one for one in written.splitlines() if 'CREATE POLICY "pba_support_create"' in one]
    assert create.endswith(
        "WITH CHECK (true AND"
        ' ("lines"."owner" IS NULL OR EXISTS (SELECT FROM "t_shop0001"."people" AS "pba_seen"'
        ' WHERE "pba_seen"."id" = "lines"."owner"))'
        ' AND ("lines"."parent" IS NULL OR EXISTS (SELECT FROM "t_shop0001"."lines" AS "pba_seen"'
        ' WHERE "pba_seen"."id" = "lines"."parent"))'
        ' AND ("lines"."region" IS NULL OR "lines"."place" IS NULL'
        ' OR EXISTS (SELECT FROM "t_shop0001"."places" AS "pba_seen"'
        ' WHERE "pba_seen"."region" = "lines"."region" AND "pba_seen"."number" = "lines"."place")))'
    )
    [update] = [one for one in written.splitlines() if 'CREATE POLICY "pba_support_update"' in one]
    assert update.endswith("WITH CHECK (true AND true)"), "an update of what refers to nothing asks for nothing"


def test_a_key_of_hidden_rows_or_hidden_columns_is_warned_of_and_no_other() -> None:
    region = {"all": [{"field": "region", "op": "eq", "value": 1}]}
    mail, pair = "who gives lines a value of mail learns", "who gives lines a value of region, place learns"
    write = {"fields": ["mail", "place"], "check": {"all": [{"field": "place", "op": "in", "values": [1]}]}}
    assert warned(lines(create={"fields": ["mail"]})) == (), "it may see every row, and the key"
    assert [one.partition(" whether")[0] for one in warned(lines(rows=region, create={"fields": ["mail"]}))] == [mail]
    shown = {**ALL, "fields": ["id"]}
    assert [one.partition(" whether")[0] for one in warned(lines(read=shown, create={"fields": ["mail"]}))] == [mail]
    assert warned(lines(rows=region, create={"fields": ["place"]})) == (), "who has the same key has the same region"
    mine = {"all": [{"field": "owner", "op": "eq", "value": 1}]}
    assert [one.partition(" whether")[0] for one in warned(lines(rows=mine, create={"fields": ["place"]}))] == [pair]
    assert [one.partition(" whether")[0] for one in warned(lines(rows=mine, create=write))] == [mail], "place is given"
    assert warned(lines(rows=mine, create={"fields": ["region"], "check": region})) == ()


def test_a_unique_index_of_an_expression_may_be_of_any_column() -> None:
    lines_ = SCHEMA.collections[0].model_copy(update={"unique": ((),)})
    schema = SCHEMA.model_copy(update={"collections": (lines_, *SCHEMA.collections[1:])})
    policy = shop.policy(collections=[lines(create={"fields": ["mail"]})])
    assert "of what a unique index is of learns" in warnings(policy, schema)[0]


def test_what_holds_a_row_is_warned_of_where_the_agent_may_not_see_it() -> None:
    people = {**PEOPLE, "delete": {}}
    said = "who takes a key of people away learns whether a row of lines that the agent may not see refers to it"
    assert warned(people) == (said,)
    assert warned(people, lines(rows=TEAM)) == (said,)
    assert warned(people, lines()) == ()
    assert warned({**PEOPLE, "update": {"fields": ["team"]}}) == ()
    assert warned({**PEOPLE, "update": {"fields": ["id"]}}) == (said,)


def test_only_a_write_that_may_tell_is_asked_about_first() -> None:
    region = {"all": [{"field": "region", "op": "eq", "value": 1}]}
    quiet = made(lines(create={"fields": ["mail"]}, update={"fields": ["mail"]}, delete={}))
    assert "pb.may_tell('" not in quiet
    one = lines(rows=region, create={"fields": ["mail"]}, update={"fields": ["region"]})
    assert made(one).count("pb.may_tell(''lines'', ''create'')") == 1
    assert "pb.may_tell(''lines'', ''update'')" not in made(one)
    policy = shop.policy(collections=[one])
    assert told(policy, policy.collections[0], "delete", SCHEMA) == ()


def test_the_command_warns_beside_what_it_prints(tmp_path: Path) -> None:
    spec = {**shop.POLICY, "collections": [{**PEOPLE, "delete": {}}]}
    policy = {"kind": "AgentPolicy", "metadata": {"name": "support"}, "spec": spec}
    (tmp_path / "policy.json").write_text(json.dumps(policy), encoding="utf-8")
    (tmp_path / "facts.json").write_text(json.dumps(FACTS.wire()), encoding="utf-8")

    def said(output: str) -> Any:
        words = ["agents", "plan", str(tmp_path / "policy.json"), "--facts", str(tmp_path / "facts.json")]
        answer = CliRunner().invoke(main, [*words, "--tenant", "shop0001", "-o", output])
        assert answer.exit_code == 0, answer.output
        return answer

    [warning] = json.loads(said("json").stdout)["warnings"]
    for output in ("text", "sql"):
        assert said(output).stderr == f"warning: {warning}\n"
        assert "warning" not in said(output).stdout
    assert said("json").stderr == ""
