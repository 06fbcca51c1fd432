"""A suspended tenant runs nothing and reaches nothing, loses what was said before, and comes back as it was."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.cluster import samples, workloads
from tests.cluster.api import Api, Object, condition, holds, path
from tests.cluster.customers import Customer, Customers, connect, may_connect
from tests.cluster.running import Operator
from tests.cluster.waiting import stays, until

UNPAID: Object = {"spec": {"payment": {"paidUntilTime": samples.moment(days=20)}}}
PAID: Object = {"spec": {"payment": {"paidUntilTime": samples.FAR}}}
ALL = {"web": 2, "store": 1, "import": 1}


async def suspended(customers: Customers, customer: Customer) -> Object:
    return await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))


async def resumed(customers: Customers, customer: Customer) -> None:
    await customers.until(customer.name, lambda one: holds(one, "Ready", "Provisioned"))


@pytest.fixture
async def busy(api: Api, customers: Customers) -> Customer:
    """A customer who runs a bit of everything."""
    customer = await customers.onboard()
    space = customer.namespace
    for made in (
        workloads.deployment(space), workloads.stateful_set(space), workloads.job(space), workloads.cron_job(space),
        workloads.bare_pod(space),
    ):  # fmt: skip
        await api.create(made)
    await until(lambda: _runs(api, customer, {**ALL, "": 1}))
    return customer


async def _runs(api: Api, customer: Customer, wanted: dict[str, int]) -> bool:
    return await workloads.count(api, customer.namespace) == wanted


async def test_nothing_runs_and_nothing_is_made_again(api: Api, customers: Customers, busy: Customer) -> None:
    await api.edit("Subscription", busy.name, UNPAID)
    found = await suspended(customers, busy)

    assert found["status"]["phase"] == "Suspended"
    assert await workloads.pods(api, busy.namespace) == {}
    # The controllers were refused and go on trying; a Deployment scaled up by its owner changes nothing either.
    await api.edit("Deployment", "web", {"spec": {"replicas": 3}}, busy.namespace)
    await stays(lambda: _runs(api, busy, {}), seconds=1.5)
    manual = {**workloads.job(busy.namespace, "manual")}
    for made in (manual, workloads.bare_pod(busy.namespace, "other")):
        status, answer = await api.call("POST", path(made["kind"], busy.namespace), made)
        assert status == 403
        assert "exceeded quota" in answer["message"]


async def test_a_pod_that_the_quota_has_not_counted_goes_too(
    api: Api, customers: Customers, busy: Customer, operator: Operator
) -> None:
    """The controller-manager counts from what it has seen: a pod made a moment before the quota may be missing."""
    operator.stop()
    await api.edit("Subscription", busy.name, UNPAID)
    marks = {"paybill.dev/pods": "stopped", "paybill.dev/stopped-time": operator.clock().isoformat()}
    stopped = {"metadata": {"annotations": marks}, "spec": {"hard": {"pods": "0", "count/jobs.batch": "0"}}}
    await api.edit("ResourceQuota", "paybill", stopped, busy.namespace)
    await until(lambda: _counts(api, busy, "5"))
    await api.edit("ResourceQuota", "paybill", {"status": {"used": {"pods": "0"}}}, busy.namespace, status=True)
    operator.start()

    await suspended(customers, busy)
    await until(lambda: _runs(api, busy, {}))


async def _counts(api: Api, customer: Customer, wanted: str) -> bool:
    found = await api.get("ResourceQuota", "paybill", customer.namespace) or {}
    return bool(found.get("status", {}).get("used", {}).get("pods") == wanted)


async def test_everything_of_a_controller_comes_back_and_the_credentials_are_the_same(
    api: Api, customers: Customers, busy: Customer
) -> None:
    before = await customers.binding(busy)
    specs = {kind: (await api.get(kind, name, busy.namespace) or {})["spec"] for kind, name in _OWNED}
    await api.edit("Subscription", busy.name, UNPAID)
    await suspended(customers, busy)
    assert not await may_connect(before)

    await api.edit("Subscription", busy.name, PAID)
    await resumed(customers, busy)

    await until(lambda: _runs(api, busy, ALL))  # without the pod that no controller owns
    assert await customers.binding(busy) == before
    assert await may_connect(before)
    found = await api.get("Tenant", busy.name)
    assert condition(found, "Suspended") == {}
    # Nothing of the app's was edited, so no GitOps tool has anything to revert.
    assert {kind: (await api.get(kind, name, busy.namespace) or {})["spec"] for kind, name in _OWNED} == specs


_OWNED = [("Deployment", "web"), ("StatefulSet", "store"), ("CronJob", "nightly")]


async def test_an_event_names_what_is_lost_before_it_is(api: Api, customers: Customers, busy: Customer) -> None:
    await api.edit("Subscription", busy.name, UNPAID)
    await suspended(customers, busy)

    events = [one for one in await api.list("Event", "default") if one["involvedObject"]["name"] == busy.name]
    told = [one for one in events if one["reason"] == "Suspending"]
    assert len(told) == 1
    assert told[0]["type"] == "Warning"
    assert "pod bare" in told[0]["message"]
    assert "job import" in told[0]["message"]
    assert "web" not in told[0]["message"]
    quota = await api.get("ResourceQuota", "paybill", busy.namespace)
    assert quota is not None
    assert quota["spec"]["hard"]["pods"] == "0"


async def test_sessions_end_and_logins_are_off(customers: Customers, api: Api) -> None:
    customer = await customers.onboard()
    session = await connect(await customers.binding(customer))

    await api.edit("Subscription", customer.name, UNPAID)
    await suspended(customers, customer)

    with pytest.raises(psycopg.OperationalError):
        await session.execute("SELECT 1")
    assert not await may_connect(await customers.binding(customer))
    assert (await customers.entitlements(customer))["access"] == "suspended"


async def test_a_disruption_budget_is_honoured_until_the_patience_ends(
    api: Api, customers: Customers, busy: Customer, operator: Operator
) -> None:
    space = busy.namespace
    await api.create(workloads.disruption_budget(space))
    await workloads.make_ready(api, space, "web")
    await until(lambda: _protects(api, space))
    protected = {name for name, app in (await workloads.pods(api, space)).items() if app == "web"}
    binding = await customers.binding(busy)

    await api.edit("Subscription", busy.name, UNPAID)
    found = await customers.until(busy.name, lambda one: holds(one, "Ready", "PodsLeaving", "False"))

    assert "PodDisruptionBudget" in condition(found, "Ready")["message"]
    assert set(await workloads.pods(api, space)) == protected
    assert await may_connect(binding), "what still runs must not lose its database"

    operator.clock.offset += timedelta(minutes=2)
    await suspended(customers, busy)
    assert await workloads.pods(api, space) == {}
    assert not await may_connect(binding)

    await api.edit("Subscription", busy.name, PAID)
    await until(lambda: _has(api, busy, "web", 2))


async def _has(api: Api, customer: Customer, app: str, number: int) -> bool:
    return (await workloads.count(api, customer.namespace)).get(app) == number


async def _protects(api: Api, namespace: str) -> bool:
    found = await api.get("PodDisruptionBudget", "web", namespace)
    status = (found or {}).get("status", {})
    return bool(status.get("expectedPods") == 2 and status.get("disruptionsAllowed") == 0)


async def test_suspending_a_shared_tenant_does_not_touch_its_neighbours(
    api: Api, customers: Customers, name: str
) -> None:
    await customers.plan(name, "Shared", "Rows")
    one, neighbour = await customers.onboard("one", plan=name), await customers.onboard("next", plan=name)
    await customers.quiet()
    session = await connect(await customers.binding(neighbour))
    mine = {f"t-{one.id}-db", f"{one.id}-entitlements"}
    before = await _versions(api, one.namespace, mine)

    await api.edit("Subscription", one.name, UNPAID)
    await suspended(customers, one)

    assert not await may_connect(await customers.binding(one))
    assert (await customers.entitlements(one))["access"] == "suspended"
    assert await _versions(api, one.namespace, mine) == before
    assert await (await session.execute("SELECT 1")).fetchone() == (1,)
    await session.close()
    assert holds(await api.get("Tenant", neighbour.name), "Ready", "Provisioned")

    await api.edit("Subscription", one.name, PAID)
    await resumed(customers, one)
    assert await may_connect(await customers.binding(one))
    assert await _versions(api, one.namespace, mine) == before


async def _versions(api: Api, namespace: str, but: set[str]) -> dict[str, str]:
    """Every object of a namespace that a tenant could be touched through, with its version, but for some."""
    kinds = ("Namespace", "Secret", "ConfigMap", "RoleBinding", "ServiceAccount", "ResourceQuota", "NetworkPolicy")
    found: dict[str, str] = {}
    for kind in kinds:
        for obj in await api.list(kind, namespace):
            metadata = obj["metadata"]
            if (kind == "Namespace" and metadata["name"] != namespace) or metadata["name"] in but:
                continue
            found[f"{kind}/{metadata['name']}"] = metadata["resourceVersion"]
    return found


async def test_an_hours_budget_holds_back_the_next_suspension(api: Api, customers: Customers, name: str) -> None:
    await api.apply(samples.cell(name, limits={"suspensionsPerHour": 1}))
    await customers.plan(name)
    where = {"cellRef": {"name": name}}
    first, second = (
        await customers.onboard("a", plan=name, spec=where),
        await customers.onboard("b", plan=name, spec=where),
    )

    await api.edit("Subscription", first.name, UNPAID)
    await suspended(customers, first)
    await api.edit("Subscription", second.name, UNPAID)

    found = await customers.until(second.name, lambda one: holds(one, "Ready", "SuspensionBudgetSpent", "False"))
    assert "1 of 1 suspensions" in condition(found, "Ready")["message"]
    assert await may_connect(await customers.binding(second))
    quota = await api.get("ResourceQuota", "paybill", second.namespace)
    assert quota is not None
    assert quota["spec"]["hard"]["pods"] == "40"


async def test_an_access_hold_suspends_whatever_is_paid_and_payment_does_not_lift_it(
    api: Api, customers: Customers
) -> None:
    customer = await customers.onboard()
    hold: list[Any] = [{"name": "abuse-114", "blocks": "Access", "reason": "spam"}]

    await api.edit("Tenant", customer.name, {"spec": {"holds": hold}})
    found = await suspended(customers, customer)
    assert "abuse-114" in condition(found, "Suspended")["message"]
    await api.edit("Subscription", customer.name, {"spec": {"payment": {"paidUntilTime": "2098-01-01T00:00:00Z"}}})
    await customers.quiet()
    assert holds(await api.get("Tenant", customer.name), "Suspended")

    await api.edit("Tenant", customer.name, {"spec": {"holds": None}})
    await resumed(customers, customer)


async def test_late_grace_is_read_only(api: Api, customers: Customers, name: str) -> None:
    await customers.plan(name, payment={"graceDays": 14, "restrictAfterDays": 7, "endAfterDays": 30})
    customer = await customers.onboard(plan=name)

    await api.edit("Subscription", customer.name, {"spec": {"payment": {"paidUntilTime": samples.moment(days=8)}}})
    await customers.phase(customer.name, "Restricted")
    await customers.until(customer.name, lambda one: holds(one, "Restricted") and holds(one, "Ready"))

    async with await connect(await customers.binding(customer)) as app:
        writes = await (
            await app.execute("SELECT pg_has_role(current_user, %s, 'MEMBER')", (f"pb_{customer.id}_rw",))
        ).fetchone()
    assert writes == (False,)
    assert (await customers.entitlements(customer))["access"] == "readonly"


async def test_debt_that_is_seen_late_is_told_before_it_suspends_also_over_a_restart(
    api: Api, customers: Customers, operator: Operator, name: str
) -> None:
    await customers.plan(name, payment={"pastDueAtLeast": "48h"})
    await customers.onboard(plan=name)
    await api.edit("Subscription", name, UNPAID)
    found = await customers.phase(name, "PastDue")
    seen = found["status"]["anchors"]["pastDueSeenTime"]
    coming = found["status"]["next"]
    assert coming["phase"] == "Suspended"
    assert datetime.fromisoformat(coming["time"]) - datetime.fromisoformat(seen) == timedelta(hours=48)
    assert holds(await api.get("Tenant", name), "Ready")

    operator.clock.offset += timedelta(hours=47)
    operator.restart()
    operator.look_at("Tenant", name, deep=True)
    await customers.quiet()
    found = await api.get("Subscription", name)
    assert found["status"]["phase"] == "PastDue"
    assert found["status"]["anchors"]["pastDueSeenTime"] == seen

    operator.clock.offset += timedelta(hours=1, minutes=1)
    operator.look_at("Tenant", name)
    await customers.phase(name, "Suspended")
    await api.edit("Subscription", name, PAID)
    found = await customers.phase(name, "Active")
    assert "pastDueSeenTime" not in (found["status"].get("anchors") or {})
