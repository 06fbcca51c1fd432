"""Backups as objects: taken and proved when asked for, by the Plan's schedule, and before a Tenant is deleted."""

from __future__ import annotations

import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from paybill.api.failures import Blocked
from paybill.cli import export
from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.local import bootstrap
from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.customers import Customers, may_connect, secret
from tests.cluster.journal import Journal
from tests.cluster.remains import gone, state, traces
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

Postgres = psycopg.AsyncConnection[Any]
LEVELS = ["Schema", "Rows", "Database"]


def backup(name: str, tenant: str, **spec: Any) -> Object:
    head = {"apiVersion": "paybill.dev/v1alpha1", "kind": "TenantBackup", "metadata": {"name": name}}
    return {**head, "spec": {"tenantRef": {"name": tenant}, **spec}}


async def verified(customers: Customers, name: str) -> Object:
    return await customers.until(name, lambda one: holds(one, "Ready"), kind="TenantBackup", seconds=60)


def stored(operator: Operator) -> list[str]:
    folder: Path = operator.settings.backup_folder  # type: ignore[assignment]
    return [path.parent.name for path in folder.rglob("manifest.json")]


async def test_a_backup_that_is_asked_for_is_taken_proved_and_gone_with_its_object(
    api: Api, customers: Customers, operator: Operator, journal: Journal, name: str
) -> None:
    customer = await customers.onboard()
    await api.apply(backup(name, customer.name))

    made = await verified(customers, name)

    status = made["status"]
    assert status["tenantId"] == customer.id
    assert status["verifiedTime"] >= status["startedTime"]
    assert made["metadata"]["uid"] in stored(operator)
    await customers.quiet()
    journal.begin()
    operator.look_at("TenantBackup", name, deep=True)
    await customers.quiet()
    assert [one.what for one in journal.writes()] == []

    await api.delete("TenantBackup", name)
    await until(lambda: gone(api, "TenantBackup", name))
    assert made["metadata"]["uid"] not in stored(operator)


def truncate(folder: Path, name: str) -> None:
    (found,) = folder.rglob(name)
    found.write_bytes(found.read_bytes()[:-20])


async def test_an_export_is_fetched_whole_or_not_at_all(
    api: Api, customers: Customers, operator: Operator, control_plane: LocalThread, name: str, tmp_path: Path
) -> None:
    customer = await customers.onboard()
    provider = await secret(api, operator.settings.namespace, f"t-{customer.id}-db-provider")
    async with await psycopg.AsyncConnection.connect(provider["mig-uri"]) as session:
        await session.execute("CREATE TABLE orders (id int PRIMARY KEY, said text)")
        await session.execute("INSERT INTO orders VALUES (1, 'ü')")
    await api.apply(backup(name, customer.name, format="Export"), backup(f"{name}-dump", customer.name))
    made = await verified(customers, name)
    await verified(customers, f"{name}-dump")
    folder: Path = operator.settings.backup_folder  # type: ignore[assignment]
    target = tmp_path / "acme.zip"

    async with open_session(control_plane.kubeconfig) as admin:
        fetched = await export.fetch(Cluster(admin), operator.settings, name, folder, target)
        assert (fetched.tenant, fetched.rows, fetched.size) == (customer.name, 1, target.stat().st_size)
        with zipfile.ZipFile(target) as archive:
            assert archive.read("tables/orders.csv").decode() == "id,said\n1,ü\n"
        assert target.stat().st_mode & 0o077 == 0

        with pytest.raises(Blocked, match="has no export"):
            await export.fetch(Cluster(admin), operator.settings, f"{name}-dump", folder, target)
        truncate(folder, f"{made['metadata']['uid']}/export")
        other = tmp_path / "other.zip"
        with pytest.raises(Blocked, match="not what its manifest says"):
            await export.fetch(Cluster(admin), operator.settings, name, folder, other)
        assert not other.exists()


async def test_without_a_tenant_it_says_so_and_can_go(api: Api, customers: Customers, name: str) -> None:
    await api.apply(backup(name, f"{name}-nobody"))
    await customers.until(name, lambda one: condition(one, "Stalled").get("reason") == "NoTenant", kind="TenantBackup")
    await api.delete("TenantBackup", name)
    await until(lambda: gone(api, "TenantBackup", name))


async def test_one_whose_store_is_named_no_more_says_that_its_data_stays_there(
    api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    named = samples.cell(name, backup=bootstrap.cell()["spec"]["backup"])
    await api.apply(named)
    customer = await customers.onboard(spec={"cellRef": {"name": name}})
    await api.apply(backup(name, customer.name))
    uid = (await verified(customers, name))["metadata"]["uid"]
    await api.apply(samples.cell(name))
    await customers.until(name, lambda one: "backup" not in one["spec"], kind="Cell")

    await api.delete("TenantBackup", name)

    message = await customers.stalled(name, "NoBackupStore", kind="TenantBackup")
    assert "its data is not removed from the store" in message
    assert name in message, "the Cell"
    assert uid in stored(operator)
    await api.apply(named)
    await until(lambda: operator.call(lambda world: world.declared.cells[name].spec.backup is not None))
    operator.look_at("TenantBackup", name)
    await until(lambda: gone(api, "TenantBackup", name))
    assert uid not in stored(operator)


@pytest.mark.parametrize("level", LEVELS)
async def test_snapshot_deletes_when_the_last_backup_is_proved(
    level: str, api: Api, customers: Customers, control: Postgres, postgres: Postgres, operator: Operator, name: str
) -> None:
    await customers.plan(name, "Namespace", level, payment={"retainDays": 30, "archiveDays": 60})
    customer = await customers.onboard("one", plan=name, spec={"deletionPolicy": "Snapshot"})
    binding = await customers.binding(customer)

    await api.delete("Tenant", customer.name)
    await until(lambda: gone(api, "Tenant", customer.name), seconds=60)

    backups = [one for one in await api.list("TenantBackup") if one["spec"]["tenantRef"]["name"] == customer.name]
    assert [one["spec"]["reason"] for one in backups] == ["Final"]
    assert holds(backups[0], "Ready")
    assert not await may_connect(binding), "it was fenced first"
    await customers.quiet()
    assert await state(control, customer) == "deleted"
    assert await traces(api, postgres, customer), "kept for the days that the Plan retains"

    operator.clock.offset = timedelta(days=31)
    operator.look_at("Drop", customer.id)

    async def dropped() -> bool:
        return await state(control, customer) == "dropped"

    await until(dropped)
    assert await traces(api, postgres, customer) == set()
    assert backups[0]["metadata"]["uid"] in stored(operator), "the backup outlives its tenant"
    operator.clock.offset = timedelta(days=91)
    operator.look_at("TenantBackup", backups[0]["metadata"]["name"])
    await until(lambda: gone(api, "TenantBackup", backups[0]["metadata"]["name"]))
    assert backups[0]["metadata"]["uid"] not in stored(operator)


@pytest.mark.usefixtures("keeper")
async def test_a_server_of_ones_own_goes_after_a_proved_backup_of_what_is_on_it(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str
) -> None:
    await customers.plan(name, "Namespace", "Server", payment={"retainDays": 30, "archiveDays": 60})
    await api.apply(samples.tenant(name, deletionPolicy="Snapshot"), samples.subscription(name, name))
    customer = await customers.ready(name, seconds=60)
    binding = await customers.binding(customer)

    await api.delete("Tenant", name)
    await until(lambda: gone(api, "Tenant", name), seconds=60)

    (final,) = [one for one in await api.list("TenantBackup") if one["spec"]["tenantRef"]["name"] == name]
    assert holds(final, "Ready")
    assert not await may_connect(binding), "it was fenced first"
    assert await state(control, customer) == "deleted"
    operator.clock.offset = timedelta(days=31)
    operator.look_at("Drop", customer.id)

    async def dropped() -> bool:
        return await state(control, customer) == "dropped"

    await until(dropped, seconds=60)
    assert final["metadata"]["uid"] in stored(operator), "the backup outlives its server"


async def test_without_a_store_snapshot_keeps_everything_and_says_so(
    api: Api, customers: Customers, control: Postgres, name: str
) -> None:
    await api.apply(samples.cell(name))
    await customers.plan(name)
    customer = await customers.onboard("a", plan=name, spec={"deletionPolicy": "Snapshot", "cellRef": {"name": name}})
    binding = await customers.binding(customer)

    await api.delete("Tenant", customer.name)
    message = await customers.stalled(customer.name, "NoBackupStore")

    assert "spec.backup" in message
    assert await may_connect(binding), "nothing is taken before it can be kept"
    await api.edit("Tenant", customer.name, {"spec": {"deletionPolicy": "Delete"}})
    await until(lambda: gone(api, "Tenant", customer.name))


async def test_a_final_backup_that_fails_keeps_everything_and_is_tried_again(
    api: Api, customers: Customers, control: Postgres, postgres: Postgres, operator: Operator
) -> None:
    customer = await customers.onboard(spec={"deletionPolicy": "Snapshot"})
    pool = make_conninfo(
        postgres.info.dsn, password=postgres.info.password, dbname=(await customers.binding(customer))["database"]
    )
    async with await psycopg.AsyncConnection.connect(pool, autocommit=True) as session:
        await session.execute(f"SELECT lo_create(77); ALTER LARGE OBJECT 77 OWNER TO pb_{customer.id}_owner")  # type: ignore[arg-type]

    await api.delete("Tenant", customer.name)
    message = await customers.stalled(customer.name, "LargeObjects", seconds=60)

    assert "everything is kept" in message
    assert await state(control, customer) == "claimed"
    async with await psycopg.AsyncConnection.connect(pool, autocommit=True) as session:
        await session.execute("SELECT lo_unlink(77)")
    operator.clock.offset = timedelta(minutes=16)
    for found in await api.list("TenantBackup"):
        if found["spec"]["tenantRef"]["name"] == customer.name:
            operator.look_at("TenantBackup", found["metadata"]["name"])
    await until(lambda: gone(api, "Tenant", customer.name), seconds=60)
    assert await state(control, customer) == "deleted"


async def test_the_plans_schedule_makes_backups_keeps_some_and_says_whether_they_are_fresh(
    api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    await customers.plan(name, backup={"schedule": "0 3 * * *", "keep": 2})
    customer = await customers.onboard("one", plan=name)

    async def count() -> list[str]:
        listed = [one for one in await api.list("TenantBackup") if one["spec"]["tenantRef"]["name"] == customer.name]
        return sorted(one["metadata"]["name"] for one in listed if holds(one, "Ready"))

    for day in range(2, 6):
        operator.clock.offset = timedelta(days=day)
        before = await count()
        operator.look_at("Tenant", customer.name)

        async def newer(before: list[str] = before) -> bool:
            return bool(set(await count()) - set(before))

        await until(newer, seconds=60)

    async def two() -> bool:
        return len(await count()) == 2

    await until(two)
    await customers.until(customer.name, lambda one: holds(one, "BackupFresh"))
    operator.clock.offset = timedelta(days=9)
    await customers.until(customer.name, lambda one: holds(one, "Ready"))


async def test_an_operator_that_is_killed_makes_it_all_the_same(
    api: Api, customers: Customers, operator: Operator, postgres: Postgres, name: str
) -> None:
    customer = await customers.onboard()
    await api.apply(backup(name, customer.name))
    await customers.until(name, lambda one: bool(one.get("status", {}).get("startedTime")), kind="TenantBackup")

    operator.crash()
    operator.start()

    await verified(customers, name)
    left = await postgres.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'pb_scratch_%'")
    assert await left.fetchall() == []
    logins = await postgres.execute(
        "SELECT bool_or(rolcanlogin) FROM pg_roles WHERE rolname LIKE %s", (f"pb_{customer.id}_bak_%",)
    )
    assert await logins.fetchone() == (False,)
