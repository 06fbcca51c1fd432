"""spec.id with an Approval: a new Tenant takes over what a deleted one left, and nothing else lets it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.cluster import samples
from tests.cluster.adoptions import approve, deleted, letters, rows, uid_of, write_letters
from tests.cluster.api import Api, Object, holds
from tests.cluster.customers import Customer, Customers, may_connect
from tests.cluster.running import Operator
from tests.cluster.waiting import until

Postgres = psycopg.AsyncConnection[Any]
LEVELS = [
    ("Namespace", "Schema"),
    ("Shared", "Rows"),
    pytest.param("Namespace", "Rows", marks=pytest.mark.exhaustive),
    pytest.param("Shared", "Schema", marks=pytest.mark.exhaustive),
]
RETAIN = {"deletionPolicy": "Retain"}


async def held(api: Api, customers: Customers, name: str, tenant_id: str, **spec: Any) -> str:
    """Apply a Tenant that asks for an id; it is held. Returns its UID."""
    await api.apply(samples.tenant(name, id=tenant_id, **spec))
    await customers.stalled(name, "AdoptionNotApproved")
    return await uid_of(api, name)


async def adopted(customers: Customers, customer: Customer, name: str = "") -> Customer:
    """Wait until a Tenant is Ready as the very tenant that it was."""
    found = await customers.ready(name or customer.name)
    assert (found.id, found.namespace) == (customer.id, customer.namespace)
    return found


@pytest.mark.parametrize(("compute", "database"), LEVELS)
async def test_what_was_retained_comes_back_as_it_was(
    compute: str, database: str, api: Api, customers: Customers, control: Postgres
) -> None:
    customer = await customers.onboard(spec=RETAIN, compute=compute, database=database)
    binding = await customers.binding(customer)
    anchors = (await customers.phase(customer.name, "Active"))["status"]["anchors"]
    before = await rows(control, "id")
    await deleted(api, customers, customer)

    await held(api, customers, customer.name, customer.id)
    name = await approve(api, customer.name, customer.id)

    await adopted(customers, customer)
    assert await customers.binding(customer) == binding
    assert await may_connect(binding)
    assert await rows(control, "id") == before
    found = await customers.until(name, lambda one: "usedTime" in one.get("status", {}), kind="Approval")
    assert holds(found, "Ready", "Used")
    contract = await customers.until(
        customer.name, lambda one: holds(one, "Ready", "Active"), kind="Subscription"
    )  # the same object, bound once more
    assert contract["status"]["anchors"] == anchors


async def test_a_deletion_is_undone_until_the_drop_begins(
    api: Api, customers: Customers, control: Postgres, name: str
) -> None:
    where = {"cellRef": {"name": name}}
    await api.apply(samples.cell(name, limits={"deletionsPerHour": 0}))
    customer = await customers.onboard(spec=where)
    binding = await customers.binding(customer)
    await write_letters(api, customers, customer)
    await deleted(api, customers, customer)
    assert await rows(control, "state") >= {("deleted",)}
    assert not await may_connect(binding)

    await held(api, customers, customer.name, customer.id, **where)
    await approve(api, customer.name, customer.id)

    await adopted(customers, customer)
    assert await customers.binding(customer) == binding
    assert await letters(await customers.binding(customer)) == ["dear all"]
    cursor = await control.execute("SELECT state, drop_after FROM paybill.tenants WHERE id = %s", (customer.id,))
    assert await cursor.fetchall() == [("claimed", None)]


async def test_without_an_approval_nothing_is_made(
    api: Api, customers: Customers, control: Postgres, operator: Operator
) -> None:
    customer = await customers.onboard(spec=RETAIN)
    await deleted(api, customers, customer)
    before = await rows(control, "id", "state", "tenant_uid", "version")

    await api.apply(samples.tenant(customer.name, id=customer.id))
    message = await customers.stalled(customer.name, "AdoptionNotApproved")

    assert f"paybill adopt {customer.name}" in message
    operator.look_at("Tenant", customer.name, deep=True)
    await customers.quiet()
    assert await rows(control, "id", "state", "tenant_uid", "version") == before
    found = await api.get("Tenant", customer.name)
    assert "id" not in (found or {})["status"]


UNFIT: dict[str, Object] = {
    "for another Tenant of the name": {"uid": "00000000-0000-4000-8000-000000000000"},
    "of another id": {"tenant_id": "zzzzzzzz"},
    "that has expired": {"expiresTime": samples.moment(minutes=1)},
}
LATER = ["of another id", "that has expired", "that was deleted"]


@pytest.mark.parametrize(
    "why",
    ["for another Tenant of the name", *(pytest.param(why, marks=pytest.mark.exhaustive) for why in LATER)],
)
async def test_an_approval_that_does_not_fit_helps_nothing_and_one_that_does_is_all_it_takes(
    why: str, api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await customers.onboard(spec=RETAIN)
    await deleted(api, customers, customer)
    await held(api, customers, customer.name, customer.id)
    operator.stop()
    changes = dict(UNFIT.get(why, {}))
    unfit = await approve(api, customer.name, changes.pop("tenant_id", customer.id), **changes)
    if why == "that was deleted":
        await api.delete("Approval", unfit)

    operator.start()

    operator.look_at("Tenant", customer.name, deep=True)
    await customers.quiet()
    await customers.stalled(customer.name, "AdoptionNotApproved")
    assert "id" not in (await api.get("Tenant", customer.name) or {})["status"]
    await approve(api, customer.name, customer.id)
    await adopted(customers, customer)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("why", "reason"), [("of another id", "DigestMismatch"), ("that has expired", "Expired")], ids=lambda one: one
)
async def test_an_approval_says_why_it_is_of_no_use(why: str, reason: str, api: Api, customers: Customers) -> None:
    customer = await customers.onboard(spec=RETAIN)
    await deleted(api, customers, customer)
    await held(api, customers, customer.name, customer.id)

    changes = dict(UNFIT[why])
    unfit = await approve(api, customer.name, changes.pop("tenant_id", customer.id), **changes)

    await customers.stalled(unfit, reason, kind="Approval")


async def test_an_id_that_a_living_tenant_has_is_not_taken_from_it_until_it_is_gone(
    api: Api, customers: Customers, name: str
) -> None:
    customer = await customers.onboard(spec=RETAIN)
    binding = await customers.binding(customer)

    await held(api, customers, f"{name}-thief", customer.id)
    await approve(api, f"{name}-thief", customer.id)
    await customers.quiet()

    message = await customers.stalled(f"{name}-thief", "AdoptionNotApproved")
    assert f"Tenant {customer.name} has it" in message
    assert holds(await api.get("Tenant", customer.name), "Ready")

    await deleted(api, customers, customer)
    customers.operator.look_at("Tenant", f"{name}-thief")
    await customers.until(f"{name}-thief", lambda one: one["status"].get("id") == customer.id)
    assert await customers.binding(customer) == binding


@pytest.mark.exhaustive
async def test_an_id_that_nobody_ever_had_is_not_made(api: Api, customers: Customers, name: str) -> None:
    await held(api, customers, name, "zzzzzzzz")
    await approve(api, name, "zzzzzzzz")
    await customers.quiet()
    assert "knows no such tenant" in await customers.stalled(name, "AdoptionNotApproved")


@pytest.mark.exhaustive
async def test_what_another_installation_has_is_not_taken_over(
    api: Api, customers: Customers, control: Postgres, name: str
) -> None:
    await control.execute(
        "INSERT INTO paybill.tenants (id, installation, tenant_name, tenant_uid, state, cell, compute, level)"
        " VALUES (%s, 'theirs', 'acme', 'uid', 'released', 'local', 'Namespace', 'Schema')",
        (name[:8],),
    )
    await held(api, customers, name, name[:8])
    await approve(api, name, name[:8])
    await customers.quiet()
    assert "installation theirs" in await customers.stalled(name, "AdoptionNotApproved")


@pytest.mark.exhaustive
async def test_what_was_dropped_does_not_come_back(api: Api, customers: Customers, control: Postgres) -> None:
    customer = await customers.onboard()
    await deleted(api, customers, customer)
    await until(lambda: _dropped(control, customer))

    await held(api, customers, customer.name, customer.id)
    await approve(api, customer.name, customer.id)
    await customers.quiet()

    assert "was dropped" in await customers.stalled(customer.name, "AdoptionNotApproved")


async def _dropped(control: Postgres, customer: Customer) -> bool:
    return (customer.id, "dropped") in await rows(control, "id", "state")


async def test_what_was_adopted_stays_when_the_approval_goes_and_can_be_deleted_for_good(
    api: Api, customers: Customers, control: Postgres
) -> None:
    customer = await customers.onboard(spec=RETAIN)
    await deleted(api, customers, customer)
    await held(api, customers, customer.name, customer.id)
    name = await approve(api, customer.name, customer.id)
    await adopted(customers, customer)

    await api.delete("Approval", name)
    customers.operator.restart()
    customers.operator.look_at("Tenant", customer.name, deep=True)
    await customers.quiet()
    await adopted(customers, customer)

    # Its database objects carry the mark of the first Tenant: the drop must know them for its own.
    await deleted(api, customers, customer)
    await until(lambda: _dropped(control, customer))


@pytest.mark.exhaustive
async def test_a_suspended_tenant_comes_back_suspended_since_the_same_moment(
    api: Api, customers: Customers, control: Postgres
) -> None:
    customer = await customers.onboard(spec=RETAIN)
    unpaid = {"spec": {"payment": {"paidUntilTime": samples.moment(days=20)}}}
    await api.edit("Subscription", customer.name, unpaid)
    await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    before = await customers.phase(customer.name, "Suspended")
    await control.execute("UPDATE paybill.subscription_facts SET suspended_time = suspended_time - interval '3 days'")
    customers.operator.restart()
    await deleted(api, customers, customer)

    await held(api, customers, customer.name, customer.id)
    await approve(api, customer.name, customer.id)

    await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready", "Suspended"))
    contract = await customers.phase(customer.name, "Suspended")
    was, now = (samples.read(one["status"]["anchors"]["suspendedTime"]) for one in (before, contract))
    assert was - now == timedelta(days=3)
    assert not await may_connect(await customers.binding(customer))
