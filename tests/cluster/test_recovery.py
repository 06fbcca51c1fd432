"""The disaster: the cluster is lost with everything in it. Manifests from Git, a backup of the control database and the
tenants' own servers bring back every tenant as it was, by one command, and nothing is made a second time.

The new cluster is really another one: an empty etcd, another API server, other UIDs.
"""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql
from psycopg.conninfo import make_conninfo

from paybill.cli.adopt import adopt
from paybill.local import bootstrap, postgres_binaries
from paybill.local.home import Home
from paybill.local.instance import Instance
from paybill.settings import Settings
from tests.cluster import samples
from tests.cluster.adoptions import letters, write_letters
from tests.cluster.api import Api, Object, holds, user
from tests.cluster.customers import Customer, Customers, connect, may_connect
from tests.cluster.running import Operator
from tests.conftest import LocalThread

Postgres = psycopg.AsyncConnection[Any]
UNPAID = samples.moment(days=20)


@dataclass
class Git:
    """The provider's repository: what was applied, and can be applied again."""

    objects: dict[tuple[str, str], Object]

    async def apply(self, api: Api, *objects: Object) -> None:
        for obj in objects:
            self.objects[obj["kind"], obj["metadata"]["name"]] = obj
        await api.apply(*objects)


@pytest.fixture
def elsewhere(control_plane: LocalThread, short_folder: Path) -> Iterator[LocalThread]:
    """Another, empty cluster. Its Cell's servers are the same as before: they were not lost."""
    home = Home(short_folder / f"new-{secrets.token_hex(2)}")
    instance = Instance(home, audit_log=home.path.with_suffix(".log"), fsync=False, postgres=False)
    with LocalThread(instance) as running:
        instance._dsn = control_plane.postgres_dsn
        yield running


async def dump_and_restore(postgres_dsn: str, control_dsn: str, backup: Path) -> str:
    """Back the control database up with the server's own tools, and restore it into a new one; returns its URI."""
    distribution = postgres_binaries.choose(await postgres_binaries.find(), None)
    await _tool(distribution.folder / "pg_dump", "--format=custom", f"--file={backup}", control_dsn)
    name = f"restored_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    restored = make_conninfo(postgres_dsn, dbname=name, sslmode="disable")
    await _tool(distribution.folder / "pg_restore", "--exit-on-error", f"--dbname={restored}", str(backup))
    return restored


async def _tool(program: Path, *words: str) -> None:
    done = await asyncio.to_thread(
        subprocess.run, [str(program), *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


async def facts(control_dsn: str) -> set[tuple[Any, ...]]:
    """The times that deadlines are made of, by tenant."""
    query = (
        "SELECT t.id, f.phase, f.trial_start_time, f.suspended_time, f.ended_time FROM paybill.tenants t"
        " JOIN paybill.subscription_facts f USING (subscription_uid)"
    )
    async with await psycopg.AsyncConnection.connect(control_dsn) as connection:
        return set(await (await connection.execute(query)).fetchall())


async def kept(control_dsn: str, *columns: str) -> set[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(control_dsn) as connection:
        cursor = await connection.execute(f"SELECT {', '.join(columns)} FROM paybill.tenants".encode())
        return set(await cursor.fetchall())


async def in_postgres(postgres_dsn: str, ids: set[str]) -> set[str]:
    """Every role and schema of these tenants, with its own identity in the catalog: none is made anew unnoticed."""
    found = set()
    async with await psycopg.AsyncConnection.connect(postgres_dsn) as connection:
        databases = await (
            await connection.execute("SELECT datname FROM pg_database WHERE datname ~ '^pb_pool'")
        ).fetchall()
        roles = await (await connection.execute("SELECT rolname, oid FROM pg_roles WHERE rolname ~ '^pb_'")).fetchall()
        found |= {f"{name} {oid}" for name, oid in roles if name[3:11] in ids}
    for (database,) in databases:
        async with await psycopg.AsyncConnection.connect(make_conninfo(postgres_dsn, dbname=database)) as pool:
            schemas = await (
                await pool.execute("SELECT nspname, oid FROM pg_namespace WHERE nspname ~ '^t_'")
            ).fetchall()
            found |= {f"{name} {oid}" for name, oid in schemas if name[2:] in ids}
    return found


SHARED_TABLE = """
CREATE TABLE app.{table} (tenant_id text NOT NULL DEFAULT paybill.tenant(), line text);
ALTER TABLE app.{table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.{table} FORCE ROW LEVEL SECURITY;
CREATE POLICY pb_allow ON app.{table} AS PERMISSIVE FOR ALL TO pb_tenants
  USING (tenant_id = (SELECT paybill.tenant())) WITH CHECK (tenant_id = (SELECT paybill.tenant()));
CREATE POLICY pb_fence ON app.{table} AS RESTRICTIVE FOR ALL TO PUBLIC
  USING (tenant_id = (SELECT paybill.tenant())) WITH CHECK (tenant_id = (SELECT paybill.tenant()));
"""


async def write_rows(postgres_dsn: str, binding: dict[str, str], table: str, line: str) -> None:
    """The provider makes a shared table behind row security, as the isolation page says; the tenant's app writes."""
    dsn = make_conninfo(postgres_dsn, dbname=binding["database"])
    async with await psycopg.AsyncConnection.connect(dsn) as pool:
        await pool.execute(f"SET ROLE {binding['database']}_mig".encode())
        for statement in SHARED_TABLE.format(table=table).split(";\n"):
            if statement.strip():
                await pool.execute(statement.encode())
    async with await connect(binding) as app:
        await app.execute(f"INSERT INTO {table} (line) VALUES (%s)".encode(), [line])


async def rows_of(binding: dict[str, str], table: str) -> list[str]:
    async with await connect(binding) as app:
        return [line for (line,) in await (await app.execute(f"SELECT line FROM {table}".encode())).fetchall()]


@dataclass
class Provider:
    """A provider with customers of every sort, before the disaster and after it."""

    git: Git
    customers: Customers
    ids: dict[str, str]

    async def onboard(self, short: str, compute: str, database: str, *, trial: bool = False) -> Customer:
        """One customer with a Plan of its own."""
        name = f"{self.customers.prefix}-{short}"
        plan = samples.plan(name, compute, database, **({"trialDays": 14} if trial else {}))
        tenant = samples.tenant(name, deletionPolicy="Retain")
        contract = samples.subscription(name, name, paid=None if trial else samples.FAR)
        await self.git.apply(self.customers.api, plan, tenant, contract)
        customer = await self.customers.ready(name)
        self.ids[short] = customer.id
        return customer

    async def suspend(self, customer: Customer) -> None:
        contract = samples.subscription(customer.name, customer.plan, paid=UNPAID)
        await self.git.apply(self.customers.api, contract)
        await self.customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))


@pytest.fixture
def provider(customers: Customers) -> Provider:
    return Provider(Git({}), customers, {})


@pytest.fixture
async def rebuilt(elsewhere: LocalThread, operator: Operator) -> AsyncIterator[tuple[Api, Operator]]:
    """The new cluster as its installation left it, and an operator for it that is not started yet."""
    settings = Settings(installation=operator.settings.installation)
    installed = elsewhere.call(bootstrap.install(elsewhere.instance, settings))
    chosen = Settings(installation=settings.installation, lease_seconds=3.0)
    successor = Operator(chosen, installed.operator_kubeconfig)
    async with user(elsewhere.kubeconfig) as api:
        yield api, successor
    if successor.running:
        successor.stop()


async def paybill_adopt(kubeconfig: Path, control_dsn: str, *words: str) -> str:
    options = ["--kubeconfig", str(kubeconfig), "--database", control_dsn, "--wait", "60", *words]
    answer = await asyncio.to_thread(CliRunner().invoke, adopt, options)
    assert answer.exit_code == 0, answer.output
    return answer.stdout


async def test_everything_comes_back_and_nothing_is_made_anew(
    provider: Provider, control_plane: LocalThread, control_dsn: str, operator: Operator, elsewhere: LocalThread,
    rebuilt: tuple[Api, Operator], short_folder: Path,
) -> None:  # fmt: skip
    table = f"letters_{provider.customers.prefix}"
    own, other = (
        await provider.onboard("own", "Namespace", "Schema"),
        await provider.onboard("other", "Shared", "Schema"),
    )
    shared = await provider.onboard("rows", "Shared", "Rows")
    stopped = await provider.onboard("stopped", "Namespace", "Schema")
    trying = await provider.onboard("trying", "Namespace", "Rows", trial=True)
    everybody = (own, other, shared, stopped, trying)
    await write_letters(provider.customers.api, provider.customers, own, "of mine")
    await write_letters(provider.customers.api, provider.customers, stopped, "before I could not pay")
    await write_rows(control_plane.postgres_dsn, await provider.customers.binding(shared), table, "among others")
    await provider.suspend(stopped)
    trial = (await provider.customers.phase(trying.name, "Trialing"))["status"]["anchors"]
    operator.stop()
    async with await psycopg.AsyncConnection.connect(control_dsn) as control:
        since = "suspended_time = '2026-01-02T03:04:05Z' WHERE suspended_time IS NOT NULL"
        await control.execute(f"UPDATE paybill.subscription_facts SET {since}".encode())
    ids = set(provider.ids.values())
    before = await facts(control_dsn), await kept(control_dsn, "id", "origin_uid", "server", "level")
    catalog = await in_postgres(control_plane.postgres_dsn, ids)

    # The disaster. What is left: the servers, Git, and the backup.
    restored = await dump_and_restore(control_plane.postgres_dsn, control_dsn, short_folder / "control.dump")
    api, successor = rebuilt
    successor.settings = Settings(**{**vars(successor.settings), "control_database_url": restored})
    cell = bootstrap.cell()
    # Who is stopped already is not stopped: that needs no budget.
    cell["spec"]["limits"] = {"suspensionsPerHour": 0, "deletionsPerHour": 0}
    await api.apply(cell)
    successor.start()
    git = Git({})
    await git.apply(api, *provider.git.objects.values())
    there = Customers(api, successor, provider.customers.prefix)
    for customer in everybody:
        assert customer.id in await there.stalled(customer.name, "TenantReplaced")
    await there.quiet()
    assert await in_postgres(control_plane.postgres_dsn, ids) == catalog
    assert await kept(restored, "id", "origin_uid", "server", "level") == before[1]

    await paybill_adopt(elsewhere.kubeconfig, restored, "--all", "--yes")

    found = {customer.name: await there.ready(customer.name) for customer in everybody}
    assert {one.id for one in found.values()} == ids
    assert await kept(restored, "id", "origin_uid", "server", "level") == before[1], "all adopted, none created"
    assert await facts(restored) == before[0], "trials do not start again, nor does the time of a suspension"
    assert await in_postgres(control_plane.postgres_dsn, ids) == catalog
    assert (await there.phase(trying.name, "Trialing"))["status"]["anchors"] == trial
    contract = await there.phase(stopped.name, "Suspended")
    assert contract["status"]["anchors"]["suspendedTime"] == "2026-01-02T03:04:05Z"
    assert not await may_connect(await there.binding(stopped))
    assert await letters(await there.binding(own)) == ["of mine"]
    assert await may_connect(await there.binding(other)), "of two in one pool namespace both have their Secret"
    assert await rows_of(await there.binding(shared), table) == ["among others"]

    await api.edit("Subscription", stopped.name, {"spec": {"payment": {"paidUntilTime": samples.FAR}}})
    await there.until(stopped.name, lambda one: holds(one, "Ready", "Provisioned"))
    assert await letters(await there.binding(stopped)) == ["before I could not pay"]
    assert '"adopt": []' in await paybill_adopt(elsewhere.kubeconfig, restored, "--all", "--yes", "--output", "json")


@pytest.mark.exhaustive
async def test_what_is_newer_than_the_backup_is_named_and_neither_dropped_nor_taken_over(
    provider: Provider, control_plane: LocalThread, control_dsn: str, operator: Operator, elsewhere: LocalThread,
    rebuilt: tuple[Api, Operator], short_folder: Path,
) -> None:  # fmt: skip
    old = await provider.onboard("old", "Namespace", "Schema")
    await provider.customers.quiet()
    restored = await dump_and_restore(control_plane.postgres_dsn, control_dsn, short_folder / "older.dump")
    late = await provider.onboard("late", "Namespace", "Schema")
    await write_letters(provider.customers.api, provider.customers, late, "after the backup")
    operator.stop()
    catalog = await in_postgres(control_plane.postgres_dsn, {late.id})

    api, successor = rebuilt
    successor.settings = Settings(**{**vars(successor.settings), "control_database_url": restored})
    successor.start()
    there = Customers(api, successor, provider.customers.prefix)
    await there.until("local", lambda one: holds(one, "UnknownTenants", "NotInRegistry"), kind="Cell")
    assert late.id in strays(successor), "among those that other modules have left on this server"
    await Git({}).apply(api, *provider.git.objects.values())
    await there.stalled(old.name, "TenantReplaced")
    await paybill_adopt(elsewhere.kubeconfig, restored, "--all", "--yes")

    assert (await there.ready(old.name)).id == old.id
    again = await there.ready(late.name)
    assert again.id != late.id, "nobody knows that it was this one"
    assert await in_postgres(control_plane.postgres_dsn, {late.id}) == catalog
    successor.look_at("Cell", "local", deep=True)
    await there.quiet()
    await there.until("local", lambda one: holds(one, "UnknownTenants", "NotInRegistry"), kind="Cell")
    assert late.id in strays(successor)
    assert not {old.id, again.id} & strays(successor)


def strays(operator: Operator) -> set[str]:
    """The ids on its servers that its registry does not know."""
    return operator.call(lambda world: {stray for one in world.servers for stray in one.strays})
