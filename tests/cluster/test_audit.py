"""What the operator did is in its log before it was done, and the log is whole."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from paybill.audit.chain import verify
from paybill.audit.reading import rows
from tests.cluster import samples, workloads
from tests.cluster.api import KINDS, Api, holds
from tests.cluster.customers import Customer, Customers
from tests.cluster.faults import Fault, Faults
from tests.cluster.journal import Journal, Request
from tests.cluster.running import Operator
from tests.cluster.test_deletion import gone
from tests.cluster.waiting import until

NOT_INFRASTRUCTURE = {"plans", "tenants", "subscriptions", "cells", "events"}
"""Finalizers, statuses and Events report; they change nothing that is a tenant's."""

SINGULAR = {plural: kind for kind, (_, plural, _) in KINDS.items()}


class Intent(NamedTuple):
    """One row of the log, as far as it is compared."""

    time: datetime
    action: str
    object: str
    tenant: str | None


async def life(api: Api, customers: Customers) -> Customer:
    """A customer's whole life: made, working, suspended, resumed, on another plan, damaged, healed, deleted."""
    customer = await customers.onboard(spec={"owners": [{"kind": "Group", "name": "acme-admins"}]})
    for made in (workloads.deployment(customer.namespace), workloads.bare_pod(customer.namespace)):
        await api.create(made)
    await until(lambda: workloads.pods(api, customer.namespace))
    await api.edit("Subscription", customer.name, {"spec": {"payment": {"paidUntilTime": samples.moment(days=20)}}})
    await customers.until(customer.name, lambda one: holds(one, "Suspended") and holds(one, "Ready"))
    await api.edit("Subscription", customer.name, {"spec": {"payment": {"paidUntilTime": samples.FAR}}})
    await customers.until(customer.name, lambda one: holds(one, "Ready", "Provisioned"))
    await customers.plan(customer.plan, features=[{"name": "sso", "boolean": True}])
    await api.edit("NetworkPolicy", "paybill", {"spec": {"egress": [{}]}}, customer.namespace)
    await customers.quiet()
    await api.edit("Tenant", customer.name, {"spec": {"owners": None}})
    await until(lambda: gone(api, "RoleBinding", "paybill-owners", customer.namespace))
    await api.delete("Tenant", customer.name)
    await until(lambda: gone(api, "Tenant", customer.name))
    await customers.quiet()
    return customer


async def test_every_write_to_what_is_a_tenants_was_announced_in_the_log(
    api: Api, customers: Customers, journal: Journal, control_dsn: str
) -> None:
    customer = await life(api, customers)
    with psycopg.connect(control_dsn) as connection:
        intents = [
            Intent(row.time, row.action, row.object, row.tenant_id) for row in rows(connection) if row.kind == "intent"
        ]

    written = [one for one in journal.writes() if one.resource not in NOT_INFRASTRUCTURE]
    unannounced = [one for one in written if one.status < 300 and not _announced(one, customer, intents)]

    assert len(written) > 20
    assert unannounced == []


def _announced(request: Request, customer: Customer, intents: list[Intent]) -> bool:
    when = datetime.fromisoformat(request.received)
    earlier = [intent for intent in intents if intent.time <= when]
    kind = SINGULAR[request.resource]
    target = f"{kind}/{request.namespace}/{request.name}" if request.namespace else f"{kind}/{request.name}"
    if kind == "Namespace":
        target = f"Namespace/{request.name}"
    suspends = kind == "ResourceQuota" and any(
        (intent.action, intent.tenant) == ("tenant.suspend", customer.id) for intent in earlier
    )
    keeps = kind == "ControllerRevision" and any(intent.action in {"plan.keep", "plan.forget"} for intent in earlier)
    return suspends or keeps or any(intent.object == target for intent in earlier)


async def test_the_log_is_whole_after_crashes_and_names_what_was_cut_off(
    api: Api, customers: Customers, operator: Operator, control_dsn: str, name: str
) -> None:
    await customers.plan(name)
    faults = Faults(operator.end_soon)
    operator.doors = faults.doors
    operator.restart()
    await customers.quiet()
    faults.arm(Fault("patch namespaces", when="after"))
    await api.apply(samples.tenant(name), samples.subscription(name, name))
    await until(lambda: faults.happened)
    operator.crash()
    operator.start()
    await customers.ready(name)
    operator.stop()

    with psycopg.connect(control_dsn) as connection:
        report = verify(rows(connection))

    assert report.problems == ()
    assert {row.tenant_id for row in report.unfinished} == {_id(await api.get("Tenant", name))}
    assert {row.action for row in report.unfinished} <= _STEPS_OF_A_NEW_TENANT


_STEPS_OF_A_NEW_TENANT = {
    "namespace.apply", "resourceQuota.apply", "limitRange.apply", "networkPolicy.apply", "serviceAccount.apply",
    "roleBinding.apply", "database.ensure", "configMap.apply", "secret.apply",
}  # fmt: skip


def _id(tenant: Any) -> str:
    return str(tenant["status"]["id"])
