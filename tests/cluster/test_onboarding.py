"""A Tenant with a Subscription becomes a place of its own, whatever came first, at every level that is there."""

from __future__ import annotations

import psycopg
import pytest

from tests.cluster import samples
from tests.cluster.api import Api, condition, holds
from tests.cluster.customers import Customers, connect, secret

LEVELS = [("Namespace", "Schema"), ("Namespace", "Rows"), ("Shared", "Rows"), ("Shared", "Schema")]


@pytest.mark.parametrize(("compute", "database"), LEVELS)
async def test_a_tenant_gets_what_its_plan_says(compute: str, database: str, api: Api, customers: Customers) -> None:
    customer = await customers.onboard(compute=compute, database=database)

    found = await api.get("Tenant", customer.name)
    assert found is not None
    status = found["status"]
    assert status["phase"] == "Active"
    assert status["isolation"] == {"compute": compute, "database": database}
    assert customer.namespace == (f"t-{customer.id}" if compute == "Namespace" else "paybill-pool-local")
    assert {one["type"]: one["status"] for one in status["conditions"]}.items() >= {
        "Ready": "True", "Reconciling": "False", "Stalled": "False", "Guarded": "True", "DatabaseReady": "True",
    }.items()  # fmt: skip
    contract = await api.get("Subscription", customer.name)
    assert holds(contract, "Ready")
    assert contract is not None
    assert contract["status"]["phase"] == "Active"
    assert contract["status"]["tenantUID"] == found["metadata"]["uid"]
    assert status["subscriptionRef"] == {"name": customer.name, "uid": contract["metadata"]["uid"]}


@pytest.mark.parametrize("first", ["Tenant", "Subscription", "Plan"])
async def test_the_order_in_which_they_are_applied_does_not_matter(
    first: str, api: Api, customers: Customers, name: str
) -> None:
    objects = [samples.plan(name), samples.tenant(name), samples.subscription(name, name)]
    objects.sort(key=lambda obj: obj["kind"] != first)

    await api.apply(objects[0])
    if first != "Plan":
        # Long enough alone for its status to say what it waits for.
        await customers.until(name, lambda one: condition(one, "Ready").get("status") == "False", kind=first)
    await api.apply(*objects[1:])

    await customers.ready(name)


@pytest.mark.parametrize(("kind", "reason"), [("Tenant", "NoSubscription"), ("Subscription", "NoTenant")])
async def test_one_that_stands_alone_says_what_it_waits_for(
    kind: str, reason: str, api: Api, customers: Customers, name: str
) -> None:
    both = {"Tenant": samples.tenant(name), "Subscription": samples.subscription(name, name)}
    await api.apply(samples.plan(name), both[kind])

    found = await customers.until(name, lambda one: holds(one, "Ready", reason, "False"), kind=kind)

    assert found["status"]["phase"] == "Pending"
    assert name in condition(found, "Ready")["message"] or kind == "Tenant"
    assert await api.list("Namespace", labels=f"paybill.dev/tenant={name}") == []


async def test_the_secret_opens_the_tenants_own_schema_and_no_other(customers: Customers, api: Api) -> None:
    one, other = await customers.onboard("one"), await customers.onboard("other")
    provider = await secret(api, samples.OPERATOR_NAMESPACE, f"t-{one.id}-db-provider")
    async with await psycopg.AsyncConnection.connect(provider["mig-uri"], autocommit=True) as migration:
        await migration.execute("CREATE TABLE orders (id int PRIMARY KEY, what text)")

    async with await connect(await customers.binding(one)) as app:
        await app.execute("INSERT INTO orders VALUES (1, 'tea')")
        rows = await (await app.execute("SELECT what FROM orders")).fetchall()
    assert rows == [("tea",)]

    async with await connect(await customers.binding(other)) as stranger:
        for attempt in (
            f"SELECT * FROM t_{one.id}.orders",
            f"SET ROLE pb_{one.id}_rw",
            f"CREATE TABLE t_{one.id}.x ()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await stranger.execute(attempt)


async def test_the_provider_alone_gets_the_migration_and_reading_logins(customers: Customers, api: Api) -> None:
    customer = await customers.onboard()

    provider = await secret(api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-db-provider")
    binding = await customers.binding(customer)

    assert provider["mig-username"] == f"pb_{customer.id}_mig_a"
    assert binding["username"] == f"pb_{customer.id}_app_a"
    assert binding["type"] == "postgresql"
    assert {"host", "port", "database", "password", "uri", "jdbc-uri", "provider"} <= binding.keys()
    assert not set(provider.values()) & {binding["password"]}
    for login in ("mig", "ro"):
        async with await psycopg.AsyncConnection.connect(provider[f"{login}-uri"]) as session:
            assert session.info.user == f"pb_{customer.id}_{login}_a"


async def test_the_app_reads_what_it_is_entitled_to(customers: Customers, api: Api, name: str) -> None:
    add_on = samples.ours("Plan", f"{name}-seats", {"type": "AddOn", "features": [{"name": "seats", "integer": 10}]})
    base = samples.plan(name, features=[{"name": "seats", "integer": 25}, {"name": "region", "string": "eu"}])
    await api.apply(add_on, base)

    customer = await customers.onboard(
        plan=name,
        addOns=[{"planRef": {"name": f"{name}-seats"}, "quantity": 2}],
        entitlements={"set": [{"name": "sso", "boolean": True}], "remove": ["region"]},
    )

    expected = {"access": "full", "phase": "Active", "feature.seats": "45", "feature.sso": "true"}
    assert await customers.entitlements(customer) == expected
    await api.edit("Subscription", name, {"spec": {"entitlements": {"remove": ["region", "sso"]}}})
    del expected["feature.sso"]
    await customers.until(name, lambda one: holds(one, "Ready"), kind="Subscription")
    assert await customers.entitlements(customer) == expected


async def test_a_new_contract_is_one_event_and_each_transition_after_it_another(customers: Customers, api: Api) -> None:
    customer = await customers.onboard()
    await api.edit("Subscription", customer.name, {"spec": {"payment": {"paidUntilTime": samples.moment(days=1)}}})
    await customers.phase(customer.name, "PastDue")
    await customers.quiet()

    events = [
        (one["involvedObject"]["kind"], one["reason"], one["type"])
        for one in await api.list("Event", "default")
        if one["involvedObject"]["name"] == customer.name
    ]
    assert sorted(events) == [
        ("Subscription", "PastDue", "Normal"),
        ("Tenant", "Provisioned", "Normal"),
    ]


async def test_owners_may_work_in_their_namespace(customers: Customers, api: Api) -> None:
    customer = await customers.onboard(spec={"owners": [{"kind": "Group", "name": "acme-admins"}]})

    found = await api.get("RoleBinding", "paybill-owners", customer.namespace)

    assert found is not None
    assert found["roleRef"]["name"] == "paybill-tenant-owner"
    assert [subject["name"] for subject in found["subjects"]] == ["acme-admins"]


async def test_owners_with_shared_compute_are_refused_in_words(customers: Customers, api: Api, name: str) -> None:
    await api.apply(samples.plan(name, "Shared", "Rows"))
    await api.apply(samples.tenant(name, owners=[{"kind": "Group", "name": "a"}]), samples.subscription(name, name))

    message = await customers.stalled(name, "OwnersNeedNamespace")

    assert "compute Namespace" in message
    assert await api.list("RoleBinding", "paybill-pool-local", f"paybill.dev/tenant={name}") == []
