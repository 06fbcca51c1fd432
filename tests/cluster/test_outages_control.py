"""The control database falls ill under load: nothing is decided or changed without it, and nothing is lost or doubled.

It is on a server of its own here, so the tenants' servers and the API server are well all the time.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import aiohttp
import pytest

from paybill.doors import Doors
from paybill.postgres import PatientConnection
from tests.cluster.customers import Customers
from tests.cluster.load import Load
from tests.cluster.outages import ILLNESSES, Sick
from tests.cluster.running import Operator
from tests.cluster.waiting import until


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


SETTINGS = {"lease_seconds": 15.0, "metrics_port": _free_port()}

AWAY = {"ControlDatabaseUnreachable", "AuditUnavailable"}
SAID = {"down", "frozen", "out of connections", "full disk", "read-only"}
"""A slow server and one that is back at once are no reason to say anything."""
IN_THE_GATE = {"full disk", "restarted"}


class Impatient(PatientConnection):  # type: ignore[type-arg]
    """The operator's sessions, for tests that do not want to wait a minute for the end of their patience."""

    patience = 3.0


@pytest.fixture(scope="module")
def sick() -> Iterator[Sick]:
    server = Sick()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def control_dsn(sick: Sick) -> str:
    """The module's control database is on the sick server."""
    sick.run("CREATE DATABASE control")
    return sick.dsn("control")


@pytest.fixture(scope="module")
def module_operator(module_operator: Operator) -> Operator:
    module_operator.doors = lambda: Doors(control=Impatient)
    return module_operator


@pytest.fixture
async def load(customers: Customers) -> Load:
    load = Load(customers)
    await load.prepare()
    return load


@pytest.mark.parametrize(
    "illness", [pytest.param(one, marks=() if one in IN_THE_GATE else pytest.mark.exhaustive) for one in ILLNESSES]
)
async def test_changes_wait_and_what_stands_stands(illness: str, load: Load, sick: Sick, operator: Operator) -> None:
    with ILLNESSES[illness](sick):
        await load.begin()
        if illness in SAID:
            await load.said(AWAY)
            await until(lambda: _ready(operator, 503))
            assert await _healthy(operator), "it waits, and that is no reason to kill it"
        await load.in_peace()

    await load.settled()
    await until(lambda: _ready(operator, 200))


async def _ready(operator: Operator, status: int) -> bool:
    return await _asked(operator, "readyz") == status


async def _healthy(operator: Operator) -> bool:
    return await _asked(operator, "healthz") == 200 and await _asked(operator, "standbyz") == 200


async def _asked(operator: Operator, what: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{operator.settings.metrics_port}/{what}") as answer,
    ):
        return answer.status
