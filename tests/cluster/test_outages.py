"""What is needed goes away and comes back, in the middle of things: nothing is lost, it is said, and all converges."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.cluster import samples
from tests.cluster.api import Api, Refused, condition, holds, path
from tests.cluster.customers import Customer, Customers, may_connect
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

SETTINGS = {"database_resync_seconds": 1.0}
"""So that an outage is noticed without anybody asking for something."""

TROUBLE = {"DatabaseUnreachable", "ControlDatabaseUnreachable", "AuditUnavailable", "ServerNotConnected"}


@contextlib.asynccontextmanager
async def down(control_plane: LocalThread, program: str) -> AsyncIterator[None]:
    """Stop a program of the control plane and start it again on its data."""
    child = next(child for child in control_plane.instance.children if child.command.name == program)
    await asyncio.to_thread(control_plane.call, child.stop())
    try:
        yield
    finally:
        await asyncio.to_thread(control_plane.call, child.start())


async def test_postgres_goes_while_tenants_are_made(
    api: Api, customers: Customers, control_plane: LocalThread, name: str
) -> None:
    """The control database is on the same server: registry, audit log and tenants' databases are gone together."""
    await customers.plan(name)
    steady = await customers.onboard("steady", plan=name)
    binding = await customers.binding(steady)
    names = [f"{name}-{number}" for number in range(4)]

    for one in names[:2]:
        await api.apply(samples.tenant(one), samples.subscription(one, name))
    async with down(control_plane, "postgres"):
        for one in names[2:]:
            await api.apply(samples.tenant(one), samples.subscription(one, name))
        found = await customers.until(names[3], lambda one: condition(one, "Ready").get("reason") in TROUBLE)
        assert holds(found, "Reconciling")
        assert condition(found, "Stalled")["status"] == "False"
        cell = await customers.until("local", lambda one: condition(one, "Ready").get("status") == "False", kind="Cell")
        assert not cell["status"]["servers"][0]["reachable"]
        # A steady tenant lacks nothing in Kubernetes, and what is lacking there is healed by what was audited.
        assert (await api.get("Tenant", steady.name) or {})["status"]["phase"] == "Active"

    for one in names:
        customer = await customers.ready(one, seconds=40)
        assert await may_connect(await customers.binding(customer))
    await customers.until("local", lambda one: holds(one, "Ready"), kind="Cell", seconds=40)
    assert await may_connect(binding)
    assert await customers.binding(steady) == binding


async def test_no_two_tenants_share_an_id_after_an_outage(
    api: Api, customers: Customers, control_plane: LocalThread, control: psycopg.AsyncConnection[object], name: str
) -> None:
    await customers.plan(name)
    names = [f"{name}-{number}" for number in range(6)]
    making = asyncio.gather(*(api.apply(samples.tenant(one), samples.subscription(one, name)) for one in names))
    await until(lambda: _any_begun(api, name))
    async with down(control_plane, "postgres"):
        await making

    made = [await customers.ready(one, seconds=40) for one in names]

    assert len({one.id for one in made}) == len(names)
    async with await psycopg.AsyncConnection.connect(customers.operator.settings.control_database()) as fresh:
        rows = await (
            await fresh.execute("SELECT count(*) FROM paybill.tenants WHERE tenant_name LIKE %s", (f"{name}-%",))
        ).fetchone()
    assert rows == (len(names),)


async def _any_begun(api: Api, name: str) -> bool:
    return any(one["metadata"]["name"].startswith(f"{name}-") for one in await api.list("Tenant"))


async def test_the_api_server_is_restarted(
    api: Api, customers: Customers, control_plane: LocalThread, operator: Operator, name: str
) -> None:
    await customers.plan(name)
    customer = await customers.onboard("steady", plan=name)
    child = next(child for child in control_plane.instance.children if child.command.name == "kube-apiserver")
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: _silent(api))
    await until(lambda: _answers(api))

    await until(lambda: _applied(api, name))
    await until(lambda: _ready_under_supervision(api, operator, f"{name}-new"), seconds=40)
    await api.delete("NetworkPolicy", "paybill", customer.namespace)
    await until(lambda: api.get("NetworkPolicy", "paybill", customer.namespace), seconds=40)


async def _ready_under_supervision(api: Api, operator: Operator, name: str) -> bool:
    """An operator that lost its Lease ends, and whoever supervises it starts it again."""
    if not operator.running:
        operator.start(wait=False)
    return holds(await api.get("Tenant", name), "Ready")


async def _answers(api: Api) -> bool:
    with contextlib.suppress(Exception):
        return (await api.call("GET", path("Namespace")))[0] == 200
    return False


async def _silent(api: Api) -> bool:
    return not await _answers(api)


async def _applied(api: Api, name: str) -> bool:
    with contextlib.suppress(Refused, OSError):
        await api.apply(samples.tenant(f"{name}-new"), samples.subscription(f"{name}-new", name))
        return True
    return False


async def test_an_operator_that_starts_before_its_database_waits_for_it(
    api: Api, customers: Customers, control_plane: LocalThread, operator: Operator, name: str
) -> None:
    await customers.plan(name)
    customer = await customers.onboard("steady", plan=name)
    operator.stop()
    async with down(control_plane, "postgres"):
        operator.start(wait=False)
        await api.apply(samples.tenant(name), samples.subscription(name, name))
        await asyncio.sleep(0)

    await asyncio.to_thread(operator.wait_until_leading)
    await customers.ready(name, seconds=40)
    assert holds(await api.get("Tenant", customer.name), "Ready")


async def test_a_tenants_server_that_is_away_holds_up_nobody_elsewhere(
    api: Api, customers: Customers, name: str, postgres: psycopg.AsyncConnection[object]
) -> None:
    """One server refuses the administrator; tenants of the others are made meanwhile."""
    await customers.plan(name)
    login = f"admin_{name}"
    await postgres.execute(f"CREATE ROLE {login} SUPERUSER LOGIN PASSWORD 'once'")  # type: ignore[arg-type]
    dsn = make_conninfo(postgres.info.dsn, user=login, password="once", sslmode="disable")
    data = {"schemas-1": base64.b64encode(dsn.encode()).decode()}
    metadata = {"name": name, "namespace": samples.OPERATOR_NAMESPACE}
    await api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    await api.apply(samples.cell(name, [samples.server(secret=name)]))
    away: Customer = await customers.onboard("away", plan=name, spec={"cellRef": {"name": name}})

    await postgres.execute(f"ALTER ROLE {login} NOLOGIN")  # type: ignore[arg-type]
    await postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (login,))
    await customers.until(name, lambda one: condition(one, "Ready").get("status") == "False", kind="Cell")
    other = await customers.onboard("here", plan=name)
    assert await may_connect(await customers.binding(other))
    assert (await api.get("Tenant", away.name) or {})["status"]["phase"] == "Active"

    await postgres.execute(f"ALTER ROLE {login} LOGIN")  # type: ignore[arg-type]

    async def back() -> bool:
        customers.operator.look_at("Cell", name)  # refused, it asks again by itself within half a minute
        return holds(await api.get("Cell", name), "Ready")

    await until(back, seconds=40)


@pytest.mark.parametrize("what", ["control database", "tenants"])
async def test_sessions_that_are_cut_are_opened_again(
    what: str, api: Api, customers: Customers, postgres: psycopg.AsyncConnection[object], name: str
) -> None:
    await customers.plan(name)
    names = "paybill-operator" if what == "control database" else "paybill"
    await postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", (names,)
    )

    customer = await customers.onboard(plan=name)

    assert await may_connect(await customers.binding(customer))
