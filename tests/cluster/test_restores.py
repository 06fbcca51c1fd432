"""Restores as objects: a backup comes back in place or as another tenant, whole, proved, confirmed, or not at all."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.cluster import samples
from tests.cluster.api import Api, Object, holds
from tests.cluster.customers import Customer, Customers, connect, secret
from tests.cluster.journal import Journal
from tests.cluster.remains import gone
from tests.cluster.running import Operator
from tests.cluster.waiting import until

Postgres = psycopg.AsyncConnection[Any]
LEVELS = ["Database", "Rows", "Schema"]


def restore(name: str, backup: str, **spec: Any) -> Object:
    return samples.ours("TenantRestore", name, {"backupRef": {"name": backup}, **spec})


async def run(customers: Customers, customer: Customer, *statements: str) -> list[tuple[Any, ...]]:
    """SQL by the tenant's app; the rows of the last statement."""
    async with await connect(await customers.binding(customer)) as session:
        for statement in statements:
            cursor = await session.execute(statement)  # type: ignore[arg-type]
        return await cursor.fetchall() if cursor.description else []


async def owned(customers: Customers, customer: Customer, statement: str) -> None:
    """SQL by the tenant's migration login."""
    found = await secret(customers.api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-db-provider")
    async with await psycopg.AsyncConnection.connect(found["mig-uri"], autocommit=True) as session:
        await session.execute(statement)  # type: ignore[arg-type]


async def backed_up(api: Api, customers: Customers, customer: Customer, name: str) -> Object:
    await api.apply(samples.ours("TenantBackup", name, {"tenantRef": {"name": customer.name}}))
    return await customers.until(name, lambda one: holds(one, "Ready"), kind="TenantBackup", seconds=90)


async def restored(customers: Customers, name: str) -> Object:
    return await customers.until(name, lambda one: holds(one, "Ready"), kind="TenantRestore", seconds=90)


async def failed(customers: Customers, name: str, reason: str) -> str:
    return await customers.stalled(name, reason, kind="TenantRestore", seconds=90)


async def filled(customers: Customers, customer: Customer, rows: int = 300) -> None:
    await owned(customers, customer, "CREATE TABLE notes (id int PRIMARY KEY, body text)")
    await run(customers, customer, f"INSERT INTO notes SELECT i, 'mail-' || i FROM generate_series(1, {rows}) i")


async def test_in_place_all_is_as_it_was_and_a_steady_one_costs_nothing(
    api: Api, customers: Customers, operator: Operator, journal: Journal, name: str
) -> None:
    customer = await customers.onboard()
    await filled(customers, customer)
    await backed_up(api, customers, customer, name)
    binding = await customers.binding(customer)
    await run(customers, customer, "DELETE FROM notes WHERE id > 5", "INSERT INTO notes VALUES (999, 'later')")

    await api.apply(restore(f"{name}-r", name, confirm=customer.name))
    made = await restored(customers, f"{name}-r")

    status = made["status"]
    assert (status["tenant"], status["tenantId"], status["rows"], status["tables"]) == (
        customer.name,
        customer.id,
        300,
        1,
    )
    assert status["checksum"].startswith("sha256:")
    await customers.ready(customer.name)
    assert await customers.binding(customer) == binding, "the app's password is the one it has"
    assert await run(customers, customer, "SELECT count(*), max(id) FROM notes") == [(300, 300)]
    await owned(customers, customer, "ALTER TABLE notes ADD more int")
    await customers.quiet()
    journal.begin()
    operator.look_at("TenantRestore", f"{name}-r", deep=True)
    operator.look_at("Tenant", customer.name, deep=True)
    await customers.quiet()
    assert [one.what for one in journal.writes()] == []
    await api.delete("TenantRestore", f"{name}-r")
    await until(lambda: gone(api, "TenantRestore", f"{name}-r"))


@pytest.mark.parametrize("said", [None, "somebody-else"])
async def test_what_a_tenant_has_is_replaced_only_when_its_name_is_said_again(
    said: str | None, api: Api, customers: Customers, name: str
) -> None:
    customer = await customers.onboard()
    await filled(customers, customer)
    await backed_up(api, customers, customer, name)
    await run(customers, customer, "DELETE FROM notes WHERE id > 5")

    await api.apply(restore(f"{name}-r", name, **({"confirm": said} if said else {})))

    message = await failed(customers, f"{name}-r", "RestoreNotConfirmed")
    assert f"confirm: {customer.name}" in message
    assert await run(customers, customer, "SELECT count(*) FROM notes") == [(5,)]
    # The same one, confirmed, is carried out: what held it back was the word alone.
    await api.apply(restore(f"{name}-s", name, confirm=customer.name))
    await restored(customers, f"{name}-s")
    await customers.ready(customer.name)
    assert await run(customers, customer, "SELECT count(*) FROM notes") == [(300,)]
