"""A Tenant whose contract runs cannot be deleted by mistake: as the operator itself writes the status, at each turn."""

from __future__ import annotations

import pytest

from tests.cluster import samples
from tests.cluster.api import Api, Object, Refused, condition
from tests.cluster.customers import Customer, Customers
from tests.cluster.waiting import until


async def _refused(api: Api, name: str) -> str:
    with pytest.raises(Refused) as refused:
        await api.delete("Tenant", name, meant=False)
    assert refused.value.status == 403
    found = await api.get("Tenant", name)
    assert found is not None
    assert "deletionTimestamp" not in found["metadata"]
    return str(refused.value)


async def _deleted(api: Api, name: str) -> bool:
    """Whether a delete request that nobody wrote anything on the Tenant for is taken."""
    try:
        return await api.delete("Tenant", name, meant=False)
    except Refused:
        return False


async def test_a_live_tenant_is_refused_and_is_told_what_to_do(api: Api, customers: Customers) -> None:
    customer = await customers.onboard()
    said = await _refused(api, customer.name)
    assert f"Tenant {customer.name} is Active under Subscription {customer.name}" in said
    # What it says to do can be done, word for word.
    command = f"kubectl annotate tenant {customer.name} paybill.dev/allow-delete={customer.name}"
    assert command in said
    key, _, value = command.split()[-1].partition("=")
    await api.edit("Tenant", customer.name, {"metadata": {"annotations": {key: value}}})
    assert await _deleted(api, customer.name)


async def test_a_suspended_tenant_still_has_its_contract(api: Api, customers: Customers) -> None:
    customer = await customers.onboard()
    hold = {"holds": [{"name": "dispute", "blocks": "Access"}]}
    await api.edit("Tenant", customer.name, {"spec": hold})
    await customers.until(customer.name, lambda one: one["status"]["phase"] == "Suspended")
    assert "is Suspended under Subscription" in await _refused(api, customer.name)


async def _cancelled(api: Api, customer: Customer) -> None:
    await api.edit("Subscription", customer.name, {"spec": {"cancelTime": samples.moment(minutes=1)}})


async def _subscription_deleted(api: Api, customer: Customer) -> None:
    await api.delete("Subscription", customer.name)


@pytest.mark.parametrize("end", [_cancelled, _subscription_deleted])
async def test_when_the_contract_is_over_the_tenant_may_go(api: Api, customers: Customers, end: object) -> None:
    customer = await customers.onboard()
    await end(api, customer)  # type: ignore[operator]

    def over(tenant: Object) -> bool:
        return condition(tenant, "Suspended").get("reason") == "Ended"

    await customers.until(customer.name, over)
    await until(lambda: _deleted(api, customer.name))


async def test_a_contract_that_is_taken_up_again_protects_again(api: Api, customers: Customers) -> None:
    customer = await customers.onboard()
    await _cancelled(api, customer)
    await customers.until(customer.name, lambda one: condition(one, "Suspended").get("reason") == "Ended")
    await api.edit("Subscription", customer.name, {"spec": {"cancelTime": None}})
    await customers.until(customer.name, lambda one: one["status"]["phase"] == "Active")
    await _refused(api, customer.name)


async def test_a_subscription_that_is_missing_ends_nothing(api: Api, customers: Customers) -> None:
    """Somebody who takes the finalizer off and deletes the Subscription has not ended the contract."""
    customer = await customers.onboard()
    customers.operator.stop()
    await api.strip("Subscription", customer.name)
    await api.delete("Subscription", customer.name)
    customers.operator.start()
    await customers.until(customer.name, lambda one: condition(one, "SubscriptionMissing").get("status") == "True")
    await _refused(api, customer.name)


async def test_a_tenant_without_a_contract_may_go(api: Api, customers: Customers, name: str) -> None:
    await api.apply(samples.tenant(name))
    await customers.until(name, lambda one: one.get("status", {}).get("phase") == "Pending", seconds=30)
    assert await _deleted(api, name)
