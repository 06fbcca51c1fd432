"""A tenant that lifts its own limits is stopped, told of and audited; where nobody watches, it goes on."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg
import pytest

from tests.cluster import samples
from tests.cluster.api import Api, condition, holds
from tests.cluster.customers import Customers, connect
from tests.cluster.waiting import stays, until

LIMITS = {"database": {"connections": 5, "statementTimeout": "1s"}}
WATCHED = {"every": "1s", "grace": "1s"}
SLEEP = "SET statement_timeout = 0; SELECT pg_sleep(300)"


@pytest.mark.parametrize("mode", ["Enforce", "Report", "Off"])
async def test_a_statement_without_end(api: Api, customers: Customers, name, operator, mode):
    await api.apply(samples.cell(name, watchdog={"mode": mode, **WATCHED}))
    await customers.plan(name, "Shared", limits=LIMITS)
    tenant = await customers.onboard(plan=name, spec={"cellRef": {"name": name}})
    async with await connect(await customers.binding(tenant)) as session:
        running = asyncio.create_task(session.execute(SLEEP))  # type: ignore[call-overload]
        try:
            if mode == "Enforce":
                await until(running.done)
                assert isinstance(running.exception(), psycopg.errors.QueryCanceled)
                assert operator.call(lambda world: world.exceeding[tenant.id].said.keys()) == {"StatementTooLong"}
            if mode != "Off":
                found = await customers.until(tenant.name, lambda one: holds(one, "LimitsExceeded", "StatementTooLong"))
                said = condition(found, "LimitsExceeded")["message"]
                assert f"pb_{tenant.id}_app_a ran a statement for" in said
                assert said.endswith("it was cancelled" if mode == "Enforce" else "nothing was done")
                assert await until(lambda: warnings(api, tenant.name)) == ["StatementTooLong"]
                assert holds(found, "Ready"), "it is no fault of its infrastructure"
            if mode != "Enforce":
                await stays(lambda: not running.done(), seconds=3.0)
            if mode == "Off":
                assert not condition(await api.get("Tenant", tenant.name), "LimitsExceeded")
        finally:
            running.cancel()
            with contextlib.suppress(psycopg.Error, asyncio.CancelledError):
                await running


async def warnings(api: Api, tenant: str) -> list[str]:
    found = await api.list("Event")
    return [one["reason"] for one in found if one["involvedObject"]["name"] == tenant and one["type"] == "Warning"]


async def test_what_was_said_goes_when_the_tenant_has_kept_its_limits(api: Api, customers: Customers, name, operator):
    await api.apply(samples.cell(name, watchdog=WATCHED))
    await customers.plan(name, "Shared", limits=LIMITS)
    tenant = await customers.onboard(plan=name, spec={"cellRef": {"name": name}})
    async with await connect(await customers.binding(tenant)) as session:
        with pytest.raises(psycopg.errors.QueryCanceled):
            await session.execute(SLEEP)  # type: ignore[call-overload]
    await customers.until(tenant.name, lambda one: holds(one, "LimitsExceeded"))
    operator.restart()
    await customers.quiet()
    operator.look_at("Tenant", tenant.name, deep=True)
    await customers.quiet()
    assert holds(await api.get("Tenant", tenant.name), "LimitsExceeded"), "a restart makes nobody forget it"
