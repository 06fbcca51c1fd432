"""Much of a cell that is to be stopped or deleted at once waits for a person, whoever asked for it, however often."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from paybill.reconcile import metrics
from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds, path
from tests.cluster.customers import Customer, Customers, may_connect
from tests.cluster.halting import PAID, UNPAID, done, later, paybill, paybill_json, says
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

Postgres = psycopg.AsyncConnection[Any]

SETTINGS = {"settle_seconds": 1.5, "lease_seconds": 15.0}
"""Long enough for all of a change to be seen before any of it is done, as it is by default."""
MANY = 8
DESTRUCTIVE = ("tenant.suspend", "tenant.delete", "tenant.drop", "namespace.delete", "pod.evict", "tenant.release")


async def cell(api: Api, name: str, **limits: int) -> Object:
    """A Cell whose budgets do not run out, with the breaker as it is by default unless ``limits`` say otherwise."""
    free = {"suspensionsPerHour": 1000, "deletionsPerHour": 1000}
    return (await api.apply(samples.cell(name, limits=free | limits)))[0]


async def onboard(customers: Customers, where: str, number: int, plan: str) -> list[Customer]:
    """So many customers of a Cell."""
    there = {"cellRef": {"name": where}}
    made = (customers.onboard(f"{where[-4:]}-{n}", plan=plan, spec=there) for n in range(number))
    return list(await asyncio.gather(*made))


@pytest.fixture
async def crowd(api: Api, customers: Customers, name: str) -> list[Customer]:
    """More customers in a Cell of their own than may go at once."""
    await cell(api, name)
    await customers.plan(name, "Shared", "Schema")
    return await onboard(customers, name, MANY, name)


async def edit_all(api: Api, crowd: Sequence[Customer], change: Object, kind: str = "Subscription") -> None:
    await asyncio.gather(*(api.edit(kind, one.name, change) for one in crowd))


async def prune(api: Api, kind: str, names: Sequence[str]) -> None:
    """Delete as Argo CD prunes: all at once, in the foreground, whatever protects a Tenant allowed."""
    if kind == "Tenant":
        for name in names:
            allow = {"metadata": {"annotations": {"paybill.dev/allow-delete": name}}}
            await api.edit(kind, name, allow)
    options = {"propagationPolicy": "Foreground"}
    answers = await asyncio.gather(*(api.call("DELETE", path(kind, "", name), options) for name in names))
    assert {status for status, _ in answers} <= {200, 202, 404}


async def tripped(customers: Customers, cell_name: str) -> Object:
    """The Cell's status once its breaker holds and everybody was counted."""
    found = await customers.until(cell_name, lambda one: holds(one, "MassChange"), kind="Cell")
    status: Object = found["status"]["massChange"]
    return status


async def all_held(api: Api, crowd: Sequence[Customer], reason: str = "MassChangeHeld") -> None:
    for one in crowd:
        await until(lambda one=one: says(api, one.name, reason))


async def untouched(api: Api, customers: Customers, control: Postgres, crowd: Sequence[Customer]) -> None:
    ids = {one.id for one in crowd}
    assert ids & set(await done(control, *DESTRUCTIVE)) == set()
    for one in crowd:
        assert await may_connect(await customers.binding(one))


async def test_payments_edited_into_the_past_suspend_nobody(
    api: Api, customers: Customers, crowd: list[Customer], control: Postgres, name: str, control_plane: LocalThread,
    operator: Operator,
) -> None:  # fmt: skip
    await edit_all(api, crowd, UNPAID)
    await all_held(api, crowd)

    await untouched(api, customers, control, crowd)
    await customers.until(name, lambda one: one["status"].get("massChange", {}).get("waiting") == MANY, kind="Cell")
    trip = await tripped(customers, name)
    assert (trip["cause"], trip["counted"], trip["tenants"]) == ("Suspensions", 6, MANY)
    said = condition(await api.get("Cell", name), "MassChange")["message"]
    assert f"paybill resume --cell {name}" in said
    assert crowd[0].name in said
    events = [one for one in await api.list("Event", "default") if one["involvedObject"]["name"] == name]
    assert [one["reason"] for one in events].count("MassChange") == 1

    assert metrics.REGISTRY.get_sample_value("paybill_mass_change", {"cell": name}) == 1

    # A person looks, says no, and then yes: exactly these are stopped, each once.
    refused = await paybill(control_plane.kubeconfig, "resume", "--cell", name, answer="n\n")
    assert refused.exit_code == 1
    assert all(one.name in refused.output for one in crowd)
    assert "pods are evicted" in refused.output
    await customers.quiet()
    await untouched(api, customers, control, crowd)
    allowed = await paybill(control_plane.kubeconfig, "resume", "--cell", name, answer="y\n")
    assert allowed.exit_code == 0, allowed.output
    for one in crowd:
        await customers.until(one.name, lambda found: holds(found, "Suspended") and holds(found, "Ready"))
    assert await done(control, "tenant.suspend", cell=name) == dict.fromkeys((one.id for one in crowd), 1)
    await customers.until(name, lambda one: not condition(one, "MassChange"), kind="Cell")
    assert metrics.REGISTRY.get_sample_value("paybill_mass_change", {"cell": name}) == 0
    assert (await done(control, "massChange.hold", "massChange.allow", cell=name))["None"] == 2

    # What was allowed is not counted again: neither with the next one, nor after a restart.
    another = await customers.onboard("next", plan=name, spec={"cellRef": {"name": name}})
    await api.edit("Subscription", another.name, UNPAID)
    await customers.until(another.name, lambda found: holds(found, "Suspended") and holds(found, "Ready"))
    operator.restart()
    await customers.quiet()
    assert operator.call(lambda world: world.brakes.trip_of(name)) is None


@pytest.mark.exhaustive
async def test_without_the_breaker_the_same_payments_suspend_everybody(
    api: Api, customers: Customers, crowd: list[Customer], control: Postgres, name: str
) -> None:
    await cell(api, name, massChangeFloor=1000)
    await customers.quiet()

    await edit_all(api, crowd, UNPAID)

    for one in crowd:
        await customers.until(one.name, lambda found: holds(found, "Suspended") and holds(found, "Ready"))
    assert await done(control, "tenant.suspend", cell=name) == dict.fromkeys((one.id for one in crowd), 1)


async def test_a_folder_that_is_pruned_takes_nothing_from_anybody(
    api: Api, customers: Customers, crowd: list[Customer], control: Postgres, name: str, operator: Operator
) -> None:
    """Tenants, Subscriptions, the Plan and the Cell, all at once: and after a restart it is the same."""
    names = [one.name for one in crowd]
    await asyncio.gather(
        prune(api, "Subscription", names), prune(api, "Tenant", names), prune(api, "Plan", [name]),
        prune(api, "Cell", [name]),
    )  # fmt: skip
    await all_held(api, crowd)
    await untouched(api, customers, control, crowd)
    trip = operator.call(lambda world: world.brakes.trip_of(name))
    assert trip is not None

    operator.restart()
    await customers.quiet()

    await all_held(api, crowd)
    await untouched(api, customers, control, crowd)
    again = operator.call(lambda world: world.brakes.trip_of(name))
    assert again is not None
    assert again.id == trip.id

    # The Cell comes back from Git, a person allows it: all of it is carried out, once.
    await cell(api, name)
    found = await tripped(customers, name)
    await api.edit("Cell", name, {"metadata": {"annotations": {"paybill.dev/allow-mass-change": found["id"]}}})
    await until(lambda: _dropped(control, crowd))
    assert await done(control, "tenant.delete", cell=name) == dict.fromkeys((one.id for one in crowd), 1)
    assert await done(control, "tenant.drop", cell=name) == dict.fromkeys((one.id for one in crowd), 1)


async def test_without_the_breaker_the_same_prune_destroys_them(
    api: Api, customers: Customers, crowd: list[Customer], control: Postgres, name: str
) -> None:
    await cell(api, name, massChangeFloor=1000)
    await customers.quiet()

    await prune(api, "Subscription", [one.name for one in crowd])
    await prune(api, "Tenant", [one.name for one in crowd])

    await until(lambda: _dropped(control, crowd))


async def _dropped(control: Postgres, crowd: Sequence[Customer]) -> bool:
    found = await control.execute(
        "SELECT count(*) FROM paybill.tenants WHERE state = 'dropped' AND id = ANY(%s)", ([one.id for one in crowd],)
    )
    row = await found.fetchone()
    return row is not None and row[0] == len(crowd)


@pytest.mark.exhaustive
async def test_pruned_contracts_applied_again_leave_everybody_as_they_were(
    api: Api, customers: Customers, crowd: list[Customer], control: Postgres, name: str
) -> None:
    """The way back from a prune of Subscriptions: the same manifests, nothing else."""
    await prune(api, "Subscription", [one.name for one in crowd])
    await all_held(api, crowd)

    await api.apply(*(samples.subscription(one.name, name) for one in crowd))

    for one in crowd:
        await customers.until(one.name, lambda found: holds(found, "Ready", "Provisioned"))
    await untouched(api, customers, control, crowd)


@pytest.mark.exhaustive
async def test_pruned_tenants_that_are_to_be_retained_keep_everything_when_it_is_allowed(
    api: Api, customers: Customers, crowd: list[Customer], control: Postgres, name: str, control_plane: LocalThread
) -> None:
    """The way back from a prune of Tenants: their data is there for an adoption."""
    bindings = [await customers.binding(one) for one in crowd]
    await prune(api, "Tenant", [one.name for one in crowd])
    await all_held(api, crowd)

    await edit_all(api, crowd, {"spec": {"deletionPolicy": "Retain"}}, "Tenant")
    shown = await paybill_json(control_plane.kubeconfig, "resume", "--cell", name, "--yes")

    assert {one["wouldLose"] for one in shown["tenants"]} == {"nothing: Paybill lets go of it and leaves all as it is"}
    for one in crowd:
        await until(lambda one=one: _gone(api, one.name))
    assert await done(control, "tenant.release", cell=name) == dict.fromkeys((one.id for one in crowd), 1)
    assert set(await done(control, "tenant.suspend", "tenant.delete", "tenant.drop", cell=name)) == set()
    assert [await may_connect(binding) for binding in bindings] == [True] * len(crowd)


@pytest.mark.exhaustive
async def test_who_pays_is_served_while_the_breaker_holds(
    api: Api, customers: Customers, crowd: list[Customer], control: Postgres, name: str
) -> None:
    await edit_all(api, crowd[:-1], UNPAID)
    await tripped(customers, name)
    paying = crowd[-1]

    await api.delete("ConfigMap", f"{paying.id}-entitlements", paying.namespace)
    await until(lambda: api.get("ConfigMap", f"{paying.id}-entitlements", paying.namespace))
    await customers.onboard("new", plan=name, spec={"cellRef": {"name": name}})

    # Nobody else is stopped either, were it one alone.
    await api.edit("Subscription", paying.name, UNPAID)
    await until(lambda: says(api, paying.name, "MassChangeHeld"))
    await untouched(api, customers, control, crowd)


@pytest.mark.exhaustive
async def test_corrected_payments_leave_nothing_to_hold_and_an_hour_later_the_breaker_is_ready_again(
    api: Api, customers: Customers, crowd: list[Customer], control: Postgres, name: str, operator: Operator
) -> None:
    await edit_all(api, crowd, UNPAID)
    await all_held(api, crowd)

    await edit_all(api, crowd, PAID)
    for one in crowd:
        await customers.until(one.name, lambda found: holds(found, "Ready", "Provisioned"))
    operator.look_at("MassChange", name)
    await customers.quiet()
    assert condition(await api.get("Cell", name), "MassChange")["status"] == "True", "not before an hour is over"

    later(operator, minutes=61)
    operator.look_at("MassChange", name)
    await customers.until(name, lambda one: not condition(one, "MassChange"), kind="Cell")
    await untouched(api, customers, control, crowd)


@pytest.mark.exhaustive
async def test_what_allowed_the_last_one_allows_no_other(
    api: Api, customers: Customers, crowd: list[Customer], control: Postgres, name: str, control_plane: LocalThread
) -> None:
    await edit_all(api, crowd, UNPAID)
    await all_held(api, crowd)
    shown = await paybill_json(control_plane.kubeconfig, "resume", "--cell", name, "--yes")
    assert shown["allowed"] is True
    for one in crowd:
        await customers.until(one.name, lambda found: holds(found, "Suspended") and holds(found, "Ready"))
    await edit_all(api, crowd, PAID)
    for one in crowd:
        await customers.until(one.name, lambda found: holds(found, "Ready", "Provisioned"))

    await edit_all(api, crowd, UNPAID)

    await all_held(api, crowd)
    again = await tripped(customers, name)
    assert again["id"] != shown["massChange"]["id"]
    annotations = ((await api.get("Cell", name)) or {})["metadata"]["annotations"]
    assert annotations["paybill.dev/allow-mass-change"] == shown["massChange"]["id"]
    assert await done(control, "tenant.suspend", cell=name) == dict.fromkeys((one.id for one in crowd), 1)
    nobody = await paybill(control_plane.kubeconfig, "resume", "--cell", "local", "--yes")
    assert "holds nothing back" in nobody.output


async def test_as_many_as_the_floor_may_go_and_one_more_may_not(
    api: Api, customers: Customers, crowd: list[Customer], control: Postgres, name: str, operator: Operator
) -> None:
    await edit_all(api, crowd[:5], UNPAID)
    for one in crowd[:5]:
        await customers.until(one.name, lambda found: holds(found, "Suspended") and holds(found, "Ready"))
    assert operator.call(lambda world: world.brakes.trip_of(name)) is None

    await edit_all(api, crowd[5:6], UNPAID)

    await all_held(api, crowd[5:6])
    await untouched(api, customers, control, crowd[5:6])


@pytest.mark.exhaustive
async def test_two_cells_do_not_affect_each_other(
    api: Api, customers: Customers, crowd: list[Customer], control: Postgres, name: str
) -> None:
    other = f"{name[:-1]}x"
    await cell(api, other)
    neighbours = await onboard(customers, other, 2, name)
    await edit_all(api, crowd, UNPAID)
    await all_held(api, crowd)

    await edit_all(api, neighbours[:1], UNPAID)
    await prune(api, "Subscription", [neighbours[1].name])
    await prune(api, "Tenant", [neighbours[1].name])

    await customers.until(neighbours[0].name, lambda found: holds(found, "Suspended") and holds(found, "Ready"))
    await until(lambda: _dropped(control, neighbours[1:]))
    await untouched(api, customers, control, crowd)


async def test_tenants_that_have_no_place_can_go_whatever_their_number(
    api: Api, customers: Customers, name: str
) -> None:
    names = [f"{name}-{number}" for number in range(MANY)]
    await api.apply(*(samples.tenant(one) for one in names))

    await prune(api, "Tenant", names)

    for one in names:
        await until(lambda one=one: _gone(api, one))


async def _gone(api: Api, name: str) -> bool:
    return await api.get("Tenant", name) is None


@pytest.mark.exhaustive
async def test_plans_that_vanish_change_nothing_and_what_comes_after_is_held(
    api: Api, customers: Customers, crowd: list[Customer], control: Postgres, name: str, operator: Operator
) -> None:
    await prune(api, "Plan", [name])

    await until(lambda: operator.call(lambda world: world.brakes.trip_of(name)) is not None)
    for one in crowd:
        await customers.until(one.name, lambda found: holds(found, "PlanMissing"))
        assert holds(await api.get("Tenant", one.name), "Ready", "Provisioned")
    await edit_all(api, crowd[:1], UNPAID)
    await all_held(api, crowd[:1])
    await untouched(api, customers, control, crowd)


@pytest.mark.exhaustive
async def test_two_hundred_unpaid_at_once_wait_and_then_go_hour_by_hour_each_once(
    api: Api, customers: Customers, control: Postgres, name: str, operator: Operator, control_plane: LocalThread
) -> None:
    an_hour = 100
    server = samples.server("rows-1", "Rows")
    await api.apply(samples.cell(name, [server], limits={"suspensionsPerHour": an_hour}))
    await customers.plan(name, "Shared", "Rows")
    crowd = await two_hundred(api, customers, control, name)

    await edit_all(api, crowd, UNPAID)
    await until(lambda: operator.call(lambda world: len(world.brakes.waiting(name))) == len(crowd), seconds=120)
    trip = await tripped(customers, name)
    assert trip["counted"] == 21

    operator.restart()
    await until(lambda: operator.call(lambda world: len(world.brakes.waiting(name))) == len(crowd), seconds=120)
    assert (await tripped(customers, name))["id"] == trip["id"]
    assert await done(control, *DESTRUCTIVE, cell=name) == {}
    await untouched(api, customers, control, crowd[:10])

    allowed = await paybill_json(control_plane.kubeconfig, "resume", "--cell", name, "--yes")
    assert {one["name"] for one in allowed["tenants"]} == {one.name for one in crowd}
    for hour in (1, 2):
        await until(lambda hour=hour: _suspended(control, name, hour * an_hour), seconds=60)
        await customers.quiet()
        assert len(await done(control, "tenant.suspend", cell=name)) == hour * an_hour
        later(operator, minutes=61)
        for one in crowd:
            operator.look_at("Tenant", one.name)
    assert await done(control, "tenant.suspend", cell=name) == dict.fromkeys((one.id for one in crowd), 1)


async def two_hundred(api: Api, customers: Customers, control: Postgres, name: str) -> list[Customer]:
    """So many customers, a few at a time; asked for in the control database, which bears it."""
    names = [f"{name}-{number}" for number in range(200)]
    for start in range(0, len(names), 20):
        part = names[start : start + 20]
        there = {"cellRef": {"name": name}}
        await asyncio.gather(
            *(api.apply(samples.tenant(one, **there), samples.subscription(one, name)) for one in part)
        )
    await until(lambda: _ready(control, name, len(names)), seconds=120)
    await customers.quiet()
    found = {one["metadata"]["name"]: one["status"] for one in await api.list("Tenant")}
    return [Customer(one, found[one]["id"], f"paybill-pool-{name}", name) for one in names]


async def _ready(control: Postgres, cell_name: str, number: int) -> bool:
    found = await control.execute(
        "SELECT count(*) FROM paybill.tenants WHERE cell = %s AND ready_time IS NOT NULL", (cell_name,)
    )
    return await found.fetchone() == (number,)


async def _suspended(control: Postgres, cell_name: str, number: int) -> bool:
    return len(await done(control, "tenant.suspend", cell=cell_name)) >= number
