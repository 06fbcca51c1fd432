"""An hour's budget is spent in the order in which tenants fell due, and everybody is told when it is their turn."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.cluster import samples
from tests.cluster.api import Api, condition, holds
from tests.cluster.customers import Customer, Customers, connect
from tests.cluster.halting import PAID, UNPAID, done, later, says
from tests.cluster.running import Operator
from tests.cluster.waiting import until

Postgres = psycopg.AsyncConnection[Any]
SPENT = "SuspensionBudgetSpent"


async def limit(api: Api, name: str, operator: Operator, **limits: int) -> None:
    """Apply a Cell with these limits, and wait until the operator knows them."""
    (applied,) = await api.apply(samples.cell(name, limits={"massChangeFloor": 1000, **limits}))
    generation = applied["metadata"]["generation"]
    await until(lambda: operator.call(lambda world: _generation(world, name)) == generation)


def _generation(world: Any, name: str) -> int | None:
    cell = world.declared.cells.get(name)
    return cell.metadata.generation if cell is not None else None


@pytest.fixture
async def three(api: Api, customers: Customers, operator: Operator, name: str) -> list[Customer]:
    """The first suspended, which spends the hour; the other two due after it, the last one in the alphabet first."""
    await limit(api, name, operator, suspensionsPerHour=1)
    await customers.plan(name, "Shared", "Schema")
    there = {"cellRef": {"name": name}}
    made = [await customers.onboard(end, plan=name, spec=there) for end in ("done", "z", "a")]
    await api.edit("Subscription", made[0].name, UNPAID)
    await suspended(customers, made[0])
    for number, one in enumerate(made[1:], start=1):
        later(operator, seconds=10 * number)
        await api.edit("Subscription", one.name, UNPAID)
        await until(lambda one=one: says(api, one.name, SPENT))
    return made


async def suspended(customers: Customers, customer: Customer) -> None:
    await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))


async def message(api: Api, customer: Customer) -> str:
    return str(condition(await api.get("Tenant", customer.name), "Ready")["message"])


async def turn(api: Api, customer: Customer) -> tuple[int, int, datetime]:
    """A tenant's place in the line, how many are in it, and when it is told to come."""
    said = re.search(r"number (\d+) of (\d+) in the line, until about (\S+ \S+) UTC", await message(api, customer))
    assert said is not None
    return int(said[1]), int(said[2]), datetime.fromisoformat(said[3])


async def test_the_oldest_due_goes_first_and_each_is_told_when(
    api: Api, customers: Customers, three: list[Customer], operator: Operator, control: Postgres, name: str
) -> None:
    _, old, young = three
    first, second = await turn(api, old), await turn(api, young)
    assert (first[0], second[0]) == (1, 2)
    assert second[2] - first[2] == timedelta(hours=1)

    # The younger one asks first, again and again: room for one more is not for it.
    await limit(api, name, operator, suspensionsPerHour=2)
    for _ in range(3):
        operator.look_at("Tenant", young.name)
    await suspended(customers, old)
    await customers.quiet()

    assert (await turn(api, young))[:2] == (1, 1)
    assert set(await done(control, "tenant.suspend", cell=name)) == {three[0].id, old.id}


async def test_a_restart_forgets_neither_what_is_spent_nor_whose_turn_it_is(
    api: Api, customers: Customers, three: list[Customer], operator: Operator, control: Postgres, name: str
) -> None:
    _, old, young = three

    operator.restart()
    operator.look_at("Tenant", young.name)
    await customers.quiet()

    assert set(await done(control, "tenant.suspend", cell=name)) == {three[0].id}
    assert [(await turn(api, one))[0] for one in (old, young)] == [1, 2]
    later(operator, minutes=61)
    for one in (young, old):
        operator.look_at("Tenant", one.name)
    await suspended(customers, old)
    assert young.id not in await done(control, "tenant.suspend", cell=name)


@pytest.mark.exhaustive
async def test_who_paid_leaves_the_line(
    api: Api, customers: Customers, three: list[Customer], operator: Operator
) -> None:
    _, old, young = three

    await api.edit("Subscription", old.name, PAID)
    await customers.until(old.name, lambda one: holds(one, "Ready", "Provisioned"))
    operator.look_at("Tenant", young.name)

    await until(lambda: _at(api, young, 1))


async def _at(api: Api, customer: Customer, place: int) -> bool:
    return (await turn(api, customer))[0] == place


@pytest.mark.exhaustive
async def test_a_limit_of_nothing_holds_everybody_until_it_is_raised(
    api: Api, customers: Customers, three: list[Customer], operator: Operator, name: str
) -> None:
    _, old, young = three
    await limit(api, name, operator, suspensionsPerHour=0)
    later(operator, hours=5)
    for one in (old, young):
        operator.look_at("Tenant", one.name)
    await customers.quiet()
    assert "its limit lets none through" in await message(api, old)

    await limit(api, name, operator, suspensionsPerHour=2)

    await suspended(customers, old)
    await suspended(customers, young)


@pytest.mark.exhaustive
async def test_a_clock_that_goes_back_lets_nobody_through_twice(
    api: Api, customers: Customers, three: list[Customer], operator: Operator, control: Postgres, name: str
) -> None:
    _, old, _ = three
    later(operator, days=-2)
    operator.look_at("Tenant", old.name)
    await customers.quiet()
    assert set(await done(control, "tenant.suspend", cell=name)) == {three[0].id}

    later(operator, minutes=61)
    operator.look_at("Tenant", old.name)
    await suspended(customers, old)


@pytest.mark.exhaustive
async def test_waiting_costs_no_event_and_loses_nothing_before_its_turn(
    api: Api, three: list[Customer], operator: Operator, customers: Customers
) -> None:
    _, old, _ = three
    for _ in range(3):
        operator.look_at("Tenant", old.name)
        await customers.quiet()
    events = [one for one in await api.list("Event", "default") if one["involvedObject"]["name"] == old.name]
    assert "Suspending" not in [one["reason"] for one in events]


async def test_a_drop_that_takes_long_keeps_no_other_waiting(
    api: Api, customers: Customers, operator: Operator, control: Postgres, postgres: Postgres, name: str
) -> None:
    await limit(api, name, operator, deletionsPerHour=10, suspensionsPerHour=10)
    await customers.plan(name, "Shared", "Schema")
    there = {"cellRef": {"name": name}}
    slow, quick, unpaid = [await customers.onboard(end, plan=name, spec=there) for end in ("slow", "quick", "unpaid")]
    async with await connect(await customers.binding(slow)) as app:
        database = app.info.dbname
    dsn = make_conninfo(postgres.info.dsn, password=postgres.info.password, dbname=database)
    async with await psycopg.AsyncConnection.connect(dsn) as holder:
        await holder.execute(f"CREATE TABLE t_{slow.id}.held ()".encode())
        await holder.commit()
        await holder.execute(f"LOCK TABLE t_{slow.id}.held".encode())
        await api.delete("Subscription", slow.name)
        await api.edit("Tenant", slow.name, {"metadata": {"annotations": {"paybill.dev/allow-delete": slow.name}}})
        await api.delete("Tenant", slow.name)
        await until(lambda: _begun(control, slow))

        await api.edit("Tenant", quick.name, {"metadata": {"annotations": {"paybill.dev/allow-delete": quick.name}}})
        await api.delete("Tenant", quick.name)
        await api.edit("Subscription", unpaid.name, UNPAID)

        await until(lambda: _dropped(control, quick))
        await suspended(customers, unpaid)
        assert not await _dropped(control, slow)
        await holder.rollback()
    operator.look_at("Drop", slow.id)
    await until(lambda: _dropped(control, slow), seconds=40)
    assert (await done(control, "tenant.drop", cell=name))[quick.id] == 1


async def _begun(control: Postgres, customer: Customer) -> bool:
    return customer.id in await done(control, "tenant.drop")


async def _dropped(control: Postgres, customer: Customer) -> bool:
    found = await control.execute("SELECT 1 FROM paybill.tenants WHERE state = 'dropped' AND id = %s", (customer.id,))
    return await found.fetchone() is not None


async def test_all_cells_together_have_a_budget_where_the_operator_is_given_one(
    api: Api, customers: Customers, operator: Operator, control: Postgres, name: str
) -> None:
    room = len(await done(control, "tenant.suspend")) + 1  # other tests spent the rest

    def tight(world: Any) -> None:
        world.settings = replace(world.settings, suspensions_per_hour=room)

    operator.made = tight
    operator.restart()
    await customers.plan(name, "Shared", "Schema")
    made = []
    for cell in ("x", "y"):
        await limit(api, f"{name}-{cell}", operator, suspensionsPerHour=10)
        where = {"cellRef": {"name": f"{name}-{cell}"}}
        made.append(await customers.onboard(cell, plan=name, spec=where))
    await api.edit("Subscription", made[0].name, UNPAID)
    await suspended(customers, made[0])

    await api.edit("Subscription", made[1].name, UNPAID)

    await until(lambda: says(api, made[1].name, SPENT))
    assert f"{room} of {room} suspensions of all Cells (PAYBILL_SUSPENSIONS_PER_HOUR)" in await message(api, made[1])
    assert (await turn(api, made[1]))[:2] == (1, 1)
    operator.restart()
    operator.look_at("Tenant", made[1].name)
    await customers.quiet()
    assert set(await done(control, "tenant.suspend", cell=f"{name}-y")) == set(), "the log was asked"
    operator.stop()
    operator.made = lambda _: None
    operator.start()
    await suspended(customers, made[1])
