"""What happens to a tenant in its life, each as something to begin and something to wait for: to be cut off anywhere.

``prepare`` brings a tenant to where the journey starts, ``begin`` sets it off, ``arrive`` returns when it has arrived.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.cluster import samples, workloads
from tests.cluster.api import Object, condition, holds
from tests.cluster.customers import Customers
from tests.cluster.picture import Postgres
from tests.cluster.waiting import until

SECONDS = 30.0
UNPAID: Object = {"spec": {"payment": {"paidUntilTime": samples.moment(days=20)}}}
PAID: Object = {"spec": {"payment": {"paidUntilTime": samples.FAR}}}
SMALL: Object = {"features": [{"name": "seats", "integer": 5}]}
LARGE: Object = {
    "features": [{"name": "seats", "integer": 50}],
    "limits": {"database": {"connections": 9}, "quota": {**samples.QUOTA, "pods": "60"}},
}


@dataclass
class Road:
    """Where journeys are made: the customers, the control database, and the two Plans of the test."""

    customers: Customers
    control: Postgres
    compute: str
    database: str

    @property
    def plan(self) -> str:
        return f"{self.customers.prefix}-{self.compute.lower()}-small"

    @property
    def larger(self) -> str:
        return f"{self.customers.prefix}-{self.compute.lower()}-large"

    async def make_plans(self) -> None:
        await self.customers.plan(self.plan, self.compute, self.database, **SMALL)
        limits = LARGE["limits"] if self.compute == "Namespace" else {"database": LARGE["limits"]["database"]}
        await self.customers.plan(self.larger, self.compute, self.database, **{**LARGE, "limits": limits})

    async def state(self, name: str) -> str:
        """What the registry says of the newest tenant of this name; empty when it knows none."""
        query = "SELECT state FROM paybill.tenants WHERE tenant_name = %s ORDER BY created_time DESC"
        row = await (await self.control.execute(query, (name,))).fetchone()
        return row[0] if row else ""


Step = Callable[[Road, str], Awaitable[Any]]


@dataclass(frozen=True)
class Journey:
    """One of them."""

    name: str
    prepare: Step
    begin: Step
    arrive: Step
    runs: bool = True
    """Whether the tenant's app may log in when it has arrived."""
    leaves: bool = False
    """Whether the Tenant object is gone then."""


async def _nothing(road: Road, name: str) -> None:
    """A journey that starts from nothing."""


async def _order(road: Road, name: str) -> None:
    owners = [] if road.compute == "Shared" else [{"kind": "Group", "name": "acme-admins"}]
    await road.customers.api.apply(samples.tenant(name, owners=owners), samples.subscription(name, road.plan))


async def _ready(road: Road, name: str) -> None:
    await road.customers.until(name, lambda one: holds(one, "Ready", "Provisioned"), seconds=SECONDS)


async def _live(road: Road, name: str) -> None:
    await _order(road, name)
    await _ready(road, name)
    found = await road.customers.api.get("Tenant", name) or {}
    space = found["status"]["namespace"]
    if road.compute == "Namespace":
        await road.customers.api.create(workloads.deployment(space, replicas=1))
        await road.customers.api.create(workloads.bare_pod(space))
        await until(lambda: _counts(road, space, 2))


async def _counts(road: Road, space: str, wanted: int) -> bool:
    return len(await workloads.pods(road.customers.api, space)) == wanted


async def _live_with_retain(road: Road, name: str) -> None:
    await _live(road, name)
    await road.customers.api.edit("Tenant", name, {"spec": {"deletionPolicy": "Retain"}})
    await _ready(road, name)


async def _stop_paying(road: Road, name: str) -> None:
    await road.customers.api.edit("Subscription", name, UNPAID)


async def _suspended(road: Road, name: str) -> None:
    await road.customers.until(name, lambda one: holds(one, "Suspended") and holds(one, "Ready"), seconds=SECONDS)


async def _stopped(road: Road, name: str) -> None:
    await _live(road, name)
    await _stop_paying(road, name)
    await _suspended(road, name)


async def _pay(road: Road, name: str) -> None:
    await road.customers.api.edit("Subscription", name, PAID)


async def _resumed(road: Road, name: str) -> None:
    def runs(one: Object) -> bool:
        return holds(one, "Ready", "Provisioned") and not condition(one, "Suspended")

    found = await road.customers.until(name, runs, seconds=SECONDS)
    if road.compute == "Namespace":
        await until(lambda: _counts(road, found["status"]["namespace"], 1))  # the pod that no controller owns is lost


async def _upgrade(road: Road, name: str) -> None:
    await road.customers.api.edit("Subscription", name, {"spec": {"planRef": {"name": road.larger}}})


async def _upgraded(road: Road, name: str) -> None:
    def moved(one: Object) -> bool:
        return holds(one, "Ready", "Provisioned") and one["status"]["plan"]["name"] == road.larger

    await road.customers.until(name, moved, seconds=SECONDS)


async def _suspect(road: Road, name: str) -> None:
    change = {"metadata": {"annotations": {"paybill.dev/rotate": "1 suspected"}}}
    await road.customers.api.edit("Tenant", name, change)


async def _rotated(road: Road, name: str) -> None:
    await road.customers.until(name, lambda one: holds(one, "CredentialsFresh", "Rotated"), seconds=SECONDS)


async def _remove(road: Road, name: str) -> None:
    await road.customers.api.delete("Tenant", name)


async def _gone(road: Road, name: str, state: str) -> None:
    async def gone() -> bool:
        return await road.customers.api.get("Tenant", name) is None and await road.state(name) == state

    await until(gone, seconds=SECONDS)


async def _released(road: Road, name: str) -> None:
    await _gone(road, name, "released")


async def _dropped(road: Road, name: str) -> None:
    await _gone(road, name, "dropped")


PROVISIONING = Journey("provisioning", _nothing, _order, _ready)
SUSPENSION = Journey("suspension", _live, _stop_paying, _suspended, runs=False)
RESUMPTION = Journey("resumption", _stopped, _pay, _resumed)
PLAN_CHANGE = Journey("plan change", _live, _upgrade, _upgraded)
ROTATION = Journey("rotation", _live, _suspect, _rotated)
RETAIN = Journey("deletion with Retain", _live_with_retain, _remove, _released, leaves=True)
DELETE = Journey("deletion with Delete", _live, _remove, _dropped, runs=False, leaves=True)

BOTH = [("Namespace", "Schema"), ("Shared", "Rows")]
ROADS = [
    *((journey, *levels) for journey in (PROVISIONING, SUSPENSION, RESUMPTION, DELETE) for levels in BOTH),
    (PLAN_CHANGE, *BOTH[0]),
    *((ROTATION, *levels) for levels in BOTH),
    (RETAIN, *BOTH[0]),
    *((journey, "Namespace", "Database") for journey in (PROVISIONING, DELETE)),
]
"""Each journey at the levels of compute and database at which it takes other steps."""
