"""A tenant that keeps more than its Plan gives only reads, through a restart too, and writes again when it may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from paybill.reconcile import metering
from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.customers import Customer, Customers, connect, secret
from tests.cluster.running import Operator
from tests.cluster.waiting import until

LIMIT: Object = {"database": {"connections": 5, "storage": "1Mi"}, "quota": samples.QUOTA}
GRACE = "paybill.dev/storage-grace"


@pytest.fixture
def measure(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have every server measured at its next look, and look now."""
    monkeypatch.setattr(metering, "SPREAD", 1)

    def again() -> None:
        def forget(world: Any) -> None:
            for attached in world.servers:
                attached.metered_hour = None

        operator.call(forget)
        operator.look_at("Cell", "local", deep=True)

    return again


def stands(tenant: Object, reason: str) -> bool:
    """Whether that is how it stands to its storage."""
    return condition(tenant, "StorageWithinLimit").get("reason") == reason


async def may_write(customers: Customers, customer: Customer) -> bool:
    async with await connect(await customers.binding(customer)) as session:
        try:
            await session.execute("INSERT INTO notes VALUES ('more')")
        except psycopg.errors.InsufficientPrivilege:
            return False
    return True


async def as_migration(api: Api, customer: Customer, *statements: str) -> None:
    uri = (await secret(api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-db-provider"))["mig-uri"]
    async with await psycopg.AsyncConnection.connect(uri, autocommit=True) as session:
        for statement in statements:
            await session.execute(statement.encode())


async def test_a_full_tenant_is_moved_to_where_there_is_more(
    api: Api, customers: Customers, operator: Operator, measure: Any
) -> None:
    name = f"{customers.prefix}-full"
    await customers.plan(name, limits=LIMIT)
    customer = await customers.onboard(plan=name)
    await as_migration(api, customer, "CREATE TABLE notes (body text)")
    await as_migration(api, customer, "INSERT INTO notes SELECT repeat('x', 1000) FROM generate_series(1, 3000)")
    measure()
    await customers.until(customer.name, lambda one: stands(one, "StorageFull"))

    await customers.plan(name, "Namespace", "Database", limits={**LIMIT, "database": {"storage": "1Gi"}})
    await customers.until(
        customer.name,
        lambda one: holds(one, "Ready") and one["status"]["isolation"]["database"] == "Database",
        seconds=60.0,
    )
    await customers.until(customer.name, lambda one: stands(one, "StorageFree"))
    assert await may_write(customers, customer)


@pytest.mark.parametrize("database", ["Database", "Schema"])
async def test_a_full_tenant_reads_until_it_has_room(
    api: Api, customers: Customers, operator: Operator, measure: Any, database: str
) -> None:
    limit = LIMIT if database == "Schema" else {**LIMIT, "database": {"storage": "9M"}}
    name = f"{customers.prefix}-full"
    await customers.plan(name, "Namespace", database, limits=limit)
    customer = await customers.onboard(plan=name)
    await as_migration(api, customer, "CREATE TABLE notes (body text)")
    await as_migration(api, customer, "INSERT INTO notes SELECT repeat('x', 1000) FROM generate_series(1, 3000)")

    async def settled(reason: str) -> Object:
        measure()
        found = await customers.until(customer.name, lambda one: holds(one, "Ready") and stands(one, reason))
        await customers.quiet()
        return found

    full = await settled("StorageFull")
    assert condition(full, "StorageWithinLimit")["status"] == "False"
    assert condition(full, "Restricted")["reason"] == "StorageFull"
    assert full["status"]["phase"] == "Active"
    assert not await may_write(customers, customer)
    assert (await customers.entitlements(customer))["access"] == "readonly"

    operator.restart()
    await customers.quiet()
    operator.look_at("Tenant", customer.name, deep=True)
    await customers.quiet()
    assert not await may_write(customers, customer)

    until_then = samples.written(operator.clock() + timedelta(hours=1))
    await api.edit("Tenant", customer.name, {"metadata": {"annotations": {GRACE: until_then}}})
    await until(lambda: may_write(customers, customer))
    await as_migration(api, customer, "TRUNCATE notes")
    await api.edit("Tenant", customer.name, {"metadata": {"annotations": {GRACE: None}}})
    free = await settled("StorageFree" if database == "Schema" else "StorageNearLimit")
    assert condition(free, "StorageWithinLimit")["status"] == "True"
    assert condition(free, "Restricted") == {}
    assert await may_write(customers, customer)
