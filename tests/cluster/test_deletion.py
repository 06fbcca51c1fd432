"""What a deletion leaves and what it takes: by its policy, in its own order, whatever interrupts it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.cluster import samples
from tests.cluster.api import Api, condition, holds
from tests.cluster.customers import Customer, Customers, may_connect
from tests.cluster.remains import gone, state, traces
from tests.cluster.running import Operator
from tests.cluster.waiting import until

Postgres = psycopg.AsyncConnection[Any]
LEVELS = [
    ("Namespace", "Schema"),
    ("Namespace", "Rows"),
    ("Shared", "Schema"),
    ("Shared", "Rows"),
    ("Namespace", "Database"),
]
CASCADES = ["Background", "Foreground", "Orphan"]


async def _is(control: Postgres, customer: Customer, wanted: str) -> bool:
    return await state(control, customer) == wanted


@pytest.mark.parametrize(("compute", "database"), LEVELS)
async def test_delete_takes_everything_of_the_tenant_and_nothing_of_its_neighbour(
    compute: str, database: str, api: Api, customers: Customers, postgres: Postgres, control: Postgres, name: str
) -> None:
    await customers.plan(name, compute, database)
    customer, neighbour = await customers.onboard("one", plan=name), await customers.onboard("next", plan=name)
    binding = await customers.binding(neighbour)
    before = await traces(api, postgres, neighbour)

    await api.delete("Tenant", customer.name)

    await until(lambda: gone(api, "Tenant", customer.name))
    await until(lambda: _is(control, customer, "dropped"))
    assert await traces(api, postgres, customer) == set()
    assert await traces(api, postgres, neighbour) == before
    assert await customers.binding(neighbour) == binding
    assert await may_connect(binding)
    assert holds(await api.get("Tenant", neighbour.name), "Ready")


@pytest.mark.parametrize("cascade", CASCADES)
async def test_retain_leaves_everything_however_it_is_deleted(
    cascade: str, api: Api, customers: Customers, postgres: Postgres, control: Postgres
) -> None:
    customer = await customers.onboard(spec={"deletionPolicy": "Retain"})
    binding = await customers.binding(customer)
    before = await traces(api, postgres, customer)

    await api.delete("Tenant", customer.name, cascade=cascade)

    await until(lambda: gone(api, "Tenant", customer.name))
    await until(lambda: _is(control, customer, "released"))
    await customers.quiet()
    assert await traces(api, postgres, customer) == before
    assert await customers.binding(customer) == binding
    assert await may_connect(binding)


@pytest.mark.parametrize("cascade", CASCADES)
async def test_delete_is_carried_out_however_it_is_asked_for(
    cascade: str, api: Api, customers: Customers, postgres: Postgres, control: Postgres
) -> None:
    customer = await customers.onboard()

    await api.delete("Tenant", customer.name, cascade=cascade)

    await until(lambda: gone(api, "Tenant", customer.name))
    await until(lambda: _is(control, customer, "dropped"))
    assert await traces(api, postgres, customer) == set()


async def test_a_tenant_that_has_nothing_goes_at_once(api: Api, customers: Customers, name: str) -> None:
    await api.apply(samples.tenant(name, deletionPolicy="Snapshot"), samples.subscription(name, f"{name}-none"))
    await customers.stalled(name, "UnknownPlan")

    await api.delete("Tenant", name)

    await until(lambda: gone(api, "Tenant", name))


async def test_a_suspended_tenant_can_be_deleted(
    api: Api, customers: Customers, postgres: Postgres, control: Postgres
) -> None:
    customer = await customers.onboard()
    await api.edit("Subscription", customer.name, {"spec": {"payment": {"paidUntilTime": samples.moment(days=20)}}})
    await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))

    await api.delete("Tenant", customer.name)

    await until(lambda: _is(control, customer, "dropped"))
    assert await traces(api, postgres, customer) == set()


async def test_the_contract_of_a_deleted_tenant_says_so_and_can_go(api: Api, customers: Customers) -> None:
    customer = await customers.onboard()
    await api.delete("Tenant", customer.name)
    await until(lambda: gone(api, "Tenant", customer.name))

    found = await customers.until(
        customer.name, lambda one: condition(one, "Ready").get("reason") == "NoTenant", kind="Subscription"
    )
    assert customer.name in condition(found, "Ready")["message"]
    await api.delete("Subscription", customer.name)
    await until(lambda: gone(api, "Subscription", customer.name))


async def test_an_hours_budget_holds_back_the_next_drop(
    api: Api, customers: Customers, postgres: Postgres, control: Postgres, operator: Operator, name: str
) -> None:
    await api.apply(samples.cell(name, limits={"deletionsPerHour": 1}))
    await customers.plan(name)
    where = {"cellRef": {"name": name}}
    first, second = (
        await customers.onboard("a", plan=name, spec=where),
        await customers.onboard("b", plan=name, spec=where),
    )
    binding = await customers.binding(second)

    await api.delete("Tenant", first.name)
    await until(lambda: _is(control, first, "dropped"))
    await api.delete("Tenant", second.name)
    await until(lambda: gone(api, "Tenant", second.name))
    await until(lambda: operator.call(lambda world: world.queue.idle))

    assert await state(control, second) == "deleted"
    assert not await may_connect(binding), "it is fenced at once"
    assert f"schema t_{second.id}" in await traces(api, postgres, second)

    await api.apply(samples.cell(name, limits={"deletionsPerHour": 2}))
    await until(lambda: operator.call(lambda world: world.declared.cells[name].spec.limits.deletions_per_hour == 2))
    operator.look_at("Drop", second.id)  # it looks by itself once a minute
    await until(lambda: _is(control, second, "dropped"))


async def test_what_is_not_ours_any_more_is_not_dropped(
    api: Api, customers: Customers, postgres: Postgres, control: Postgres, operator: Operator
) -> None:
    customer = await customers.onboard()
    change = {"metadata": {"labels": {"paybill.dev/tenant": "somebody"}}}
    operator.stop()
    await api.edit("Namespace", customer.namespace, change)
    await api.delete("Tenant", customer.name)

    operator.start()

    await until(lambda: gone(api, "Tenant", customer.name))
    await until(lambda: operator.call(lambda world: world.queue.idle))
    assert await state(control, customer) == "deleted"
    assert not await gone(api, "Namespace", customer.namespace)

    change["metadata"]["labels"]["paybill.dev/tenant"] = customer.id
    await api.edit("Namespace", customer.namespace, change)
    operator.look_at("Drop", customer.id)
    await until(lambda: _is(control, customer, "dropped"))
