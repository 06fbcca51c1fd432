"""Tenants in the middle of everything that can happen to them: made, suspended, resumed, changed, or left in peace."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.cluster import samples
from tests.cluster.api import Object, condition, holds
from tests.cluster.customers import Customer, Customers, may_connect

UNPAID: Object = {"spec": {"payment": {"paidUntilTime": samples.moment(days=20)}}}
PAID: Object = {"spec": {"payment": {"paidUntilTime": samples.FAR}}}
UNLIMITED = {"suspensionsPerHour": 100_000, "deletionsPerHour": 100_000, "massChangeFloor": 100_000}
"""Limits of a Cell that do not get into the way of tests."""
PREPARED = ("steady", "paying", "owing", "moving")
NEW = ("new-1", "new-2")


@dataclass
class Load:
    """One test's tenants on the place that ``where`` names (part of a Tenant's spec)."""

    customers: Customers
    where: Object = field(default_factory=dict)
    made: dict[str, Customer] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)

    def name(self, which: str) -> str:
        return f"{self.customers.prefix}-{which}"

    async def prepare(self) -> None:
        """Four tenants that are well, one of them suspended, before anything happens."""
        small, large = self.name("small"), self.name("large")
        await asyncio.gather(*(self.customers.plan(plan) for plan in (small, large)))
        await asyncio.gather(*(self._apply(which) for which in PREPARED))
        for which in PREPARED:
            self.made[which] = await self.customers.ready(self.name(which))
        await self.customers.api.edit("Subscription", self.name("owing"), UNPAID)
        await self._suspended("owing", seconds=20)
        self.before = await self._picture("steady")

    async def begin(self) -> None:
        """Everything at once: two new ones, one stops paying, one pays, one takes another Plan."""
        api = self.customers.api
        await asyncio.gather(
            *(self._apply(which) for which in NEW),
            api.edit("Subscription", self.name("paying"), UNPAID),
            api.edit("Subscription", self.name("owing"), PAID),
            api.edit("Subscription", self.name("moving"), {"spec": {"planRef": {"name": self.name("large")}}}),
        )

    async def said(self, reasons: set[str], *, seconds: float = 40.0, may_fit: bool = False) -> Object:
        """Wait until a new tenant says what it waits for; ``may_fit``: or is made all the same."""
        found = await self.customers.until(
            self.name(NEW[-1]),
            lambda one: condition(one, "Ready").get("reason") in reasons or (may_fit and holds(one, "Ready")),
            seconds=seconds,
        )
        if holds(found, "Ready"):
            return found
        assert holds(found, "Reconciling")
        assert condition(found, "Stalled")["status"] == "False", "nobody has to do anything about the tenant"
        return found

    async def in_peace(self) -> None:
        """Who needs nothing stays as it is, whatever happens."""
        assert await self._picture("steady") == self.before

    async def settled(self, *, seconds: float = 60.0) -> None:
        """Wait until all is as declared, and see in Postgres and Kubernetes that it is so, each thing once."""
        for which in NEW:
            self.made[which] = await self.customers.ready(self.name(which), seconds=seconds)
        await self._suspended("paying", seconds=seconds)
        await self.customers.until(self.name("owing"), lambda one: holds(one, "Ready", "Provisioned"), seconds=seconds)
        await self.customers.until(
            self.name("moving"),
            lambda one: holds(one, "Ready") and one["status"]["plan"]["name"] == self.name("large"),
            seconds=seconds,
        )
        await self.in_peace()
        await asyncio.gather(*(self._logins(which) for which in (*PREPARED, *NEW)))
        await self._each_once()

    async def _logins(self, which: str) -> None:
        binding = await self.customers.binding(self.made[which])
        assert await may_connect(binding) is (which != "paying"), which

    async def _each_once(self) -> None:
        names = {self.name(which): one.id for which, one in self.made.items()}
        dsn = self.customers.operator.settings.control_database()
        async with await psycopg.AsyncConnection.connect(dsn) as control:
            cursor = await control.execute(
                "SELECT tenant_name, id FROM paybill.tenants WHERE tenant_name = ANY(%s)", (list(names),)
            )
            rows = await cursor.fetchall()
        assert sorted(rows) == sorted(names.items()), "one row per tenant, with the id that its status says"
        api = self.customers.api
        owned = [
            space["metadata"]["name"]
            for space in await api.list("Namespace")
            if space["metadata"].get("annotations", {}).get("paybill.dev/tenant-name") in names
        ]
        assert sorted(owned) == sorted(one.namespace for one in self.made.values())

    async def _suspended(self, which: str, *, seconds: float) -> None:
        await self.customers.until(
            self.name(which), lambda one: holds(one, "Suspended") and holds(one, "Ready"), seconds=seconds
        )

    async def _apply(self, which: str) -> None:
        tenant = samples.tenant(self.name(which), **self.where)
        await self.customers.api.apply(tenant, samples.subscription(self.name(which), self.name("small")))

    async def _picture(self, which: str) -> dict[str, Any]:
        """What its owner has and sees of a tenant."""
        tenant = await self.customers.api.get("Tenant", self.name(which)) or {}
        space = await self.customers.api.get("Namespace", self.made[which].namespace) or {}
        return {
            "status": {key: value for key, value in tenant["status"].items() if key != "conditions"},
            "ready since": condition(tenant, "Ready"),
            "namespace": space["metadata"]["uid"],
            "binding": await self.customers.binding(self.made[which]),
        }
