"""A plan is made without a database, is the same every time, and is refused where the database would hold nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from paybill.agents.facts import Facts, Guarded, Surroundings
from paybill.agents.plan import Plan, plan
from paybill.api.failures import Blocked, Invalid
from paybill.cli.main import main
from tests.agents import shop
from tests.agents.tables import SCHEMA

AROUND = Surroundings(
    version=180006,
    superuser=True,
    insiders=("pb_shop0001_rw",),
    open_functions=("pg_sleep(double precision)",),
    guarded=(Guarded(collection="orders", owner="o", row_security=False, grantees=("pb_shop0001_rw",)),),
)
FACTS = Facts(database="pb_t_shop0001", schema_=SCHEMA, surroundings=AROUND)


def around(**changes: object) -> Facts:
    return FACTS.model_copy(update={"surroundings": AROUND.model_copy(update=changes)})


def made(facts: Facts = FACTS, **changes: object) -> Plan:
    return plan(shop.policy(**changes), facts, shop.TENANT)


def sql(one: Plan) -> str:
    return "\n".join(statement.sql.as_string(None) for statement in one.all)


def test_how_the_database_was_found_is_not_in_the_hash_of_the_plan() -> None:
    known = around(roles=("pba_shop0001_keeper",), open_functions=(), guarded=())
    assert sql(made(known)) != sql(made())
    assert made(known).digest == made().digest


def test_the_order_of_fields_makes_no_other_grants() -> None:
    [orders, comments] = shop.POLICY["collections"]
    turned = {**orders, "update": {**orders["update"], "fields": ["notes", "status"]}}
    granted = [one for one in sql(made()).splitlines() if one.startswith("GRANT UPDATE")]
    assert granted == [one for one in sql(made(collections=[turned, comments])).splitlines() if one in granted]


def test_who_could_use_a_table_goes_on_and_is_asked_about_only_once() -> None:
    assert 'CREATE POLICY "pba_pass" ON "t_shop0001"."orders" AS PERMISSIVE FOR ALL TO "pb_shop0001_rw"' in sql(made())
    guarded = AROUND.guarded[0].model_copy(update={"row_security": True})
    assert "pba_pass" not in sql(made(around(guarded=(guarded,))))


def test_a_name_is_quoted_wherever_it_stands() -> None:
    evil = 'no"te%s'
    columns = tuple(
        one.model_copy(update={"name": evil}) if one.name == "notes" else one
        for one in SCHEMA.by_name["orders"].columns
    )
    orders = SCHEMA.by_name["orders"].model_copy(update={"columns": columns})
    facts = FACTS.model_copy(
        update={"schema_": SCHEMA.model_copy(update={"collections": (SCHEMA.by_name["comments"], orders)})}
    )
    policy = json.loads(json.dumps(shop.POLICY).replace('"notes"', json.dumps(evil)))
    written = sql(plan(shop.policy(collections=policy["collections"]), facts, shop.TENANT))
    assert 'no"te' not in written.replace('no""te', "").replace('no\\"te', "")
    assert 'no""te%%s' in written


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (around(version=180004), "update to 18.6"),
        (around(version=150018), "update to 15.19"),
        (around(superuser=False), "no superuser"),
        (around(insiders=()), "nobody but PUBLIC may connect"),
        (around(open_databases=("template1",)), "connect to database template1"),
        (around(open_definers=("t_shop0001.leak()",)), "acts with its owner's rights"),
        (around(strays=("function pg_read_file(text)",)), "holds or owns function pg_read_file"),
        (
            around(guarded=(Guarded(collection="orders", owner="o", row_security=False, grantees=("",)),)),
            "PUBLIC holds",
        ),
    ],
)
def test_no_plan_where_the_database_would_hold_nothing(facts: Facts, said: str) -> None:
    with pytest.raises(Blocked, match=said) as failure:
        made(facts)
    assert failure.value.reason == "AgentsNotSafeHere"


@pytest.mark.parametrize(
    "rows",
    [
        {"all": []},
        {"all": [{"field": "region", "op": "eq"}]},
        {"all": [{"field": "region", "op": "in", "value": "eu"}]},
        {"any": [{"field": "region", "op": "isNull", "value": "eu"}]},
        {"all": [{"field": "nothing", "op": "isNull"}]},
    ],
)
def test_a_rule_that_would_mean_nothing_is_refused(rows: dict[str, object]) -> None:
    orders = {**shop.POLICY["collections"][0], "rows": rows}
    with pytest.raises(Invalid, match="PolicyDoesNotFit"):
        made(collections=[orders])


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    policy = {"kind": "AgentPolicy", "metadata": {"name": "support"}, "spec": shop.POLICY}
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")
    (tmp_path / "facts.json").write_text(json.dumps(FACTS.wire()), encoding="utf-8")
    return str(tmp_path / "policy.yaml"), str(tmp_path / "facts.json")


def called(*words: str) -> Result:
    return CliRunner().invoke(main, ["agents", "plan", "--tenant", shop.TENANT, *words])


def test_the_command_says_what_would_be_done(files: tuple[str, str]) -> None:
    policy, facts = files
    said = called(policy, "--facts", facts)
    assert said.exit_code == 0, said.output
    assert "create role pba_shop0001_a_support" in said.output
    assert f"plan {made().digest}" in said.output
    document = json.loads(called(policy, "--facts", facts, "-o", "json").stdout)
    assert document["planHash"] == made().digest
    assert document["tools"][0]["name"] == "comments.delete"
    written = called(policy, "--facts", facts, "-o", "sql").stdout
    assert written.startswith('CREATE ROLE "pba_shop0001_keeper" NOLOGIN NOINHERIT;\n')


def test_the_command_refuses_what_is_no_policy_and_no_facts(files: tuple[str, str]) -> None:
    policy, facts = files
    assert "is not what `paybill agents facts` writes" in called(policy, "--facts", policy).stderr
    assert "AgentPolicy without a name" in called(facts, "--facts", facts).stderr
    assert called(policy).exit_code == 2
