"""A fleet costs what its changes cost, not what its size is; bench/steady.py shows the same at ten thousand tenants."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterator

import pytest

from paybill.local.bootstrap import CELL_SERVERS
from tests.cluster import samples
from tests.cluster.api import Api, holds, user
from tests.cluster.customers import Customers
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

TENANTS = 150
APPLIED_AT_ONCE = 8
SETTINGS = {"lease_seconds": 15.0}
SHARED = ("Shared", "Rows")
ALL_AT_ONCE = {"rollout": {"maxUnavailable": "100%"}}


@pytest.fixture(scope="module")
def fleet(control_plane: LocalThread, module_operator: Operator) -> Iterator[str]:
    """The name of a Plan with ``TENANTS`` Ready tenants, which it begins."""
    prefix = f"f{secrets.token_hex(3)}"
    module_operator.start()
    control_plane.call(_in_session(control_plane, _onboard, prefix))
    yield prefix
    module_operator.stop()
    control_plane.call(_in_session(control_plane, _remove, prefix))


async def _in_session(control_plane: LocalThread, act, prefix: str) -> None:
    async with user(control_plane.kubeconfig) as admin:
        await act(admin, prefix)


async def _onboard(api: Api, prefix: str) -> None:
    await api.apply(samples.plan(prefix, *SHARED, **ALL_AT_ONCE))
    names = iter([f"{prefix}-{number}" for number in range(TENANTS)])

    async def client() -> None:
        for name in names:
            await api.apply(samples.tenant(name), samples.subscription(name, prefix))

    await asyncio.gather(*(client() for _ in range(APPLIED_AT_ONCE)))
    await until(lambda: _ready(api, prefix), seconds=90)


async def _ready(api: Api, prefix: str) -> bool:
    return sum(1 for one in await _of(api, "Tenant", prefix) if holds(one, "Ready")) >= TENANTS


async def _of(api: Api, kind: str, prefix: str) -> list:
    return [one for one in await api.list(kind) if one["metadata"]["name"].startswith(prefix)]


async def _remove(api: Api, prefix: str) -> None:
    """All at once, and without the operator, which has stopped."""
    for kind in ("Subscription", "Tenant", "Plan"):
        names = [one["metadata"]["name"] for one in await _of(api, kind, prefix)]
        await asyncio.gather(*(api.delete(kind, name) for name in names))
        await asyncio.gather(*(api.strip(kind, name) for name in names))


@pytest.fixture
async def steady(fleet: str, customers: Customers, operator: Operator, journal: Journal) -> str:
    """The fleet, when everything about it is told and counted."""
    operator.look_at("Cell", "local", deep=True)
    await customers.quiet()
    journal.begin()
    return fleet


async def test_a_restart_among_many_writes_nothing_and_reads_by_the_page(
    steady: str, customers: Customers, operator: Operator, journal: Journal
) -> None:
    operator.restart()
    await until(lambda: operator.call(lambda world: len(world.ready)) >= TENANTS)
    await customers.quiet()

    assert journal.writes() == []
    reads = Counter(one.what for one in journal.reads() if one.verb == "get" and one.resource != "leases")
    assert sum(reads.values()) < 12, reads
    assert len([one for one in journal.reads() if one.verb == "list"]) < 40


async def test_a_look_over_the_whole_fleet_asks_for_the_servers_secrets_and_for_nothing_else(
    steady: str, customers: Customers, operator: Operator, journal: Journal
) -> None:
    for _ in range(3):
        operator.look_at("Cell", "local", deep=True)
        await customers.quiet()

    requests = Counter(one.what for one in journal.requests())
    assert set(requests) == {"get secrets"}
    assert requests.total() <= 3 * len(CELL_SERVERS), "one for each server of the Cell"


async def test_the_count_of_a_plan_asks_nothing(
    steady: str, customers: Customers, operator: Operator, journal: Journal
) -> None:
    operator.look_at("Plan", steady)
    await customers.quiet()

    assert journal.requests() == []
    assert operator.call(lambda world: len(world.members.of(world, steady))) == TENANTS


async def test_a_new_tenant_overtakes_a_change_of_the_plan_that_everybody_is_on(
    steady: str, customers: Customers, api: Api, journal: Journal, name: str
) -> None:
    await customers.plan(name, *SHARED)
    journal.begin()
    await api.apply(samples.plan(steady, *SHARED, **ALL_AT_ONCE, features=[{"name": "sso", "boolean": True}]))
    await until(lambda: len(_told(journal)) > 3)
    before = len(_told(journal))
    await api.apply(samples.tenant(name), samples.subscription(name, name))
    await customers.ready(name, seconds=60)
    await customers.until(steady, lambda plan: plan["status"]["updated"] == TENANTS, kind="Plan", seconds=60)
    await customers.quiet()

    told = _told(journal)
    assert len(told) == TENANTS + 1
    assert before < TENANTS / 2, "the wave was nearly through before there was anybody to overtake it"
    assert told.index(name) - before < TENANTS / 4, "it waited for the wave"


def _told(journal: Journal) -> list[str]:
    """The Tenants whose status was written, in order."""
    return [one.name for one in journal.writes() if one.what == "patch tenants/status"]
