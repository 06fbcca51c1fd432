"""A contract that is over ends in the archive by its proofs, and paying brings all of it back from there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.cluster import samples
from tests.cluster.api import Api, Object, holds
from tests.cluster.customers import Customer, Customers, connect, secret
from tests.cluster.faults import Fault, Faults
from tests.cluster.journal import Journal
from tests.cluster.remains import gone, state, traces
from tests.cluster.running import Operator
from tests.cluster.waiting import until

Postgres = psycopg.AsyncConnection[Any]
UNPAID: Object = {"spec": {"payment": {"paidUntilTime": samples.moment(days=90)}}}
PAID: Object = {"spec": {"payment": {"paidUntilTime": samples.FAR}}}
LADDER = {"graceDays": 1, "endAfterDays": 2, "retainDays": 5, "archiveDays": 6}
LEVELS = [
    pytest.param("Schema"),
    pytest.param("Database", marks=pytest.mark.exhaustive),
]


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


async def notes(customers: Customers, customer: Customer) -> int:
    async with await connect(await customers.binding(customer)) as session:
        row = await (await session.execute("SELECT count(*) FROM notes")).fetchone()
        return int(row[0]) if row is not None else 0


@pytest.mark.parametrize("level", LEVELS)
async def test_it_is_archived_when_all_is_proved_and_comes_back_whole_when_it_is_paid(
    level: str, api: Api, customers: Customers, postgres: Postgres, operator: Operator, journal: Journal, name: str
) -> None:
    customer = await served(customers, name, level)
    await ended(api, customers, customer)
    tenant = await api.get("Tenant", customer.name)
    assert tenant is not None
    assert tenant["status"]["deletionScheduledTime"], "it is said when"
    news = await api.list("Event", "default")
    assert [one for one in news if one["reason"] == "ArchiveScheduled" and one["involvedObject"]["name"] == name]

    tenant = await archived(customers, operator, customer)

    assert await traces(api, postgres, customer) == set()
    (backup,) = [one for one in await api.list("TenantBackup") if one["spec"]["tenantRef"]["name"] == customer.name]
    assert backup["spec"]["reason"] == "Final"
    assert holds(backup, "Ready")
    said = {one["type"]: (one["status"], one["message"]) for one in tenant["status"]["conditions"]}
    assert said["DatabaseReady"] == ("False", f"its data is in TenantBackup {backup['metadata']['name']} only")
    assert said["Ready"][0] == "False"
    await customers.quiet()
    journal.begin()
    operator.look_at("Tenant", customer.name, deep=True)
    await customers.quiet()
    assert [one.what for one in journal.writes()] == []

    await api.edit("Subscription", customer.name, PAID)

    back = await customers.ready(customer.name, seconds=90)
    assert back == customer, "the same id, the same names"
    assert await notes(customers, customer) == 50
    found = await phase(customers, customer, "Active")
    assert "archivedTime" not in found["status"]["anchors"]


@pytest.mark.exhaustive
async def test_the_last_backup_goes_in_its_time_and_a_new_contract_begins_anew(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str
) -> None:
    customer = await served(customers, name, "Schema")
    await ended(api, customers, customer)
    await archived(customers, operator, customer)
    (backup,) = [one for one in await api.list("TenantBackup") if one["spec"]["tenantRef"]["name"] == customer.name]

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
