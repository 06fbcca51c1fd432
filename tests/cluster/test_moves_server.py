"""A Plan that means a server of the tenant's own moves the tenant onto one and back; it goes on writing."""

from __future__ import annotations

import dataclasses
from typing import Any

import psycopg
import pytest

from paybill.moves import replication, target
from paybill.reconcile import move_server, move_steps
from tests.cluster.api import Api, condition, holds
from tests.cluster.customers import Customer, Customers, may_connect
from tests.cluster.remains import state, traces
from tests.cluster.running import Operator
from tests.cluster.test_moves import DATABASE, Writer, at, killed_behind, logged, tables
from tests.cluster.test_silo import operations, processes_of, server_of
from tests.cluster.waiting import until
from tests.conftest import LocalThread

pytestmark = pytest.mark.usefixtures("keeper")

Postgres = psycopg.AsyncConnection[Any]
SERVER = {"isolation": {"model": "Silo", "compute": "Namespace", "database": "Server"}}
SECONDS = 120.0


async def begun(customers: Customers, api: Api, name: str) -> tuple[Customer, Writer]:
    """A customer in a database of its own that writes, and a Plan that means a server of its own by now."""
    await customers.plan(name, database="Database")
    customer = await customers.onboard(plan=name)
    await tables(api, customer)
    writer = Writer(customers, customer)
    await writer.more()
    await api.edit("Plan", name, {"spec": SERVER})
    return customer, writer


async def test_it_gets_a_server_and_leaves_it_again_while_it_writes(
    api: Api, customers: Customers, control: Postgres, postgres: Postgres, control_plane: LocalThread, name: str
) -> None:
    customer, writer = await begun(customers, api, name)
    before = await customers.binding(customer)

    found = await at(customers, name, "Server", seconds=SECONDS)
    await writer.more()

    assert (found["status"]["move"]["mode"], condition(found, "Moving")["reason"]) == ("Online", "Moved")
    there = await customers.binding(customer)
    assert there["port"] != before["port"]
    assert there["password"] == before["password"]
    assert not await may_connect(before)
    assert await operations(control, customer) == [("up", "Succeeded")]

    await api.edit("Plan", name, {"spec": DATABASE})
    found = await at(customers, name, "Database", seconds=SECONDS)
    await writer.more()
    await writer.stop()

    assert found["status"]["move"]["mode"] == "Online"
    assert set(writer.committed) <= await logged(customers, customer)
    assert not await may_connect(there)
    await customers.quiet()
    assert processes_of(server_of(control_plane, customer)), "what it left is kept"

    await api.delete("Tenant", name)
    await until(lambda: _dropped(control, customer), seconds=SECONDS)
    assert await traces(api, postgres, customer) == set()
    assert not server_of(control_plane, customer).exists()
    assert processes_of(server_of(control_plane, customer)) == []
    assert await operations(control, customer) == [("up", "Succeeded"), ("destroy", "Succeeded")]


async def _dropped(control: Postgres, customer: Customer) -> bool:
    return await state(control, customer) == "dropped"


async def test_one_that_is_given_up_leaves_no_server(
    api: Api, customers: Customers, control: Postgres, control_plane: LocalThread, name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    usual = replication.progress

    async def never(job: Any) -> Any:
        return dataclasses.replace(await usual(job), behind=1 << 40)

    monkeypatch.setattr(replication, "progress", never)
    customer, writer = await begun(customers, api, name)
    await customers.until(name, lambda one: holds(one, "Moving", "Copying"), seconds=SECONDS)

    await api.edit("Tenant", name, {"metadata": {"annotations": {"paybill.dev/move": "hold"}}})
    await customers.until(name, lambda one: "move" not in one["status"], seconds=SECONDS)
    await writer.more()
    await writer.stop()

    assert not server_of(control_plane, customer).exists()
    assert await operations(control, customer) == [("up", "Succeeded"), ("destroy", "Succeeded")]
    found = await api.get("Tenant", name)
    assert holds(found, "Ready")
    assert condition(found or {}, "InfrastructureReady") == {}
    assert set(writer.committed) <= await logged(customers, customer)


LONG = pytest.mark.exhaustive
POINTS = (
    pytest.param(move_server, "ready", marks=LONG),
    pytest.param(target, "make", marks=LONG),
    (move_steps, "settle"),
)


@pytest.mark.parametrize(("module", "act"), POINTS, ids=lambda one: one if isinstance(one, str) else "")
async def test_an_operator_that_is_killed_meanwhile_goes_on(
    api: Api, customers: Customers, operator: Operator, control: Postgres, name: str, monkeypatch: pytest.MonkeyPatch,
    module: Any, act: str,
) -> None:  # fmt: skip
    dead = killed_behind(operator, monkeypatch, module, act)
    customer, writer = await begun(customers, api, name)

    await until(dead, seconds=SECONDS)
    operator.crash()
    operator.start()

    await at(customers, name, "Server", seconds=SECONDS)
    await writer.more()
    await writer.stop()
    assert set(writer.committed) <= await logged(customers, customer)
    assert await operations(control, customer) == [("up", "Succeeded")], "one server was made"
