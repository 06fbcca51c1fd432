"""How much the operator asks of the API server, counted from the API server's own audit log."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.cluster import samples
from tests.cluster.api import Api, holds
from tests.cluster.customers import Customers
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.waiting import until

OWNERS = {"owners": [{"kind": "Group", "name": "acme-admins"}]}
GUARDRAILS = Counter(
    {
        "patch namespaces": 1,
        "patch resourcequotas": 1,
        "patch limitranges": 1,
        "patch networkpolicies": 1,
        "patch serviceaccounts": 1,
        "patch rolebindings": 2,  # the operator's own and the owners'
        "patch configmaps": 1,
        "patch secrets": 2,  # the tenant's and the provider's
    }
)
REPORTS = Counter(
    {"patch tenants": 1, "patch subscriptions": 1, "patch tenants/status": 1, "patch subscriptions/status": 1}
)
"""A finalizer and a status for each of the two: the four writes beside the objects."""


async def test_a_new_tenant_costs_its_objects_and_four_writes(
    customers: Customers, journal: Journal, name: str
) -> None:
    await customers.plan(name)
    await customers.quiet()
    journal.begin()

    await customers.onboard(plan=name, spec=OWNERS)
    await customers.quiet()

    of_plan = {"plans", "plans/status"}
    writes = [one for one in journal.writes() if one.what.removeprefix("patch ") not in of_plan]
    assert Counter(one.what for one in writes) == GUARDRAILS + REPORTS
    assert all(one.status < 300 or one.status == 403 for one in writes)
    assert len(journal.reads()) <= 3, journal.reads()


@pytest.mark.parametrize(("compute", "database"), [("Namespace", "Schema"), ("Shared", "Rows")])
async def test_a_reconcile_that_changes_nothing_asks_nothing(
    compute: str, database: str, customers: Customers, operator: Operator, journal: Journal
) -> None:
    customer = await customers.onboard(compute=compute, database=database)
    await customers.quiet()
    journal.begin()

    before = operator.call(lambda _: _reconciles())
    operator.look_at("Tenant", customer.name)
    operator.look_at("Plan", customer.plan)
    await until(lambda: operator.idle and operator.call(lambda _: _reconciles()) >= before + 2)

    assert journal.requests() == []


async def test_a_resync_looks_at_the_secrets_and_at_nothing_else(
    customers: Customers, operator: Operator, journal: Journal
) -> None:
    customer = await customers.onboard()
    await customers.quiet()
    journal.begin()

    operator.look_at("Tenant", customer.name, deep=True)
    await until(lambda: len(journal.requests()) >= 2)
    await customers.quiet()

    assert Counter(one.what for one in journal.requests()) == {"get secrets": 2}


async def test_a_restart_among_steady_tenants_writes_nothing(
    api: Api, customers: Customers, operator: Operator, journal: Journal, name: str
) -> None:
    await customers.plan(name)
    await customers.plan(f"{name}-shared", "Shared", "Rows")
    await customers.onboard("one", plan=name, spec=OWNERS)
    await customers.onboard("two", plan=f"{name}-shared")
    await customers.onboard("late", plan=name, paid=samples.moment(days=1))
    stopped = await customers.onboard("stopped", plan=name)
    await api.edit("Subscription", stopped.name, {"spec": {"payment": {"paidUntilTime": samples.moment(days=20)}}})
    await customers.until(stopped.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    operator.look_at("Cell", "local")  # it counts its tenants once a minute
    await customers.quiet()
    journal.begin()

    operator.restart()
    await until(lambda: operator.call(lambda world: len(world.declared.tenants)) >= 4)
    await customers.quiet()

    assert journal.writes() == []
    assert [one for one in journal.requests() if one.resource == "events"] == []
    # What a start reads does not grow with the tenants.
    assert [one for one in journal.requests() if one.verb == "get" and one.resource != "secrets"] == []


async def test_a_steady_installation_is_silent(customers: Customers, operator: Operator, journal: Journal) -> None:
    customer = await customers.onboard()
    await customers.quiet()
    journal.begin()

    # Two renewals of the Lease are time enough for whatever would be repeated.
    await until(lambda: sum(one.resource == "leases" and one.verb == "update" for one in journal.all()) >= 2)

    assert journal.requests() == []
    assert holds(await customers.api.get("Tenant", customer.name), "Ready")


def _reconciles() -> float:
    from paybill.reconcile.metrics import REGISTRY

    return sum(
        sample.value
        for metric in REGISTRY.collect()
        if metric.name == "paybill_reconcile_duration_seconds"
        for sample in metric.samples
        if sample.name.endswith("_count")
    )
