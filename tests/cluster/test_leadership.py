"""One operator acts at a time; whoever loses the Lease ends, and the next one begins where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from paybill.local.bootstrap import Installed
from tests.cluster import samples
from tests.cluster.api import Api, accepted, holds
from tests.cluster.customers import Customers
from tests.cluster.running import Operator
from tests.cluster.waiting import stays, until

LEASE = "/apis/coordination.k8s.io/v1/namespaces/paybill-system/leases/paybill-operator"


@pytest.fixture
def standby(operator: Operator, installed: Installed) -> Iterator[Operator]:
    """A second process of the same installation."""
    other = Operator(operator.settings, installed.operator_kubeconfig)
    yield other
    other.stop()


async def epoch(control: psycopg.AsyncConnection[Any]) -> int:
    row = await (await control.execute("SELECT epoch FROM paybill.epochs")).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_standby_waits_and_takes_over(
    operator: Operator, standby: Operator, customers: Customers, control: psycopg.AsyncConnection[Any], name: str
) -> None:
    await customers.plan(name)
    first = await customers.onboard("one", plan=name)
    before = await epoch(control)
    standby.start(wait=False)
    await stays(lambda: not standby.leads, seconds=1.0)

    operator.crash()

    await asyncio.to_thread(standby.wait_until_leading)
    assert await epoch(control) == before + 1
    customers.operator = standby
    second = await customers.onboard("two", plan=name)
    assert second.id != first.id
    assert holds(await customers.api.get("Tenant", first.name), "Ready")


async def test_who_loses_the_lease_ends(operator: Operator, api: Api) -> None:
    async def taken() -> bool:
        """The holder renews twice a second, so taking it may need a second try."""
        found = accepted(*await api.call("GET", LEASE))
        found["spec"] |= {"holderIdentity": "somebody", "leaseDurationSeconds": 1}
        return (await api.call("PUT", LEASE, found))[0] == 200

    await until(taken)

    await until(lambda: not operator.running)
    assert "held by another" in repr(operator.failure)
    operator.start()  # the other one is silent, so its Lease runs out


async def test_a_restart_in_the_middle_of_many_new_tenants_makes_each_of_them_once(
    operator: Operator, customers: Customers, api: Api, control: psycopg.AsyncConnection[Any], name: str
) -> None:
    await customers.plan(name)
    names = [f"{name}-{number}" for number in range(20)]
    for one in names:
        await api.apply(samples.tenant(one), samples.subscription(one, name))
    operator.crash()

    operator.start()

    made = [await customers.ready(one, seconds=40) for one in names]
    rows = await (
        await control.execute("SELECT id FROM paybill.tenants WHERE tenant_name LIKE %s", (f"{name}-%",))
    ).fetchall()
    assert {row[0] for row in rows} == {one.id for one in made}
    assert len(rows) == len(names)
    spaces = [one["metadata"]["name"] for one in await api.list("Namespace") if _of(one, name)]
    assert sorted(spaces) == sorted(one.namespace for one in made)


def _of(namespace: dict[str, Any], prefix: str) -> bool:
    annotations = namespace["metadata"].get("annotations", {})
    return str(annotations.get("paybill.dev/tenant-name", "")).startswith(f"{prefix}-")
