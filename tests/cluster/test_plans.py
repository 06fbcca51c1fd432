"""How a Plan reaches its tenants: unknown, edited in waves, pinned, held, deleted while in use."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from paybill.api.failures import Blocked
from paybill.cli import plan as plans
from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.lifecycle.plan_changes import differences
from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.customers import Customer, Customers, may_connect
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.test_guardrails import frozen
from tests.cluster.waiting import until
from tests.conftest import LocalThread

MORE: Object = {"limits": {"quota": {**samples.QUOTA, "pods": "50"}, "database": {"connections": 5}}}


async def pods_allowed(api: Api, customer: Customer) -> str:
    found = await api.get("ResourceQuota", "paybill", customer.namespace)
    assert found is not None
    return str(found["spec"]["hard"]["pods"])


async def allowed_everywhere(api: Api, customers: list[Customer]) -> list[str]:
    return list(await asyncio.gather(*(pods_allowed(api, one) for one in customers)))


async def several(customers: Customers, count: int, **plan: Any) -> list[Customer]:
    """Customers on the test's one Plan."""
    await customers.plan(customers.prefix, **plan)
    made = [customers.onboard(f"n{number}", plan=customers.prefix) for number in range(count)]
    return list(await asyncio.gather(*made))


async def test_an_unknown_plan_is_said_and_waited_for(api: Api, customers: Customers, name: str) -> None:
    await api.apply(samples.tenant(name), samples.subscription(name, name))

    for kind in ("Tenant", "Subscription"):
        message = await customers.stalled(name, "UnknownPlan", kind=kind)
        assert f"Plan {name} does not exist" in message
    await api.apply(samples.plan(name))

    await customers.ready(name)
    assert condition(await api.get("Subscription", name), "Stalled")["status"] == "False"


async def test_an_unknown_plan_disturbs_nobody_else(
    api: Api, customers: Customers, journal: Journal, name: str
) -> None:
    other = await customers.onboard("other")
    await customers.quiet()
    journal.begin()

    await api.apply(samples.tenant(name), samples.subscription(name, f"{name}-none"))
    await customers.stalled(name, "UnknownPlan")

    touched = {one.name for one in journal.writes()} | {one.namespace for one in journal.writes()}
    assert not touched & {other.name, other.namespace}


@pytest.mark.parametrize("kind", ["base", "add-on"])
async def test_an_add_on_is_no_plan_to_be_on_and_a_missing_one_is_said(
    kind: str, api: Api, customers: Customers, name: str
) -> None:
    await api.apply(samples.plan(name), samples.ours("Plan", f"{name}-extra", {"type": "AddOn"}), samples.tenant(name))
    if kind == "base":
        await api.apply(samples.subscription(name, f"{name}-extra"))
        await customers.stalled(name, "NotABasePlan")
        return
    await api.apply(samples.subscription(name, name, addOns=[{"planRef": {"name": f"{name}-none"}}]))
    message = await customers.stalled(name, "UnknownPlan")
    assert f"{name}-none" in message
    await api.apply(samples.ours("Plan", f"{name}-none", {"type": "AddOn"}))
    await customers.ready(name)


async def test_a_plan_deleted_while_in_use_is_held_from_its_revision(
    api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    await customers.plan(name)
    customer = await customers.onboard(plan=name)
    before = (await api.get("Tenant", name) or {})["status"]["plan"]

    await api.delete("Plan", name)
    found = await customers.until(name, lambda one: holds(one, "PlanMissing"))
    operator.restart()
    await customers.quiet()

    assert holds(found, "Ready")
    assert found["status"]["plan"] == before
    await api.delete("ResourceQuota", "paybill", customer.namespace)  # still healed, by what the Plan said
    assert await until(lambda: _pods_if_there(api, customer)) == "40"
    assert await may_connect(await customers.binding(customer))

    await customers.plan(name)
    found = await customers.until(name, lambda one: condition(one, "PlanMissing") == {})
    assert found["status"]["plan"] == before


async def _pods_if_there(api: Api, customer: Customer) -> str | None:
    found = await api.get("ResourceQuota", "paybill", customer.namespace)
    return found["spec"]["hard"]["pods"] if found else None


async def test_an_edited_plan_is_a_new_revision_for_all_its_tenants(api: Api, customers: Customers) -> None:
    made = await several(customers, 3)
    before = (await api.get("Plan", customers.prefix) or {})["status"]["revision"]

    plan = await customers.plan(customers.prefix, **MORE)

    assert plan["status"]["revision"] != before
    await until(lambda: _all(api, made, "50"))
    plan = await customers.until(
        customers.prefix, lambda one: one["status"].get("updated") == 3 and "rollout" not in one["status"], kind="Plan"
    )
    assert plan["status"]["tenants"] == 3
    for one in made:
        await customers.until(
            one.name,
            lambda one: one["status"]["plan"]["revision"] == plan["status"]["revision"] and holds(one, "Ready"),
        )
    label = f"paybill.dev/plan={customers.prefix}"

    async def only_the_new_one() -> bool:
        kept = await api.list("ControllerRevision", samples.OPERATOR_NAMESPACE, label)
        return [one["data"]["revision"] for one in kept] == [plan["status"]["revision"]]

    await until(only_the_new_one)


async def _all(api: Api, made: list[Customer], pods: str) -> bool:
    return set(await allowed_everywhere(api, made)) == {pods}


async def test_no_more_than_max_unavailable_are_under_way_at_a_time(
    api: Api, customers: Customers, control_plane: LocalThread
) -> None:
    """With the quota controller frozen, whoever is moved stays under way: exactly one wave is."""
    made = await several(customers, 5, rollout={"maxUnavailable": 2})

    with frozen(control_plane, "kube-controller-manager"):
        await customers.plan(customers.prefix, rollout={"maxUnavailable": 2}, **MORE)
        await until(lambda: _count(api, made, "50", 2))
        moving = await customers.until(
            customers.prefix, lambda one: one["status"].get("rollout", {}).get("inProgress") == 2, kind="Plan"
        )
        assert moving["status"]["updated"] == 2
        await customers.quiet_for(1.5)
        assert await _count(api, made, "50", 2)
        waiting = [one for one in made if await pods_allowed(api, one) == "40"]
        for one in waiting:
            customers.operator.look_at("Tenant", one.name)
            found = await customers.until(one.name, lambda one: holds(one, "PlanCurrent", "WaitingForWave", "False"))
            assert holds(found, "Ready"), "who waits is as well as before"

    await until(lambda: _all(api, made, "50"))


async def _count(api: Api, made: list[Customer], pods: str, number: int) -> bool:
    return (await allowed_everywhere(api, made)).count(pods) == number


async def test_a_failing_tenant_pauses_the_rollout_until_it_is_well(api: Api, customers: Customers) -> None:
    made = await several(customers, 4, rollout={"maxUnavailable": 2, "pauseOnFailure": True})
    for one in made:  # as somebody else's, so that it cannot be changed
        await api.edit("ResourceQuota", "paybill", _marked("somebody"), one.namespace)
        await customers.stalled(one.name, "NameConflict")

    await customers.plan(customers.prefix, rollout={"maxUnavailable": 2, "pauseOnFailure": True}, **MORE)
    plan = await customers.until(
        customers.prefix, lambda one: one["status"].get("rollout", {}).get("paused"), kind="Plan"
    )
    assert 1 <= plan["status"]["updated"] <= 2
    assert await _count(api, made, "40", 4)

    for one in made:
        await api.edit("ResourceQuota", "paybill", _marked(one.id), one.namespace)
    await until(lambda: _all(api, made, "50"), seconds=40)


def _marked(owner: str) -> Object:
    return {"metadata": {"labels": {"paybill.dev/tenant": owner}}}


async def test_another_plan_on_the_contract_moves_the_tenant(api: Api, customers: Customers, name: str) -> None:
    customer = await customers.onboard()
    binding = await customers.binding(customer)
    await customers.plan(name, features=[{"name": "sso", "boolean": True}], **MORE)

    await api.edit("Subscription", name, {"spec": {"planRef": {"name": name}}})

    found = await customers.until(name, lambda one: one["status"]["plan"]["name"] == name and holds(one, "Ready"))
    assert found["status"]["id"] == customer.id
    assert await pods_allowed(api, customer) == "50"
    assert (await customers.entitlements(customer))["feature.sso"] == "true"
    assert await customers.binding(customer) == binding
    old = await customers.until(customer.plan, lambda one: one["status"].get("tenants") == 0, kind="Plan")
    assert old["status"]["updated"] == 0


async def test_a_pinned_contract_stays_on_its_revision(api: Api, customers: Customers, name: str) -> None:
    plan = await customers.plan(name)
    revision = plan["status"]["revision"]
    customer = await customers.onboard(plan=name)
    await api.edit("Subscription", name, {"spec": {"planRef": {"revision": revision}}})
    await customers.quiet()

    await customers.plan(name, **MORE)
    await customers.quiet()
    assert await pods_allowed(api, customer) == "40"
    assert (await api.get("Tenant", name) or {})["status"]["plan"]["revision"] == revision

    await api.edit("Subscription", name, {"spec": {"planRef": {"revision": None}}})
    await until(lambda: _all(api, [customer], "50"))


async def test_a_pin_on_a_revision_that_is_not_kept_is_said(api: Api, customers: Customers, name: str) -> None:
    customer = await customers.onboard()

    await api.edit("Subscription", name, {"spec": {"planRef": {"revision": "0123456789"}}})

    message = await customers.stalled(name, "UnknownRevision")
    assert "0123456789" in message
    assert await may_connect(await customers.binding(customer))


async def test_debt_holds_a_change_back_until_it_is_paid(api: Api, customers: Customers, name: str) -> None:
    await customers.plan(name)
    customer = await customers.onboard(plan=name)
    await api.edit("Subscription", name, {"spec": {"payment": {"paidUntilTime": samples.moment(days=1)}}})
    await customers.phase(name, "PastDue")

    await customers.plan(name, **MORE)
    found = await customers.until(name, lambda one: holds(one, "PlanCurrent", "ChangeHeld", "False"))

    assert "PastDue" in condition(found, "PlanCurrent")["message"]
    assert holds(found, "Ready")
    assert await pods_allowed(api, customer) == "40"

    await api.edit("Subscription", name, {"spec": {"payment": {"paidUntilTime": samples.FAR}}})
    await until(lambda: _all(api, [customer], "50"))


async def test_a_hold_on_changes_holds_them_back(api: Api, customers: Customers, name: str) -> None:
    await customers.plan(name)
    customer = await customers.onboard(plan=name)
    holding = [{"name": "audit", "blocks": "Changes", "reason": "audit week"}]
    await api.edit("Tenant", name, {"spec": {"holds": holding}})
    await customers.quiet()

    await customers.plan(name, **MORE)
    found = await customers.until(name, lambda one: holds(one, "PlanCurrent", "ChangeHeld", "False"))
    assert "audit week" in condition(found, "PlanCurrent")["message"]
    assert await pods_allowed(api, customer) == "40"

    await api.edit("Tenant", name, {"spec": {"holds": None}})
    await until(lambda: _all(api, [customer], "50"))


@pytest.mark.parametrize("how", ["edit", "other plan"])
async def test_another_isolation_is_refused_and_nothing_is_disturbed(
    how: str, api: Api, customers: Customers, name: str
) -> None:
    await customers.plan(name)
    customer = await customers.onboard(plan=name)
    binding = await customers.binding(customer)
    other = name if how == "edit" else f"{name}-shared"
    await api.apply(samples.plan(other, "Shared", "Schema", **MORE))
    if how != "edit":
        await api.edit("Subscription", name, {"spec": {"planRef": {"name": other}}})

    message = await customers.stalled(name, "MoveNotSupported")

    assert "Shared/Schema" in message
    assert "Namespace/Schema" in message
    found = await api.get("Tenant", name)
    assert found is not None
    assert found["status"]["isolation"] == {"compute": "Namespace", "database": "Schema"}
    assert found["status"]["plan"]["name"] == name
    assert await pods_allowed(api, customer) == "40"
    assert await customers.binding(customer) == binding
    assert await may_connect(binding)


async def test_what_does_not_change_a_tenant_rolls_nobody(
    api: Api, customers: Customers, journal: Journal, name: str
) -> None:
    plan = await customers.plan(name)
    await customers.onboard(plan=name)
    await customers.quiet()
    journal.begin()

    changed = await customers.plan(
        name, displayName="New name", prices=[{"provider": "Stripe", "id": "price_1"}], rollout={"maxUnavailable": 3}
    )
    await customers.quiet()

    assert changed["status"]["revision"] == plan["status"]["revision"]
    assert {one.what for one in journal.writes()} == {"patch plans/status"}


async def test_a_person_pauses_a_rollout_lets_it_go_on_and_rolls_it_back(
    api: Api, customers: Customers, control_plane: LocalThread, name: str
) -> None:
    made = await several(customers, 3, rollout={"maxUnavailable": "100%"})
    first = (await api.get("Plan", name) or {})["status"]["revision"]
    async with open_session(control_plane.kubeconfig) as admin:
        cluster = Cluster(admin)
        await plans.order(cluster, name, "paused")
        await api.edit("Plan", name, {"spec": MORE})
        found = await customers.until(
            name, lambda one: one["status"].get("rollout", {}).get("paused") is True, kind="Plan"
        )
        second = found["status"]["revision"]
        assert await allowed_everywhere(api, made) == ["40"] * 3

        await plans.order(cluster, name, None)
        await until(lambda: _allow(api, made, "50"))

        here, there = [await plans.of_cluster(cluster, f"{name}@{one}") for one in (second, second)]
        assert differences(here.content, there.content) == []
        with pytest.raises(Blocked, match="is not kept"):
            await plans.order(cluster, name, "0123456789")

        # One tenant keeps the former revision, so it can be gone back to.
        await api.edit("Subscription", made[0].name, {"spec": {"planRef": {"revision": second}}})
        await api.edit("Plan", name, {"spec": {"limits": {"quota": {**samples.QUOTA, "pods": "60"}}}})
        await until(lambda: _allow(api, made[1:], "60"))
        await plans.order(cluster, name, second)
        await until(lambda: _allow(api, made[1:], "50"))
        status = (await api.get("Plan", name) or {})["status"]
        assert status["revision"] not in (first, second)
        await customers.until(
            name, lambda one: f"rolled back from {one['status']['revision']}" in condition(one, "Ready")["message"],
            kind="Plan",
        )  # fmt: skip

        # The next edit ends the rollback.
        await api.edit("Plan", name, {"spec": {"limits": {"quota": {**samples.QUOTA, "pods": "70"}}}})
        await until(lambda: _allow(api, made[1:], "70"))


async def _allow(api: Api, customers: list[Customer], pods: str) -> bool:
    return await allowed_everywhere(api, customers) == [pods] * len(customers)


async def test_another_plan_comes_after_payment_or_with_the_period_and_the_old_one_serves_until_then(
    api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    await customers.plan(f"{name}-big", **MORE)
    (made,) = await several(customers, 1)
    paid = samples.moment(days=-10)
    await api.edit("Subscription", made.name, {"spec": {"payment": {"paidUntilTime": paid}}})

    big = {"planRef": {"name": f"{name}-big"}, "planChange": "AfterPayment"}
    await api.edit("Subscription", made.name, {"spec": big})
    found = await customers.until(made.name, lambda one: "pendingChange" in one["status"], kind="Subscription")
    assert found["status"]["pendingChange"]["plan"] == f"{name}-big"
    # The Subscription's status is written before the Tenant's.
    tenant = await customers.until(made.name, lambda one: condition(one, "PlanCurrent")["reason"] == "ChangePending")
    assert holds(tenant, "Ready")
    assert await pods_allowed(api, made) == "40"
    await api.edit("Subscription", made.name, {"spec": {"payment": {"paidUntilTime": samples.moment(days=-40)}}})
    await until(lambda: _allow(api, [made], "50"))
    await customers.until(made.name, lambda one: "pendingChange" not in one["status"], kind="Subscription")

    small = {"planRef": {"name": name}, "planChange": "AtPeriodEnd"}
    await api.edit("Subscription", made.name, {"spec": small})
    found = await customers.until(made.name, lambda one: "pendingChange" in one["status"], kind="Subscription")
    when = found["status"]["pendingChange"]["time"]
    # Renewed meanwhile: the change comes with the period that was paid when it was asked for.
    await api.edit("Subscription", made.name, {"spec": {"payment": {"paidUntilTime": samples.FAR}}})
    await customers.quiet()
    found = await api.get("Subscription", made.name) or {}
    assert found["status"]["pendingChange"]["time"] == when
    assert await pods_allowed(api, made) == "50"
    operator.clock.offset = timedelta(days=40, minutes=1)
    operator.look_at("Tenant", made.name)
    await until(lambda: _allow(api, [made], "40"))
