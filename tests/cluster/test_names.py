"""The longest and the oddest names that admission lets through work everywhere."""

from __future__ import annotations

import pytest

from tests.cluster import samples
from tests.cluster.api import Api, holds
from tests.cluster.customers import Customers, may_connect
from tests.cluster.waiting import until

UNPAID = {"spec": {"payment": {"paidUntilTime": samples.moment(days=20)}}}


def longest(name: str) -> str:
    """63 characters, the most that a name may have."""
    return (name + "-" + "x" * 63)[:63]


@pytest.mark.parametrize(("compute", "database"), [("Namespace", "Schema"), ("Shared", "Rows")])
async def test_names_of_63_characters_work_from_the_first_day_to_the_last(
    compute: str, database: str, api: Api, customers: Customers, name: str
) -> None:
    long = longest(name)
    servers = [samples.server("s" * 63), samples.server("r" * 63, "Rows")]
    await api.apply(samples.cell(long, servers))
    await customers.plan(long, compute, database)
    await api.apply(samples.tenant(long, cellRef={"name": long}), samples.subscription(long, long))
    customer = await customers.ready(long)
    assert await may_connect(await customers.binding(customer))

    await api.edit("Subscription", long, UNPAID)
    await customers.until(long, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    assert [one for one in await api.list("Event", "default") if one["involvedObject"]["name"] == long]
    await api.delete("Tenant", long)
    await until(lambda: _gone(api, long))


async def _gone(api: Api, name: str) -> bool:
    return await api.get("Tenant", name) is None


async def test_what_people_write_in_words_reaches_no_name(api: Api, customers: Customers, name: str) -> None:
    odd = "Größe; DROP SCHEMA app; -- \"'数 $(x) {{y}} %s"
    features = [{"name": "motto", "string": odd}]
    await customers.plan(name, displayName=odd, tier="a.b_c", features=features)
    owners = [{"kind": "Group", "name": odd}, {"kind": "User", "name": "ann@example.com"}]

    customer = await customers.onboard(plan=name, spec={"displayName": odd, "owners": owners})

    assert (await customers.entitlements(customer))["feature.motto"] == odd
    binding = await api.get("RoleBinding", "paybill-owners", customer.namespace)
    assert binding is not None
    assert [one["name"] for one in binding["subjects"]] == [odd, "ann@example.com"]


async def test_a_paused_tenant_is_watched_but_not_touched(api: Api, customers: Customers) -> None:
    customer = await customers.onboard()
    await api.edit("Tenant", customer.name, {"metadata": {"annotations": {"paybill.dev/paused": "true"}}})
    await customers.quiet()

    await api.delete("NetworkPolicy", "paybill", customer.namespace)
    await api.edit("Subscription", customer.name, UNPAID)
    await customers.quiet()
    assert await api.get("NetworkPolicy", "paybill", customer.namespace) is None
    assert await may_connect(await customers.binding(customer))

    await api.edit("Tenant", customer.name, {"metadata": {"annotations": {"paybill.dev/paused": None}}})
    await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    assert await api.get("NetworkPolicy", "paybill", customer.namespace) is not None
