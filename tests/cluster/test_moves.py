"""A Plan that means another database level moves the tenant: it goes on writing, and finds all that it was promised."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg

from tests.cluster.api import Api, condition, holds
from tests.cluster.customers import Customer, Customers, connect, may_connect, secret
from tests.cluster.waiting import until

Postgres = psycopg.AsyncConnection[Any]
DATABASE = {"isolation": {"model": "Bridge", "compute": "Namespace", "database": "Database"}}
SCHEMA = {"isolation": {"model": "Pooled", "compute": "Namespace", "database": "Schema"}}


class Writer:
    """The customer's app: writes, and after an error reads its Secret again, as apps should."""

    def __init__(self, customers: Customers, customer: Customer) -> None:
        self.customers, self.customer = customers, customer
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
                        await session.execute("INSERT INTO log VALUES (%s)", (self.number,))
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
