"""A tenants' server falls ill under load: its tenants wait and say so, everybody else goes on, all is well after."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from paybill.doors import Doors
from paybill.postgres import PatientConnection
from tests.cluster import samples
from tests.cluster.api import Api, holds
from tests.cluster.customers import Customers, may_connect
from tests.cluster.load import UNLIMITED, Load
from tests.cluster.outages import ILLNESSES, Sick
from tests.cluster.running import Operator

SETTINGS = {"database_resync_seconds": 1.0, "lease_seconds": 15.0}
"""So that an outage is noticed without anybody asking for something, and the tests' own pauses cost no Lease."""

SAID = {
    "down": {"DatabaseUnreachable", "ServerNotConnected"},
    "frozen": {"DatabaseUnreachable", "DatabaseBusy"},
    "out of connections": {"DatabaseBusy"},
    "full disk": {"DatabaseFull", "DatabaseUnreachable"},
    "read-only": {"DatabaseReadOnly"},
}
"""What the tenants wait for. A slow server and one that is back at once are no reason to say anything."""
UNREACHABLE = {"down", "frozen", "out of connections"}
IN_THE_GATE = {"frozen", "out of connections"}


class Impatient(PatientConnection):  # type: ignore[type-arg]
    """The operator's sessions, for tests that do not want to wait a minute for the end of their patience."""

    patience = 3.0


@pytest.fixture(scope="module")
def module_operator(module_operator: Operator) -> Operator:
    module_operator.doors = lambda: Doors(servers=Impatient)
    return module_operator


@pytest.fixture(scope="module")
def sick() -> Iterator[Sick]:
    server = Sick()
    yield server
    server.remove()


@pytest.fixture
async def load(api: Api, customers: Customers, sick: Sick, name: str) -> Load:
    """Tenants of a Cell whose one server is the sick one."""
    data = {"schemas-1": base64.b64encode(sick.dsn().encode()).decode()}
    metadata = {"name": name, "namespace": samples.OPERATOR_NAMESPACE}
    await api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    await api.apply(samples.cell(name, [samples.server(name, secret=name)], limits=UNLIMITED))
    load = Load(customers, {"cellRef": {"name": name}})
    await load.prepare()
    return load


@pytest.mark.parametrize(
    "illness", [pytest.param(one, marks=() if one in IN_THE_GATE else pytest.mark.exhaustive) for one in ILLNESSES]
)
async def test_its_tenants_wait_and_nobody_else_does(
    illness: str, load: Load, sick: Sick, api: Api, customers: Customers, name: str
) -> None:
    with ILLNESSES[illness](sick):
        await load.begin()
        if illness in SAID:
            # Into the files that a full disk has already, a tenant may still fit.
            await load.said(SAID[illness], may_fit=illness == "full disk")
        if illness in UNREACHABLE:
            cell = await customers.until(name, lambda one: not holds(one, "Ready"), kind="Cell")
            assert not cell["status"]["servers"][0]["reachable"]
        elsewhere = await customers.onboard("elsewhere", plan=load.name("small"))
        assert await may_connect(await customers.binding(elsewhere))
        await load.in_peace()

    await load.settled()
    await customers.until(name, lambda one: holds(one, "Ready"), kind="Cell")
