"""A Cell's servers are proved on schedule, and what is wrong with one is told where people look."""

from __future__ import annotations

import asyncio
import json

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql
from psycopg.conninfo import make_conninfo

from paybill.cli.main import main
from paybill.databases.credentials import scram_verifier
from paybill.reconcile.queue import Work
from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.customers import Customers, connect, may_connect
from tests.cluster.waiting import until
from tests.conftest import LocalThread

SETTINGS = {"isolation_settle_seconds": 0.2}
ISOLATED = "Isolated"


@pytest.fixture(autouse=True, scope="module")
def closed(control_plane: LocalThread, control_dsn: str) -> None:
    """What other modules left on the server is open to every login, as Postgres makes it."""
    with psycopg.connect(control_plane.postgres_dsn, autocommit=True) as connection:
        for (database,) in connection.execute("SELECT datname FROM pg_database").fetchall():
            if database != "paybill_control":
                connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))


def isolation_of(cell: Object) -> Object:
    return cell["status"]["servers"][0].get("isolation", {})


def pool_of(control_plane: LocalThread, database: str) -> psycopg.Connection:
    dsn = make_conninfo(control_plane.postgres_dsn, dbname=database)
    return psycopg.connect(dsn, autocommit=True, options="-c search_path=pg_catalog")


@pytest.mark.parametrize(("holds_what", "level"), [("Rows", "Rows"), ("Schemas", "Schema"), ("Databases", "Database")])
async def test_a_new_server_is_proved_and_its_tenants_say_so(api, customers: Customers, name, holds_what, level):
    await api.apply(samples.cell(name, [samples.server(holds=holds_what)]))

    cell = await customers.until(name, lambda one: holds(one, ISOLATED, "Proven"), kind="Cell")

    proved = isolation_of(cell)
    assert proved["denied"] > 40
    assert not proved["succeeded"]
    assert proved["version"] == cell["status"]["servers"][0]["version"]
    tenant = await customers.onboard(database=level, spec={"cellRef": {"name": name}})
    found = await customers.until(tenant.name, lambda one: holds(one, ISOLATED, "Proven"))
    assert proved["checkedTime"] in condition(found, ISOLATED)["message"]


async def test_the_time_of_a_proof_changes_with_a_check_only(api: Api, customers: Customers, name, operator):
    await api.apply(samples.cell(name, isolation={"every": "24h"}))
    before = await customers.until(name, lambda one: holds(one, ISOLATED, "Proven"), kind="Cell")
    await customers.quiet()
    for _ in range(2):
        operator.look_at("Cell", name, deep=True)
        operator.call(lambda world: world.queue.add(Work("Isolation", name), "test"))
        await customers.quiet()
    again = await api.get("Cell", name)
    assert again["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    operator.restart()
    await customers.quiet()
    assert isolation_of(await api.get("Cell", name)) == isolation_of(before), "a restart proves nothing anew"

    await api.edit("Cell", name, {"spec": {"isolation": {"every": "1s"}}})
    await customers.until(
        name, lambda one: isolation_of(one)["checkedTime"] > isolation_of(before)["checkedTime"], kind="Cell"
    )


async def test_a_shared_table_without_a_fence_is_told_and_its_tenants_hear_of_it(
    api: Api, customers: Customers, name, operator, control_plane
):
    await api.apply(samples.cell(name, [samples.server(holds="Rows")]))
    tenant = await customers.onboard(database="Rows", spec={"cellRef": {"name": name}})
    await customers.until(name, lambda one: holds(one, ISOLATED, "Proven"), kind="Cell")
    database = (await api.get("Tenant", tenant.name))["status"]["placement"]["database"]
    with pool_of(control_plane, database) as pool:
        pool.execute(f"SET ROLE {database}_mig; CREATE TABLE app.open (tenant_id text PRIMARY KEY)")
        operator.look_at("Cell", name, deep=True)

        cell = await customers.until(name, lambda one: holds_not(one, "SharedObjects"), kind="Cell")
        assert "RowSecurityOff: table app.open" in condition(cell, ISOLATED)["message"]
        await customers.until(tenant.name, lambda one: holds_not(one, "SharedObjects"))

        pool.execute("DROP TABLE app.open")
    operator.look_at("Cell", name, deep=True)
    await customers.until(name, lambda one: holds(one, ISOLATED, "Proven"), kind="Cell")
    await customers.until(tenant.name, lambda one: holds(one, ISOLATED, "Proven"))


def holds_not(one: Object, reason: str) -> bool:
    found = condition(one, ISOLATED)
    return bool(found) and (found["status"], found["reason"]) == ("False", reason)


async def test_privileges_too_many_are_reported_or_taken_back(
    api: Api, customers: Customers, name, operator, control_plane
):
    await api.apply(samples.cell(name, isolation={"grants": "Report"}))
    where = {"cellRef": {"name": name}}
    acme = await customers.onboard("acme", spec=where)
    beta = await customers.onboard("beta", plan=acme.plan, spec=where)
    database = (await api.get("Tenant", acme.name))["status"]["placement"]["database"]
    given = f"SELECT has_schema_privilege('pb_{acme.id}_app_a', 't_{beta.id}', 'USAGE')"
    with pool_of(control_plane, database) as pool:
        pool.execute(f"GRANT USAGE ON SCHEMA t_{beta.id} TO pb_{acme.id}_app_a")
        operator.look_at("Cell", name, deep=True)

        found = await customers.until(beta.name, lambda one: holds_not(one, "GrantsDiffer"))
        assert f"USAGE on schema t_{beta.id} for pb_{acme.id}_app_a" in condition(found, ISOLATED)["message"]
        assert holds(found, "Ready")
        cell = await customers.until(name, lambda one: holds_not(one, "GrantsDiffer"), kind="Cell")
        assert beta.name in condition(cell, ISOLATED)["message"]
        assert pool.execute(given).fetchone() == (True,), "nothing was changed"

        # What else is declared goes on being made so.
        await api.edit("Tenant", beta.name, {"spec": {"holds": [{"name": "abuse", "blocks": "Access"}]}})
        await customers.until(beta.name, lambda one: holds(one, "Suspended"))
        await api.edit("Tenant", beta.name, {"spec": {"holds": None}})
        await customers.until(beta.name, lambda one: not holds(one, "Suspended") and holds(one, "Ready"))

        await api.edit("Cell", name, {"spec": {"isolation": {"grants": "Enforce"}}})
        await customers.until(beta.name, lambda one: holds(one, ISOLATED, "Proven") or _look(customers, beta.name))
        assert pool.execute(given).fetchone() == (False,)


def _look(customers: Customers, tenant: str) -> bool:
    customers.operator.look_at("Tenant", tenant)
    return False


async def test_the_command_answers_in_the_agreed_shape(api: Api, customers: Customers, name, control_plane, operator):
    await api.apply(samples.cell(name, [samples.server("one"), samples.server("two", holds="Databases")]))
    await customers.until(name, lambda one: holds(one, "Ready"), kind="Cell")
    environment = {"PAYBILL_INSTALLATION": operator.settings.installation}
    where = ["--kubeconfig", str(control_plane.kubeconfig), "--cell", name]
    words = ["isolation", "check", *where, "--output", "json"]

    answer = await asyncio.to_thread(CliRunner().invoke, main, words, env=environment)

    told = json.loads(answer.stdout)
    assert answer.exit_code == 0, answer.stdout[-1500:]
    assert {one["level"] for one in told["attacks"]} == {"Schema", "Database"}
    assert {one["result"] for one in told["attacks"]} <= {"denied", "detected"}
    assert all(set(one) == {"level", "number", "name", "result", "evidence"} for one in told["attacks"])
    assert {one["number"] for one in told["attacks"]} >= {*range(1, 14), *range(24, 31)}
    assert [(one["server"], one["isolated"]) for one in told["servers"]] == [("one", True), ("two", True)]


async def test_a_login_that_changes_its_own_password_locks_nobody_out(api: Api, customers: Customers, name, operator):
    await api.apply(samples.cell(name))
    tenant = await customers.onboard(compute="Shared", spec={"cellRef": {"name": name}})
    binding = await customers.binding(tenant)
    async with await connect(binding) as session:
        stolen = scram_verifier("somebody else knows this")
        await session.execute(f"ALTER ROLE pb_{tenant.id}_app_a PASSWORD '{stolen}'")
    assert not await may_connect(binding)

    operator.look_at("Cell", name, deep=True)

    async def works() -> bool:
        return await may_connect(await customers.binding(tenant))

    await until(works)
    await customers.quiet()
    before = await api.get("Secret", f"t-{tenant.id}-db", tenant.namespace)
    operator.look_at("Cell", name, deep=True)
    operator.look_at("Tenant", tenant.name)
    await customers.quiet()
    after = await api.get("Secret", f"t-{tenant.id}-db", tenant.namespace)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"], "once is enough"
