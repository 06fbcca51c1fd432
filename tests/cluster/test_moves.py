"""A Plan that means another database level moves the tenant: it goes on writing, and finds all that it was promised."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from typing import Any, LiteralString

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import make_conninfo

from paybill.api.failures import Retry
from paybill.cli.main import main
from paybill.moves import closing, copying, leaving, replication, target, verification
from paybill.reconcile import move_steps
from tests.cluster import samples
from tests.cluster.api import Api, condition, holds
from tests.cluster.customers import Customer, Customers, connect, may_connect, secret
from tests.cluster.halting import set_mode
from tests.cluster.remains import state, traces
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

Postgres = psycopg.AsyncConnection[Any]
DATABASE = {"isolation": {"model": "Bridge", "compute": "Namespace", "database": "Database"}}
SCHEMA = {"isolation": {"model": "Pooled", "compute": "Namespace", "database": "Schema"}}


class Writer:
    """The customer's app: writes, and after an error reads its Secret again, as apps should."""

    def __init__(
        self, customers: Customers, customer: Customer, statement: LiteralString = "INSERT INTO log VALUES (%s)"
    ) -> None:
        self.customers, self.customer, self.statement = customers, customer, statement
        self.committed: list[int] = []
        self.number = 0
        self.task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                async with await connect(await self.customers.binding(self.customer)) as session:
                    while True:
                        self.number += 1
                        await session.execute(self.statement, (self.number,))
                        self.committed.append(self.number)
                        await asyncio.sleep(0.002)
            except psycopg.Error:
                await asyncio.sleep(0.02)

    async def more(self, number: int = 20) -> None:
        wanted = len(self.committed) + number

        async def enough() -> bool:
            return len(self.committed) >= wanted

        await until(enough)


async def tables(api: Api, customer: Customer, script: str = "CREATE TABLE log (id int PRIMARY KEY)") -> None:
    """What the provider's migrations make."""
    provider = await secret(api, "paybill-system", f"t-{customer.id}-db-provider")
    async with await psycopg.AsyncConnection.connect(provider["mig-uri"], autocommit=True) as session:
        await session.execute(script)  # type: ignore[arg-type]


async def logged(customers: Customers, customer: Customer) -> set[int]:
    async with await connect(await customers.binding(customer)) as session:
        return {row[0] for row in await (await session.execute("SELECT id FROM log")).fetchall()}


async def at(customers: Customers, name: str, level: str, seconds: float = 60.0) -> Any:
    """Wait until the Tenant is Ready at a level and its Secret was written."""

    def there(one: Any) -> bool:
        status = one.get("status", {})
        return holds(one, "Ready") and status["isolation"]["database"] == level and status.get("binding") is not None

    return await customers.until(name, there, seconds=seconds)


async def test_a_plan_change_moves_it_there_and_back_while_it_writes(
    api: Api, customers: Customers, postgres: Postgres, name: str
) -> None:
    await customers.plan(name)
    customer = await customers.onboard(plan=name)
    await tables(api, customer)
    writer = Writer(customers, customer)
    await writer.more()
    before = await customers.binding(customer)

    await api.edit("Plan", name, {"spec": DATABASE})
    found = await at(customers, name, "Database")
    await writer.more()

    assert found["status"]["placement"]["database"] == f"pb_t_{customer.id}"
    assert found["status"]["move"]["mode"] == "Online"
    assert condition(found, "Moving")["status"] == "False"
    after = await customers.binding(customer)
    assert {key: after[key] for key in ("username", "password")} == {
        key: before[key] for key in ("username", "password")
    }
    assert after["database"] == f"pb_t_{customer.id}" != before["database"]
    assert not await may_connect(before)

    await api.edit("Plan", name, {"spec": SCHEMA})
    await at(customers, name, "Schema")
    await writer.more()
    await writer.stop()

    assert set(writer.committed) <= await logged(customers, customer)
    assert (await customers.binding(customer))["database"] == before["database"]
    await customers.quiet()
    kept = await postgres.execute("SELECT 1 FROM pg_database WHERE datname = %s", (f"pb_kept_{customer.id}",))
    assert await kept.fetchone() is not None


async def begun(customers: Customers, api: Api, name: str) -> tuple[Customer, Writer]:
    """A customer that writes, and a Plan that means another level by now."""
    await customers.plan(name)
    customer = await customers.onboard(plan=name)
    await tables(api, customer)
    writer = Writer(customers, customer)
    await writer.more()
    await api.edit("Plan", name, {"spec": DATABASE})
    return customer, writer


FENCED = """
CREATE TABLE app.log (tenant_id text NOT NULL DEFAULT paybill.tenant(), id int, PRIMARY KEY (tenant_id, id));
ALTER TABLE app.log ENABLE ROW LEVEL SECURITY; ALTER TABLE app.log FORCE ROW LEVEL SECURITY;
CREATE POLICY pb_allow ON app.log FOR ALL TO pb_tenants
  USING (tenant_id = (SELECT paybill.tenant())) WITH CHECK (tenant_id = (SELECT paybill.tenant()));
"""


async def in_shared_tables(
    api: Api, customers: Customers, postgres: Postgres, name: str, other: str
) -> tuple[Customer, Writer]:
    """A customer at level Rows that writes, in a Cell with a server of another kind beside."""
    servers = [samples.server("rows-1", "Rows"), samples.server("other-1", other)]
    await api.apply(samples.cell(name, servers))
    await customers.plan(name, database="Rows")
    customer = await customers.onboard(plan=name, spec={"cellRef": {"name": name}})
    database = (await customers.binding(customer))["database"]
    shared = make_conninfo(postgres.info.dsn, password=postgres.info.password, dbname=database)
    async with await psycopg.AsyncConnection.connect(shared, autocommit=True) as admin:
        await admin.execute(f"SET ROLE {database}_mig; {FENCED}")  # type: ignore[arg-type]
    writer = Writer(customers, customer, "INSERT INTO log (id) VALUES (%s)")
    await writer.more()
    return customer, writer


async def test_a_plan_change_takes_it_out_of_shared_tables_while_it_writes(
    api: Api, customers: Customers, postgres: Postgres, name: str
) -> None:
    customer, writer = await in_shared_tables(api, customers, postgres, name, "Databases")
    before = await customers.binding(customer)

    await api.edit("Plan", name, {"spec": DATABASE})
    found = await at(customers, name, "Database")
    await writer.more()
    await writer.stop()

    assert found["status"]["move"]["mode"] == "Online"
    assert set(writer.committed) <= await logged(customers, customer)
    assert not await may_connect(before)
    provider = await secret(api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-db-provider")
    assert provider["mig-uri"], "its tables are its own to migrate now"
    await customers.quiet()
    await api.edit("Plan", name, {"spec": {"isolation": {**SCHEMA["isolation"], "database": "Rows"}}})
    assert "Database to Schema and then to Rows" in await customers.stalled(name, "MoveNotSupported")


@pytest.mark.exhaustive
async def test_it_goes_back_into_shared_tables_with_all_that_it_wrote_since(
    api: Api, customers: Customers, postgres: Postgres, name: str
) -> None:
    customer, writer = await in_shared_tables(api, customers, postgres, name, "Schemas")
    await api.edit("Plan", name, {"spec": SCHEMA})
    await at(customers, name, "Schema")
    await writer.more()

    await api.edit("Plan", name, {"spec": {"isolation": {**SCHEMA["isolation"], "database": "Rows"}}})
    found = await at(customers, name, "Rows")
    await writer.more()
    await writer.stop()

    assert "row security" in found["status"]["move"]["because"]
    assert "a pause of about" in found["status"]["move"]["because"]
    assert set(writer.committed) <= await logged(customers, customer)
    await customers.quiet()


LONG = pytest.mark.exhaustive
POINTS = (
    pytest.param(target, "make", marks=LONG),
    pytest.param(replication, "begin", marks=LONG),
    (copying, "copy"),
    pytest.param(replication, "follow", marks=LONG),
    (closing, "close"),
    pytest.param(replication, "drain", marks=LONG),
    pytest.param(verification, "complete", marks=LONG),
    (verification, "verify"),
    (move_steps, "settle"),
    pytest.param(leaving, "retire", marks=LONG),
)


def killed_behind(operator: Operator, monkeypatch: pytest.MonkeyPatch, module: Any, act: str) -> Callable[[], bool]:
    """The operator ends right behind the first time that an act is done; what this returns says whether it has."""
    usual, killed = getattr(module, act), []

    async def kill(*args: Any, **kwargs: Any) -> Any:
        answer = await usual(*args, **kwargs)
        if not killed:
            killed.append(act)
            operator.end_soon()
            await asyncio.sleep(30)  # it is cancelled in here
        return answer

    monkeypatch.setattr(module, act, kill)
    return lambda: bool(killed) and not operator.running


@pytest.mark.parametrize(("module", "act"), POINTS, ids=lambda one: one if isinstance(one, str) else "")
async def test_an_operator_that_is_killed_behind_any_act_goes_on(
    api: Api,
    customers: Customers,
    operator: Operator,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    act: str,
) -> None:
    dead = killed_behind(operator, monkeypatch, module, act)
    customer, writer = await begun(customers, api, name)

    await until(dead, seconds=60.0)
    operator.crash()
    operator.start()

    found = await at(customers, name, "Database")
    await writer.more()
    await writer.stop()
    assert set(writer.committed) <= await logged(customers, customer)
    assert found["status"]["move"]["mode"] == "Online"
    shut_out = module in (closing, verification) or act == "drain"
    assert shut_out or found["status"]["move"]["attempt"] == 1, "an operator that is ended is no attempt that failed"


async def test_a_copy_that_fails_is_told_of_and_begun_anew(
    api: Api, customers: Customers, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, failed = copying.copy, []

    async def fails(*args: Any) -> None:
        if not failed:
            failed.append(True)
            raise Retry("DatabaseUnreachable", "server one-1: no answer")
        await usual(*args)

    monkeypatch.setattr(copying, "copy", fails)
    customer, writer = await begun(customers, api, name)

    found = await at(customers, name, "Database", seconds=90.0)
    await writer.more()
    await writer.stop()

    assert found["status"]["move"]["attempt"] == 2
    assert set(writer.committed) <= await logged(customers, customer)


async def test_one_that_a_person_holds_leaves_nothing(
    api: Api, customers: Customers, postgres: Postgres, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = replication.progress

    async def never(job: Any) -> Any:
        return dataclasses.replace(await usual(job), behind=1 << 40)

    monkeypatch.setattr(replication, "progress", never)
    customer, writer = await begun(customers, api, name)
    moving = await customers.until(name, lambda one: holds(one, "Moving", "Copying"), seconds=60.0)
    assert holds(moving, "Ready")
    assert moving["status"]["move"]["lagBytes"] == 1 << 40

    await api.edit("Tenant", name, {"metadata": {"annotations": {"paybill.dev/move": "hold"}}})
    await customers.until(name, lambda one: condition(one, "Moving") == {} or "move" not in one["status"], seconds=60.0)
    await writer.more()
    await writer.stop()

    left = await postgres.execute(
        "SELECT datname::text FROM pg_database WHERE strpos(datname, %(id)s) > 0 UNION ALL SELECT slot_name::text"
        " FROM pg_replication_slots WHERE strpos(slot_name, %(id)s) > 0 UNION ALL SELECT rolname::text FROM pg_roles"
        " WHERE rolname !~ '^pb_[0-9a-z]{8}_' AND strpos(rolname, %(id)s) > 0", {"id": customer.id},
    )  # fmt: skip
    assert await left.fetchall() == []
    assert set(writer.committed) <= await logged(customers, customer)


async def test_a_tenant_that_is_deleted_in_the_middle_leaves_nothing(
    api: Api, customers: Customers, postgres: Postgres, control: Postgres, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = replication.progress

    async def never(job: Any) -> Any:
        return dataclasses.replace(await usual(job), behind=1 << 40)

    monkeypatch.setattr(replication, "progress", never)
    customer, writer = await begun(customers, api, name)
    await customers.until(name, lambda one: holds(one, "Moving", "Copying"), seconds=60.0)
    await writer.stop()

    await api.delete("Tenant", name)

    async def dropped() -> bool:
        return await state(control, customer) == "dropped"

    await until(dropped, seconds=60.0)
    assert await traces(api, postgres, customer) == set()
    slots = await postgres.execute("SELECT 1 FROM pg_replication_slots WHERE strpos(slot_name, %s) > 0", (customer.id,))
    assert await slots.fetchall() == []


def command(control_plane: LocalThread, *words: str) -> Any:
    """`paybill move` as a person runs it: what it prints for programs, or what it failed with."""
    result = CliRunner().invoke(
        main, ["move", *words, "--output", "json", "--kubeconfig", str(control_plane.kubeconfig)]
    )
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def test_a_person_moves_it_to_another_server_of_its_cell_and_back(
    api: Api, customers: Customers, name: str, control_plane: LocalThread
) -> None:
    await api.apply(samples.cell(name, [samples.server("one-1"), samples.server("one-2")]))
    customer = await customers.onboard(spec={"cellRef": {"name": name}})
    await tables(api, customer)
    writer = Writer(customers, customer)
    await writer.more()
    before = await customers.binding(customer)

    def run(*words: str) -> Any:
        return asyncio.to_thread(command, control_plane, name, *words)

    dry = await run("--server", "one-2", "--dry-run")
    assert dry["move"] is None
    there = await run("--server", "one-2", "--wait", "90")
    assert (there["placement"]["server"], there["moving"]["reason"]) == ("one-2", "Moved")
    await writer.more()
    assert (await customers.binding(customer))["database"] != before["database"]

    back = await run("--reverse", "--wait", "0")
    assert back["tenant"] == name
    found = await customers.until(
        name, lambda one: one["status"]["placement"]["server"] == "one-1" and holds(one, "Ready"), seconds=90.0
    )
    await writer.more()
    await writer.stop()
    assert condition(found, "Moving")["status"] == "False"
    assert set(writer.committed) <= await logged(customers, customer)
    assert await customers.binding(customer) == before


async def test_a_server_that_cannot_take_it_is_refused_and_nothing_is_touched(
    api: Api, customers: Customers, name: str
) -> None:
    customer = await customers.onboard()
    before = await customers.binding(customer)

    await api.edit("Tenant", name, {"metadata": {"annotations": {"paybill.dev/server": "rows-1"}}})

    said = await customers.stalled(name, "MoveNotSupported")
    assert "rows-1" in said
    assert await customers.binding(customer) == before
    assert await may_connect(before)


async def test_a_halt_shuts_nobody_out_and_the_move_goes_on_after_it(
    api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    await set_mode(api, operator, "NonDestructive")
    try:
        customer, writer = await begun(customers, api, name)
        waiting = await customers.until(name, lambda one: holds(one, "Moving", "Halted"), seconds=60.0)
        await writer.more(50)
        assert waiting["status"]["move"]["attempt"] == 1
    finally:
        await set_mode(api, operator, "Full")
    await at(customers, name, "Database")
    await writer.more()
    await writer.stop()
    assert set(writer.committed) <= await logged(customers, customer)
