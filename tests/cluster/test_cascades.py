"""What must outlive a delete request does, in whatever way and order the request comes, and comes back on request."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from paybill.cluster.client import Cluster
from paybill.local import bootstrap
from paybill.reconcile import uninstalled
from tests.cluster import samples
from tests.cluster.adoptions import approve, approve_all, deleted, letters, rows, uid_of, write_letters
from tests.cluster.api import Api, holds, path
from tests.cluster.customers import Customer, Customers, may_connect
from tests.cluster.remains import gone, state, traces
from tests.cluster.running import Operator
from tests.cluster.waiting import until

Postgres = psycopg.AsyncConnection[Any]
RETAIN = {"deletionPolicy": "Retain"}


async def _is(control: Postgres, customer: Customer, wanted: str) -> bool:
    return await state(control, customer) == wanted


@pytest.mark.parametrize(
    ("policy", "order"),
    [
        ("Retain", "tenant first"),
        ("Delete", "contract first"),
        *(
            pytest.param(*both, marks=pytest.mark.exhaustive)
            for both in (
                ("Retain", "contract first"),
                ("Retain", "both at once"),
                ("Delete", "tenant first"),
                ("Delete", "both at once"),
            )
        ),
    ],
)
async def test_contract_and_tenant_go_in_any_order(
    order: str, policy: str, api: Api, customers: Customers, postgres: Postgres, control: Postgres, operator: Operator
) -> None:
    customer = await customers.onboard(spec={"deletionPolicy": policy})
    before = await traces(api, postgres, customer)
    kinds = ["Subscription", "Tenant"] if order != "tenant first" else ["Tenant", "Subscription"]
    if order == "both at once":
        operator.stop()
    for kind in kinds:
        await api.delete(kind, customer.name, cascade="Foreground")
        if order != "both at once":
            await until(lambda kind=kind: gone(api, kind, customer.name))
    if order == "both at once":
        operator.start()

    for kind in kinds:
        await until(lambda kind=kind: gone(api, kind, customer.name))
    await until(lambda: _is(control, customer, "released" if policy == "Retain" else "dropped"))
    assert await traces(api, postgres, customer) == (before if policy == "Retain" else set())


async def kept_until(control: Postgres, customer: Customer, operator: Operator, days: int) -> None:
    """As Snapshot will write it: deleted, and kept for some days."""
    operator.stop()
    await control.execute(
        "UPDATE paybill.tenants SET drop_after = now() + make_interval(days => %s) WHERE id = %s", (days, customer.id)
    )
    operator.start()


async def waiting(api: Api, customers: Customers, name: str) -> Customer:
    """A tenant that was deleted by policy Delete, whose drop waits for the hour's budget."""
    await api.apply(samples.cell(name, limits={"deletionsPerHour": 0}))
    customer = await customers.onboard(spec={"cellRef": {"name": name}})
    await write_letters(api, customers, customer)
    await deleted(api, customers, customer)
    return customer


async def test_data_stays_until_its_day_and_goes_on_it_also_after_a_restart(
    api: Api, customers: Customers, postgres: Postgres, control: Postgres, operator: Operator, name: str
) -> None:
    customer = await waiting(api, customers, name)
    await kept_until(control, customer, operator, days=30)
    await api.apply(samples.cell(name, limits={"deletionsPerHour": 10}))
    operator.clock.offset = timedelta(days=29)

    operator.look_at("Drop", customer.id)
    await customers.quiet()
    operator.restart()
    await customers.quiet()
    assert await state(control, customer) == "deleted"
    assert f"schema t_{customer.id}" in await traces(api, postgres, customer)

    operator.stop()
    operator.clock.offset = timedelta(days=31)
    operator.start()
    await until(lambda: _is(control, customer, "dropped"))
    assert await traces(api, postgres, customer) == set()


@pytest.mark.exhaustive
async def test_what_is_kept_for_some_days_comes_back_on_the_last_of_them(
    api: Api, customers: Customers, control: Postgres, operator: Operator, name: str
) -> None:
    customer = await waiting(api, customers, name)
    await kept_until(control, customer, operator, days=30)
    await api.apply(samples.tenant(customer.name, id=customer.id, cellRef={"name": name}))
    operator.clock.offset = timedelta(days=29)
    await approve(api, customer.name, customer.id)

    assert (await customers.ready(customer.name)).id == customer.id
    operator.clock.offset = timedelta(days=31)
    operator.look_at("Drop", customer.id)
    await customers.quiet()
    operator.restart()
    await customers.quiet()
    assert await state(control, customer) == "claimed"
    assert await letters(await customers.binding(customer)) == ["dear all"]


@pytest.mark.exhaustive
async def test_a_namespace_deleted_by_hand_is_made_again_around_the_same_data(
    api: Api, customers: Customers, operator: Operator
) -> None:
    customer = await customers.onboard()
    await write_letters(api, customers, customer)
    before = await uid_of(api, customer.namespace, "Namespace")

    await api.delete("Namespace", customer.namespace)

    await until(lambda: _another(api, customer.namespace, before), seconds=40)
    await customers.ready(customer.name, seconds=40)
    await until(lambda: _opens(customers, customer))
    assert await letters(await customers.binding(customer)) == ["dear all"]


async def _another(api: Api, namespace: str, before: str) -> bool:
    found = await api.get("Namespace", namespace)
    return found is not None and found["metadata"]["uid"] != before


async def _opens(customers: Customers, customer: Customer) -> bool:
    binding = await customers.binding(customer)
    return bool(binding) and await may_connect(binding)


@pytest.mark.exhaustive
@pytest.mark.parametrize("policy", ["Delete", "Retain"])
async def test_kinds_that_are_deleted_by_mistake_take_no_tenant_along(
    policy: str,
    api: Api,
    customers: Customers,
    postgres: Postgres,
    control: Postgres,
    operator: Operator,
) -> None:
    spec = {"deletionPolicy": policy}
    customer = await customers.onboard(spec=spec)
    await write_letters(api, customers, customer)
    binding, before = await customers.binding(customer), await traces(api, postgres, customer)
    ids = await rows(control, "id", "state")
    try:
        for plural in ("tenants", "subscriptions"):
            await api.call("DELETE", f"{KINDS}/{plural}.paybill.dev", {"propagationPolicy": "Foreground"})
        for kind in ("Tenant", "Subscription"):
            await until(lambda kind=kind: _vanished(api, kind, customer.name), seconds=30)
    finally:
        operator.crash()  # it has nothing to watch any more; whoever installs the kinds again starts it again
        await until(lambda: _kinds_are_gone(api), seconds=30)
        await bootstrap.apply_crds(Cluster(api.session))
        await until(lambda: _kinds_are_served(api), seconds=30)
    assert await traces(api, postgres, customer) == before
    assert await rows(control, "id", "state") == ids

    operator.start()
    await api.apply(samples.tenant(customer.name, **spec), samples.subscription(customer.name, customer.plan))
    await customers.stalled(customer.name, "TenantReplaced")
    await approve_all(
        api, operator.settings.installation, (customer.id, customer.name, await uid_of(api, customer.name))
    )

    assert (await customers.ready(customer.name)).id == customer.id
    assert await customers.binding(customer) == binding
    assert await letters(binding) == ["dear all"]
    assert holds(await api.get("Subscription", customer.name), "Ready", "Active")


@pytest.mark.exhaustive
async def test_taken_for_deletions_of_its_objects_the_mistake_would_drop_them(
    api: Api, customers: Customers, control: Postgres, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deleted_for_itself(*_: Any) -> bool:
        return False

    monkeypatch.setattr(uninstalled, "goes", deleted_for_itself)
    customer = await customers.onboard()
    try:
        await api.call("DELETE", f"{KINDS}/tenants.paybill.dev", {"propagationPolicy": "Foreground"})
        await until(lambda: _is(control, customer, "dropped"), seconds=30)
    finally:
        operator.crash()
        await api.strip("Subscription", customer.name)
        await until(lambda: _is_gone(api, "tenants"), seconds=30)
        await bootstrap.apply_crds(Cluster(api.session))
        await until(lambda: _kinds_are_served(api), seconds=30)


KINDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def _vanished(api: Api, kind: str, name: str) -> bool:
    status, _ = await api.call("GET", path(kind, "", name))
    return status == 404


async def _kinds_are_served(api: Api) -> bool:
    """Some moments after a kind is established its objects can be listed and watched."""
    answers = [await api.call("GET", f"/apis/paybill.dev/v1alpha1/{plural}") for plural in ("tenants", "subscriptions")]
    return all(status == 200 for status, _ in answers)


async def _kinds_are_gone(api: Api) -> bool:
    return all([await _is_gone(api, plural) for plural in ("tenants", "subscriptions")])


async def _is_gone(api: Api, plural: str) -> bool:
    status, _ = await api.call("GET", f"{KINDS}/{plural}.paybill.dev")
    return status == 404
