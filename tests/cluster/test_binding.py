"""Which Subscription holds a Tenant, and what becomes of the Tenant when it goes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.customers import Customer, Customers, may_connect
from tests.cluster.running import Operator
from tests.cluster.waiting import until

ENDED: Object = {"spec": {"payment": {"paidUntilTime": samples.moment(days=40)}}}
UNPAID: Object = {"spec": {"payment": {"paidUntilTime": samples.moment(days=20)}}}
PAID: Object = {"spec": {"payment": {"paidUntilTime": samples.FAR}}}


async def bound_to(customers: Customers, customer: Customer, subscription: str) -> Object:
    """Wait until both sides name each other."""

    tenant = await customers.until(customer.name, lambda _: True)
    contract = await customers.until(
        subscription,
        lambda one: one.get("status", {}).get("tenantUID") == tenant["metadata"]["uid"],
        kind="Subscription",
    )
    both = {"name": subscription, "uid": contract["metadata"]["uid"]}
    return await customers.until(
        customer.name, lambda one: one["status"].get("subscriptionRef") == both and holds(one, "Ready")
    )


async def second(customers: Customers, customer: Customer) -> str:
    """A second contract with a Tenant that has one."""
    name = f"{customer.name}-z"
    await customers.api.apply(samples.subscription(name, customer.plan, to=customer.name))
    message = await customers.stalled(name, "TenantTaken", kind="Subscription")
    assert customer.name in message
    return name


async def test_of_two_contracts_the_older_holds_the_tenant(api: Api, customers: Customers) -> None:
    customer = await customers.onboard()

    other = await second(customers, customer)

    found = await bound_to(customers, customer, customer.name)
    assert holds(found, "Ready", "Provisioned")
    assert "tenantUID" not in (await api.get("Subscription", other) or {})["status"]


async def test_the_older_wins_in_whatever_order_they_are_seen(
    api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    await customers.plan(name)
    operator.stop()
    await api.apply(samples.subscription(f"{name}-a", name, to=name), samples.subscription(f"{name}-b", name, to=name))
    await api.apply(samples.tenant(name))

    operator.start()

    await customers.ready(name)
    assert (await api.get("Tenant", name) or {})["status"]["subscriptionRef"]["name"] == f"{name}-a"
    await customers.stalled(f"{name}-b", "TenantTaken", kind="Subscription")


@pytest.mark.parametrize("how", ["deleted", "ended", "cancelled"])
async def test_the_next_contract_takes_over_when_the_first_is_over(how: str, api: Api, customers: Customers) -> None:
    customer = await customers.onboard()
    binding = await customers.binding(customer)
    other = await second(customers, customer)

    match how:
        case "deleted":
            await api.delete("Subscription", customer.name)
        case "ended":
            await api.edit("Subscription", customer.name, ENDED)
        case _:
            await api.edit("Subscription", customer.name, {"spec": {"cancelTime": samples.moment(minutes=1)}})

    await bound_to(customers, customer, other)
    await customers.phase(other, "Active")
    assert await customers.binding(customer) == binding
    assert await may_connect(binding)
    if how != "deleted":
        await customers.stalled(customer.name, "TenantTaken", kind="Subscription")
    else:
        await until(lambda: _gone(api, "Subscription", customer.name))


async def _gone(api: Api, kind: str, name: str) -> bool:
    return await api.get(kind, name) is None


async def test_deleting_the_contract_is_a_cancellation_with_retention(api: Api, customers: Customers) -> None:
    customer = await customers.onboard()
    binding = await customers.binding(customer)

    await api.delete("Subscription", customer.name)

    await until(lambda: _gone(api, "Subscription", customer.name))
    found = await customers.until(customer.name, lambda one: holds(one, "Suspended", "Ended") and holds(one, "Ready"))
    assert found["status"]["phase"] == "Suspended"
    assert condition(found, "SubscriptionMissing") == {}
    assert not await may_connect(binding)
    # Everything is kept: the same data, endpoint and credentials wait for a new contract.
    assert await customers.binding(customer) == binding
    assert await api.get("Namespace", customer.namespace) is not None

    await api.apply(samples.subscription(f"{customer.name}-new", customer.plan, to=customer.name))
    await bound_to(customers, customer, f"{customer.name}-new")
    await customers.until(customer.name, lambda one: holds(one, "Ready", "Provisioned"))
    assert await customers.binding(customer) == binding
    assert await may_connect(binding)


async def test_a_contract_deleted_while_nobody_looked_is_a_cancellation_too(
    api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await customers.onboard()
    operator.stop()
    await api.delete("Subscription", customer.name)

    operator.start()

    await until(lambda: _gone(api, "Subscription", customer.name))
    await customers.until(customer.name, lambda one: holds(one, "Suspended", "Ended"))


@pytest.mark.parametrize("phase", ["Active", "Suspended"])
async def test_a_contract_that_vanishes_changes_nothing_but_a_condition(
    phase: str, api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await customers.onboard()
    if phase == "Suspended":
        await api.edit("Subscription", customer.name, UNPAID)
        await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    binding = await customers.binding(customer)
    operator.stop()
    await api.strip("Subscription", customer.name)
    await api.delete("Subscription", customer.name)
    assert await _gone(api, "Subscription", customer.name)

    operator.start()

    found = await customers.until(customer.name, lambda one: holds(one, "SubscriptionMissing"))
    assert found["status"]["phase"] == phase
    assert await may_connect(binding) is (phase == "Active")

    await api.apply(samples.subscription(customer.name, customer.plan))
    found = await bound_to(customers, customer, customer.name)
    assert condition(found, "SubscriptionMissing") == {}
    await until(lambda: may_connect(binding))


async def test_a_tenant_made_again_under_its_name_inherits_nothing(api: Api, customers: Customers) -> None:
    customer = await customers.onboard(spec={"deletionPolicy": "Retain"})
    await api.delete("Tenant", customer.name)
    await until(lambda: _gone(api, "Tenant", customer.name))

    await api.apply(samples.tenant(customer.name))

    message = await customers.stalled(customer.name, "TenantReplaced", kind="Subscription")
    assert customer.name in message
    found = await customers.until(customer.name, lambda one: holds(one, "Ready", "NoSubscription", "False"))
    assert "id" not in found["status"]
    await api.apply(samples.subscription(f"{customer.name}-new", customer.plan, to=customer.name))
    again = await customers.ready(customer.name)
    assert again.id != customer.id


async def test_what_was_retained_stays_with_nobody(api: Api, customers: Customers) -> None:
    customer = await customers.onboard(spec={"deletionPolicy": "Retain"})
    binding = await customers.binding(customer)

    await api.delete("Tenant", customer.name)
    await until(lambda: _gone(api, "Tenant", customer.name))
    await api.delete("Subscription", customer.name)
    await until(lambda: _gone(api, "Subscription", customer.name))

    assert await customers.binding(customer) == binding
    assert await may_connect(binding)


@pytest.mark.parametrize(("debt", "phase"), [(UNPAID, "Suspended"), (ENDED, "Ended")])
async def test_payment_brings_the_same_tenant_back(debt: Object, phase: str, api: Api, customers: Customers) -> None:
    customer = await customers.onboard()
    binding = await customers.binding(customer)
    await api.edit("Subscription", customer.name, debt)
    await customers.phase(customer.name, phase)
    await customers.until(customer.name, lambda one: holds(one, "Suspended", phase) and holds(one, "Ready"))

    await api.edit("Subscription", customer.name, PAID)

    await customers.until(customer.name, lambda one: holds(one, "Ready", "Provisioned"))
    contract = await customers.phase(customer.name, "Active")
    anchors: dict[str, Any] = contract["status"]["anchors"]
    assert anchors.keys() == {"periodEndTime"}
    assert await customers.binding(customer) == binding
    assert await may_connect(binding)
