"""A contract that is over ends in the archive by its proofs, and paying brings all of it back from there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from paybill.local import bootstrap
from tests.cluster import samples
from tests.cluster.api import Api, Object, holds
from tests.cluster.customers import Customer, Customers, connect, may_connect, secret
from tests.cluster.faults import Fault, Faults
from tests.cluster.journal import Journal
from tests.cluster.remains import gone, state, traces
from tests.cluster.running import Operator
from tests.cluster.waiting import until

Postgres = psycopg.AsyncConnection[Any]
UNPAID: Object = {"spec": {"payment": {"paidUntilTime": samples.moment(days=90)}}}
PAID: Object = {"spec": {"payment": {"paidUntilTime": samples.FAR}}}
LADDER = {"graceDays": 1, "endAfterDays": 2, "retainDays": 5, "archiveDays": 6}
EXHAUSTIVE = pytest.mark.exhaustive
LEVELS = [
    pytest.param("Schema"),
    pytest.param("Rows"),
    pytest.param("Database", marks=EXHAUSTIVE),
    pytest.param("Server", marks=EXHAUSTIVE),
]
NOTES = """
CREATE TABLE notes (
  tenant_id text NOT NULL DEFAULT paybill.tenant(), id int, body text, PRIMARY KEY (tenant_id, id)
)
"""
"""A table as a provider writes it for every level."""
FILL = "INSERT INTO notes (id, body) SELECT i, 'mail-' || i FROM generate_series(1, 50) i"
SUM = "SELECT count(*), sum(hashtextextended(tenant_id || body, id)) FROM notes"
PLACE = ("host", "port", "database", "username", "type")
"""What an app connects to, and as whom."""


@pytest.fixture
async def fleet(api: Api, name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Object:
    """A Cell with a store, servers of three kinds, and a migration that makes the same table at every level."""
    if "Server" in request.node.name:
        request.getfixturevalue("keeper")
    (tmp_path / "0001_notes.sql").write_text(NOTES)
    servers = [
        samples.server("rows", holds="Rows"),
        samples.server("schemas"),
        samples.server("own", holds="Databases"),
    ]
    source = {"source": {"directory": str(tmp_path)}, "maxUnavailable": "100%"}
    local = bootstrap.cell()["spec"]
    like = {part: local[part] for part in ("backup", "engine") if part in local}
    await api.apply(samples.cell(name, servers, migrations=source, **like))
    return {"cellRef": {"name": name}}


async def settled(customers: Customers, name: str, level: str, fleet: Object) -> Customer:
    """A customer of a Plan with the ladder, with data of its app's."""
    if name == customers.prefix:
        await customers.plan(name, "Namespace", level, payment=LADDER)
    await customers.api.apply(samples.tenant(name, **fleet), samples.subscription(name, customers.prefix))
    customer = await customers.ready(name, seconds=120)
    await run(customers, customer, FILL)
    return customer


async def run(customers: Customers, customer: Customer, statement: str) -> list[tuple[Any, ...]]:
    """SQL by the tenant's app."""
    async with await connect(await customers.binding(customer)) as session:
        cursor = await session.execute(statement)  # type: ignore[call-overload]
        return await cursor.fetchall() if cursor.description else []


async def served(customers: Customers, name: str, level: str) -> Customer:
    """A customer with data."""
    await customers.plan(name, "Namespace", level, payment=LADDER)
    customer = await customers.onboard(plan=name)
    provider = await secret(customers.api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-db-provider")
    async with await psycopg.AsyncConnection.connect(provider["mig-uri"], autocommit=True) as session:
        await session.execute("CREATE TABLE notes (id int PRIMARY KEY)")
        await session.execute("INSERT INTO notes SELECT generate_series(1, 50)")
    return customer


async def ended(api: Api, customers: Customers, customer: Customer) -> None:
    await api.edit("Subscription", customer.name, UNPAID)
    await phase(customers, customer, "Ended")
    await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))


async def phase(customers: Customers, customer: Customer, wanted: str) -> Object:
    return await customers.until(
        customer.name, lambda one: one.get("status", {}).get("phase") == wanted, kind="Subscription", seconds=60
    )


async def archived(customers: Customers, operator: Operator, customer: Customer) -> Object:
    operator.clock.offset += timedelta(days=5, minutes=1)
    operator.look_at("Tenant", customer.name)
    await phase(customers, customer, "Archived")
    return await customers.until(customer.name, lambda one: one["status"]["phase"] == "Archived")


def of(backup: Object, customer: Customer) -> bool:
    return bool(backup["spec"]["tenantRef"]["name"] == customer.name)


async def last_backup(api: Api, customer: Customer) -> Object:
    """The one backup that there is of it, a final one."""
    (backup,) = [one for one in await api.list("TenantBackup") if of(one, customer)]
    assert backup["spec"]["reason"] == "Final"
    return backup


async def notes(customers: Customers, customer: Customer) -> int:
    async with await connect(await customers.binding(customer)) as session:
        row = await (await session.execute("SELECT count(*) FROM notes")).fetchone()
        return int(row[0]) if row is not None else 0


@pytest.mark.parametrize("level", LEVELS)
async def test_it_is_archived_when_all_is_proved_and_comes_back_whole_when_it_is_paid(
    level: str, api: Api, customers: Customers, postgres: Postgres, operator: Operator, journal: Journal,
    fleet: Object, name: str,
) -> None:  # fmt: skip
    customer = await settled(customers, name, level, fleet)
    before, place = await run(customers, customer, SUM), await customers.binding(customer)
    await ended(api, customers, customer)
    tenant = await api.get("Tenant", customer.name)
    assert tenant is not None
    assert tenant["status"]["deletionScheduledTime"], "it is said when"
    news = await api.list("Event", "default")
    assert [one for one in news if one["reason"] == "ArchiveScheduled" and one["involvedObject"]["name"] == name]

    tenant = await archived(customers, operator, customer)

    assert await traces(api, postgres, customer) == set()
    backup = await last_backup(api, customer)
    assert holds(backup, "Ready")
    said = {one["type"]: (one["status"], one["message"]) for one in tenant["status"]["conditions"]}
    assert said["DatabaseReady"] == ("False", f"its data is in TenantBackup {backup['metadata']['name']} only")
    assert said["Ready"][0] == "False"

    async def at_rest() -> bool:
        await customers.quiet()
        journal.begin()
        operator.look_at("Tenant", customer.name, deep=True)
        await customers.quiet()
        return journal.writes() == []

    await until(at_rest, otherwise=lambda: [one.what for one in journal.writes()])

    await api.edit("Subscription", customer.name, PAID)

    back = await customers.ready(customer.name, seconds=120)
    assert back == customer, "the same id, the same names"
    assert await run(customers, customer, SUM) == before == [(50, before[0][1])]
    there = await customers.binding(customer)
    same = PLACE if level != "Server" else PLACE[2:]  # a server that is made anew has another address
    assert {one: there.get(one) for one in same} == {one: place.get(one) for one in same}, "where it was"
    found = await phase(customers, customer, "Active")
    assert "archivedTime" not in found["status"]["anchors"]


@pytest.mark.parametrize("level", LEVELS)
async def test_who_pays_inside_retention_finds_endpoint_credentials_and_data_as_they_were(
    level: str, api: Api, customers: Customers, operator: Operator, fleet: Object, name: str
) -> None:
    customer = await settled(customers, name, level, fleet)
    before, binding = await run(customers, customer, SUM), await customers.binding(customer)
    await ended(api, customers, customer)
    assert not await may_connect(binding)
    operator.clock.offset += timedelta(days=4, hours=23)
    operator.look_at("Tenant", customer.name)
    await customers.quiet()

    await api.edit("Subscription", customer.name, PAID)

    await phase(customers, customer, "Active")
    assert await customers.ready(customer.name, seconds=90) == customer
    assert await customers.binding(customer) == binding
    assert await run(customers, customer, SUM) == before
    assert [one for one in await api.list("TenantBackup") if of(one, customer)] == [], "nothing was made for an archive"


@pytest.mark.exhaustive
async def test_one_that_leaves_shared_tables_for_the_archive_and_comes_back_touches_nobody_elses_rows(
    api: Api, customers: Customers, operator: Operator, fleet: Object, name: str
) -> None:
    customer = await settled(customers, name, "Rows", fleet)
    other = await settled(customers, f"{name}-other", "Rows", fleet)
    theirs, binding = await run(customers, other, SUM), await customers.binding(other)
    await ended(api, customers, customer)
    await archived(customers, operator, customer)
    assert await run(customers, other, SUM) == theirs
    await run(customers, other, "INSERT INTO notes (id, body) VALUES (51, 'meanwhile')")
    theirs = await run(customers, other, SUM)

    await api.edit("Subscription", customer.name, PAID)

    await customers.ready(customer.name, seconds=90)
    assert (await run(customers, customer, "SELECT count(*) FROM notes")) == [(50,)]
    assert await run(customers, other, SUM) == theirs
    assert await customers.binding(other) == binding


async def test_the_backup_of_an_archive_goes_in_its_time_once_its_tenant_is_back(
    api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    customer = await served(customers, name, "Schema")
    await ended(api, customers, customer)
    await archived(customers, operator, customer)
    backup = (await last_backup(api, customer))["metadata"]["name"]
    # Whoever gives it an end while nothing else is left does not end the data.
    await api.edit("TenantBackup", backup, {"spec": {"expireTime": samples.moment(days=1)}})
    await customers.quiet()
    operator.look_at("TenantBackup", backup, deep=True)
    await customers.quiet()
    assert not await gone(api, "TenantBackup", backup)

    await api.edit("Subscription", customer.name, PAID)

    await customers.ready(customer.name, seconds=120)
    await until(lambda: gone(api, "TenantBackup", backup), seconds=60)
    assert await notes(customers, customer) == 50


@pytest.mark.exhaustive
async def test_who_came_back_from_the_archive_keeps_its_backup_for_the_archives_days(
    api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    customer = await served(customers, name, "Schema")
    await ended(api, customers, customer)
    await archived(customers, operator, customer)
    backup = (await last_backup(api, customer))["metadata"]["name"]
    assert "expireTime" not in (await last_backup(api, customer))["spec"]
    await api.edit("Subscription", customer.name, PAID)
    await customers.ready(customer.name, seconds=120)

    found = await customers.until(backup, lambda one: "expireTime" in one["spec"], kind="TenantBackup", seconds=60)

    days = samples.read(found["spec"]["expireTime"]) - operator.clock()
    assert timedelta(days=5, hours=23) < days <= timedelta(days=6), "LADDER's, from when the tenant was there again"
    operator.clock.offset += timedelta(days=5, hours=23)
    operator.look_at("TenantBackup", backup)
    await customers.quiet()
    assert not await gone(api, "TenantBackup", backup)
    operator.clock.offset += timedelta(hours=2)
    operator.look_at("TenantBackup", backup)
    await until(lambda: gone(api, "TenantBackup", backup), seconds=60)
    assert await notes(customers, customer) == 50


@pytest.mark.exhaustive
async def test_an_archived_tenant_that_is_deleted_leaves_its_backup_for_the_archives_days(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str
) -> None:
    customer = await served(customers, name, "Schema")
    await ended(api, customers, customer)
    await archived(customers, operator, customer)
    backup = (await last_backup(api, customer))["metadata"]["name"]

    await api.delete("Tenant", customer.name)
    await until(lambda: gone(api, "Tenant", customer.name), seconds=60)

    found = await api.get("TenantBackup", backup)
    assert found is not None
    asked = samples.read(found["spec"]["expireTime"]) - timedelta(days=6)
    assert abs(asked - operator.clock() + operator.clock.offset) < timedelta(minutes=10), "from when that was asked"

    async def dropped() -> bool:
        return await state(control, customer) == "dropped"

    await until(dropped, seconds=60)
    operator.clock.offset += timedelta(days=7)
    operator.look_at("TenantBackup", backup)
    await until(lambda: gone(api, "TenantBackup", backup), seconds=60)


@pytest.mark.exhaustive
async def test_the_last_backup_goes_in_its_time_and_a_new_contract_begins_anew(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str
) -> None:
    customer = await served(customers, name, "Schema")
    await ended(api, customers, customer)
    await archived(customers, operator, customer)
    backup = await last_backup(api, customer)

    operator.clock.offset += timedelta(days=6, minutes=1)
    operator.look_at("Tenant", customer.name)

    await phase(customers, customer, "Deleted")
    await until(lambda: gone(api, "TenantBackup", backup["metadata"]["name"]))
    assert await state(control, customer) == "claimed"
    await api.apply(samples.subscription(f"{name}-new", name, to=customer.name))
    await customers.ready(customer.name, seconds=60)
    with pytest.raises(psycopg.errors.UndefinedTable):
        await notes(customers, customer)


@pytest.mark.exhaustive
async def test_a_deleted_subscription_ends_in_the_archive_as_well_and_a_hold_keeps_it_out(
    api: Api, customers: Customers, postgres: Postgres, operator: Operator, name: str
) -> None:
    customer = await served(customers, name, "Schema")
    hold = {"name": "legal", "blocks": "Changes", "reason": "litigation"}
    await api.edit("Tenant", customer.name, {"spec": {"holds": [hold]}})
    await api.delete("Subscription", customer.name)
    await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))

    operator.clock.offset += timedelta(days=5, minutes=1)
    operator.look_at("Tenant", customer.name)
    await customers.quiet()
    assert await traces(api, postgres, customer), "held"

    await api.edit("Tenant", customer.name, {"spec": {"holds": []}})
    await customers.until(customer.name, lambda one: one["status"]["phase"] == "Archived", seconds=60)
    assert await traces(api, postgres, customer) == set()


@pytest.mark.exhaustive
async def test_who_pays_while_the_operator_is_killed_in_the_middle_of_it_gets_all_of_it_back(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str
) -> None:
    """Noted in the registry, nothing dropped yet: the worst moment for an operator that would build what is missing."""
    faults = Faults(operator.end_soon)
    operator.stop()
    operator.doors = faults.doors
    operator.start()
    customer = await served(customers, name, "Schema")
    await ended(api, customers, customer)
    await customers.quiet()
    faults.arm(Fault("control update paybill.tenants", 1, "after"))
    operator.clock.offset += timedelta(days=5, minutes=1)
    operator.look_at("Tenant", customer.name)
    await until(lambda: bool(faults.happened), seconds=90)
    operator.crash()
    row = await (await control.execute("SELECT archive FROM paybill.tenants WHERE id = %s", (customer.id,))).fetchone()
    assert row is not None
    assert row[0], "it was noted"

    await api.edit("Subscription", customer.name, PAID)
    faults.arm()
    operator.start()

    await phase(customers, customer, "Active")
    await customers.ready(customer.name, seconds=90)
    assert await notes(customers, customer) == 50
