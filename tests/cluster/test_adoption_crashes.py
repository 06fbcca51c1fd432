"""An adoption that is cut off anywhere is completed once, and of a drop and an adoption one wins, also in a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from tests.cluster import samples
from tests.cluster.adoptions import approve, deleted, letters, rows, write_letters
from tests.cluster.api import Api, holds
from tests.cluster.customers import Customer, Customers, may_connect
from tests.cluster.faults import Fault, Faults, When
from tests.cluster.remains import state, traces
from tests.cluster.running import Operator
from tests.cluster.waiting import until

SETTINGS = {"lease_seconds": 15.0}
Postgres = psycopg.AsyncConnection[Any]
RETAIN = {"deletionPolicy": "Retain"}
MOST = 30
"""More effects than an adoption has: from the first that it does not have on nothing happens."""
IN_THE_GATE = {(2, "after")}


@pytest.fixture
async def faults(operator: Operator) -> AsyncIterator[Faults]:
    faults = Faults(operator.end_soon, seconds=5.0, patience=5.0)
    operator.stop()
    operator.doors = faults.doors
    operator.start()
    yield faults
    faults.arm()


@pytest.mark.parametrize(
    ("at", "when"),
    [
        pytest.param(at, when, marks=() if (at, when) in IN_THE_GATE else pytest.mark.exhaustive)
        for at in range(1, MOST, 2)
        for when in ("before", "after")
    ] + [pytest.param(2, "after")],
)  # fmt: skip
async def test_an_adoption_that_was_cut_off_is_completed_at_the_next_start(
    at: int, when: When, api: Api, customers: Customers, operator: Operator, control: Postgres, faults: Faults
) -> None:
    customer = await customers.onboard(spec=RETAIN)
    binding = await customers.binding(customer)
    await deleted(api, customers, customer)
    await api.apply(samples.tenant(customer.name, id=customer.id))
    await customers.stalled(customer.name, "AdoptionNotApproved")
    before = await rows(control, "id")
    await customers.quiet()
    faults.arm(Fault(nth=at, when=when))

    name = await approve(api, customer.name, customer.id)
    await until(lambda: _ended_or_ready(faults, operator, api, customer))
    if faults.happened:
        operator.crash()
        operator.start()

    assert (await customers.ready(customer.name)).id == customer.id
    await customers.until(name, lambda one: holds(one, "Ready", "Used"), kind="Approval")
    assert await rows(control, "id") == before
    assert await customers.binding(customer) == binding
    assert await may_connect(binding)


async def _ended_or_ready(faults: Faults, operator: Operator, api: Api, customer: Customer) -> bool:
    if faults.happened:
        return True
    found = await api.get("Tenant", customer.name)
    return holds(found, "Ready", "Provisioned") and operator.idle


async def waiting(api: Api, customers: Customers, name: str) -> Customer:
    """A tenant that was deleted, and whose drop finds the hour's budget spent."""
    await api.apply(samples.cell(name, limits={"deletionsPerHour": 0}))
    customer = await customers.onboard(spec={"cellRef": {"name": name}})
    await write_letters(api, customers, customer)
    await deleted(api, customers, customer)
    await api.apply(samples.tenant(customer.name, id=customer.id, cellRef={"name": name}))
    await customers.stalled(customer.name, "AdoptionNotApproved")
    return customer


@pytest.mark.parametrize("round_", [0, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in range(1, 8))])
async def test_of_a_drop_and_an_adoption_at_the_same_moment_one_wins(
    round_: int, api: Api, customers: Customers, operator: Operator, control: Postgres, postgres: Postgres, name: str
) -> None:
    customer = await waiting(api, customers, name)
    unlimited = samples.cell(name, limits={"deletionsPerHour": 100_000})

    async def let_drop() -> None:
        await asyncio.sleep(0.01 * round_)
        await api.apply(unlimited)
        operator.look_at("Drop", customer.id)

    await asyncio.gather(let_drop(), approve(api, customer.name, customer.id))
    await until(lambda: _settled(control, api, customer))

    if await state(control, customer) == "dropped":
        await customers.stalled(customer.name, "AdoptionNotApproved")
        assert await traces(api, postgres, customer) == set()
    else:
        assert (await customers.ready(customer.name)).id == customer.id
        assert await letters(await customers.binding(customer)) == ["dear all"]
        operator.look_at("Drop", customer.id)
        await customers.quiet()
        assert await letters(await customers.binding(customer)) == ["dear all"]


async def _settled(control: Postgres, api: Api, customer: Customer) -> bool:
    now = await state(control, customer)
    return now == "dropped" or (now == "claimed" and holds(await api.get("Tenant", customer.name), "Ready"))


async def test_a_drop_that_was_cut_off_at_its_first_step_is_not_undone_but_completed(
    api: Api, customers: Customers, operator: Operator, control: Postgres, postgres: Postgres, name: str
) -> None:
    customer = await waiting(api, customers, name)
    operator.stop()
    await control.execute("UPDATE paybill.tenants SET drop_started_time = now() WHERE id = %s", (customer.id,))
    await approve(api, customer.name, customer.id)
    operator.start()
    await customers.quiet()

    assert "its drop has begun" in await customers.stalled(customer.name, "AdoptionNotApproved")
    await api.apply(samples.cell(name, limits={"deletionsPerHour": 100_000}))
    operator.look_at("Drop", customer.id)
    await until(lambda: _settled(control, api, customer))
    assert await state(control, customer) == "dropped"
    assert await traces(api, postgres, customer) == set()
