"""Tenants behind a PgBouncer: nobody is handed an alias that it has not read, and a move shows as a pause alone."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from paybill.databases import pooler as console
from paybill.databases.credentials import scram_verifier
from paybill.desired.pooler import files
from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.customers import Customer, Customers, secret
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.databases.bouncer import CONSOLE, NEEDED, PASSWORD, Bouncer

pytestmark = NEEDED


class Mount:
    """What a kubelet does: brings the Secret into the PgBouncer's folder, when it comes round to it."""

    def __init__(self, api: Api, cell: str, bouncer: Bouncer) -> None:
        self.api, self.cell, self.bouncer = api, cell, bouncer
        self.late = False

    async def run(self) -> None:
        while True:
            if not self.late and (data := await secret(self.api, "paybill-system", f"paybill-pooler.{self.cell}")):
                self.bouncer.put(data)
            await asyncio.sleep(0.1)


@pytest.fixture
async def mount(api: Api, name: str) -> AsyncIterator[Mount]:
    """A Cell of two servers with a PgBouncer before them."""
    bouncer = Bouncer()
    bouncer.put(files([], (CONSOLE, scram_verifier(PASSWORD))))
    bouncer.start()
    mount = Mount(api, name, bouncer)
    uri = base64.b64encode(bouncer.console.encode()).decode()
    await api.apply(
        {
            "apiVersion": "v1", "kind": "Secret", "data": {"uri": uri},
            "metadata": {"name": f"{name}-console", "namespace": "paybill-system"},
        },
        samples.cell(
            name,
            [samples.server(), samples.server("databases-1", "Databases")],
            pooler={
                "host": "127.0.0.1", "port": bouncer.port, "tls": "Disabled", "poolMode": "Transaction",
                "adminSecretRef": {"name": f"{name}-console", "key": "uri"},
            },
        ),
    )  # fmt: skip
    task = asyncio.create_task(mount.run())
    yield mount
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    bouncer.stop()


async def client(binding: dict[str, str]) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(binding["uri"], autocommit=True, prepare_threshold=None)


async def table(api: Api, customer: Customer) -> None:
    provider = await secret(api, "paybill-system", f"t-{customer.id}-db-provider")
    async with await psycopg.AsyncConnection.connect(provider["mig-uri"], autocommit=True) as session:
        await session.execute("CREATE TABLE log (id int PRIMARY KEY)")


class Writer:
    """A client of the pooler that connects once and never again."""

    def __init__(self, binding: dict[str, str]) -> None:
        self.binding = binding
        self.told: list[int] = []
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with await client(self.binding) as session:
            while True:
                await session.execute("INSERT INTO log VALUES (%s)", (len(self.told) + 1,))
                self.told.append(len(self.told) + 1)
                await asyncio.sleep(0.002)

    async def more(self) -> None:
        wanted = len(self.told) + 20

        async def enough() -> bool:
            assert not self.task.done(), f"the client saw {self.task.exception()!r}"
            return len(self.told) >= wanted

        await until(enough)


async def test_who_moves_behind_it_waits_and_sees_no_error(
    api: Api, customers: Customers, mount: Mount, name: str
) -> None:
    mount.late = True
    await customers.plan(name)
    await api.apply(samples.tenant(name, cellRef={"name": name}), samples.subscription(name, name))
    await customers.until(name, lambda one: holds(one, "Reconciling", "PoolerBehind"), seconds=40.0)
    tenant = await api.get("Tenant", name)
    assert tenant is not None
    assert tenant["status"].get("binding") is None, "a Secret never names an alias that the pooler has not read"
    mount.late = False
    customer = await customers.ready(name, seconds=60.0)

    binding = await customers.binding(customer)
    assert (binding["host"], binding["port"]) == ("127.0.0.1", str(mount.bouncer.port))
    assert binding["database"] == f"t_{customer.id}"
    await table(api, customer)
    writer = Writer(binding)
    await writer.more()
    await customers.plan(name, "Namespace", "Database")

    def moved(one: Object) -> bool:
        return holds(one, "Ready") and one["status"]["isolation"]["database"] == "Database"

    found = await customers.until(name, moved, seconds=90.0)
    await writer.more()
    writer.task.cancel()
    assert found["status"]["placement"]["database"] == f"pb_t_{customer.id}"
    assert await customers.binding(customer) == binding, "the app has nothing to read anew"
    async with await client(binding) as session:
        rows = await (await session.execute("SELECT id FROM log ORDER BY id")).fetchall()
        assert (await (await session.execute("SELECT current_database()::text")).fetchone()) == (f"pb_t_{customer.id}",)
    assert {row[0] for row in rows} >= set(writer.told)
    cell = await customers.until(name, lambda one: holds(one, "PoolerReady"), kind="Cell")
    assert condition(cell, "PoolerReady")["reason"] == "PoolerServes"


async def test_rotated_logins_are_handed_out_when_the_pooler_knows_them(
    api: Api, customers: Customers, mount: Mount, name: str
) -> None:
    customer = await customers.onboard(spec={"cellRef": {"name": name}})
    before = await customers.binding(customer)
    async with await client(before) as old:
        mount.late = True
        await api.edit("Tenant", customer.name, {"metadata": {"annotations": {"paybill.dev/rotate": "once"}}})
        await customers.until(customer.name, lambda one: holds(one, "Reconciling", "PoolerBehind"), seconds=40.0)
        assert await customers.binding(customer) == before
        mount.late = False
        await customers.ready(customer.name, seconds=60.0)
        after = await customers.binding(customer)
        assert after["username"] != before["username"]
        async with await client(after) as new:
            for session in (old, new):
                assert await (await session.execute("SELECT 1")).fetchone() == (1,)

    # Without its pooler the Cell hands out the servers themselves.
    await api.edit("Cell", name, {"spec": {"pooler": None}})

    async def direct() -> bool:
        return (await customers.binding(customer))["port"] != str(mount.bouncer.port)

    await until(direct)
    async with await client(await customers.binding(customer)):
        pass


async def test_a_crash_leaves_nobody_paused_and_an_outage_takes_nothing_back(
    api: Api, customers: Customers, operator: Operator, mount: Mount, name: str
) -> None:
    customer = await customers.onboard(spec={"cellRef": {"name": name}})
    binding = await customers.binding(customer)
    # As one leaves it that was killed after the pause and before the move's next step.
    assert await console.pause(mount.bouncer.console, customer.id)
    operator.restart()

    async def serves() -> bool:
        return not (await console.shown(mount.bouncer.console))[f"t_{customer.id}"].paused

    await until(serves)
    async with await client(binding) as session:
        assert await (await session.execute("SELECT 1")).fetchone() == (1,)

    mount.late = True  # its folder goes with it
    mount.bouncer.stop()
    operator.look_at("Pooler", name)
    cell = await customers.until(name, lambda one: holds(one, "PoolerReady", status="False"), kind="Cell")
    assert condition(cell, "PoolerReady")["reason"] == "PoolerUnreachable"
    assert PASSWORD not in str(cell)
    operator.look_at("Tenant", customer.name, deep=True)
    await customers.quiet()
    assert holds(await api.get("Tenant", customer.name), "Ready")
    assert await customers.binding(customer) == binding
