"""A customer of the provider, from the first manifest to the open database connection."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import psycopg

from paybill.desired.resource import texts
from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.running import Operator
from tests.cluster.waiting import PAUSE, until


@dataclass(frozen=True)
class Customer:
    """One tenant that is set up."""

    name: str
    id: str
    namespace: str
    plan: str


class Customers:
    """Makes customers and looks after them; ``plan`` is the test's own Plan, made with the first."""

    def __init__(self, api: Api, operator: Operator, prefix: str) -> None:
        self.api = api
        self.operator = operator
        self.prefix = prefix

    async def onboard(
        self,
        name: str = "",
        *,
        compute: str = "Namespace",
        database: str = "Schema",
        plan: str | None = None,
        spec: Object | None = None,
        **contract: Any,
    ) -> Customer:
        """Apply Plan (unless one is named), Tenant and Subscription and wait until the Tenant is Ready."""
        full = f"{self.prefix}-{name}" if name else self.prefix
        if plan is None:
            plan = f"{self.prefix}-{compute}-{database}".lower()
            await self.plan(plan, compute, database)
        await self.api.apply(samples.tenant(full, **(spec or {})), samples.subscription(full, plan, **contract))
        return await self.ready(full)

    async def plan(self, name: str, *args: Any, **spec: Any) -> Object:
        """Apply a Plan and wait until the operator has taken it up."""
        applied = (await self.api.apply(samples.plan(name, *args, **spec)))[0]
        generation = applied["metadata"]["generation"]
        return await self.until(
            name, lambda one: one.get("status", {}).get("observedGeneration") == generation, kind="Plan"
        )

    async def ready(self, name: str, *, seconds: float = 45.0) -> Customer:
        """Wait until a Tenant is Ready as it is declared now."""
        found = await self.until(name, lambda tenant: holds(tenant, "Ready"), seconds=seconds)
        status = found["status"]
        return Customer(name, status["id"], status["namespace"], status["plan"]["name"])

    async def until(
        self, name: str, good: Any, *, kind: str = "Tenant", namespace: str = "", seconds: float = 45.0
    ) -> Object:
        """Wait until an object is as a test wants it; returns it."""
        last: list[Any] = [None]

        async def look() -> Object | None:
            last[0] = found = await self.api.get(kind, name, namespace)
            return found if found is not None and good(found) else None

        return await until(look, seconds=seconds, otherwise=lambda: (last[0] or {}).get("status"))  # type: ignore[return-value]

    async def stalled(
        self, name: str, reason: str, *, kind: str = "Tenant", namespace: str = "", seconds: float = 45.0
    ) -> str:
        """Wait until an object is Stalled for a reason; returns the message."""
        found = await self.until(
            name, lambda one: holds(one, "Stalled", reason), kind=kind, namespace=namespace, seconds=seconds
        )
        return str(condition(found, "Stalled")["message"])

    async def phase(self, name: str, phase: str, *, seconds: float = 45.0) -> Object:
        """Wait until a Subscription is in a phase and its Tenant has settled."""
        return await self.until(
            name, lambda one: one.get("status", {}).get("phase") == phase, kind="Subscription", seconds=seconds
        )

    async def quiet(self) -> None:
        """Wait until the operator has nothing to do."""
        await until(lambda: self.operator.idle)

    async def quiet_for(self, seconds: float) -> None:
        """Wait until the operator has had nothing to do for some time: for what must not come afterwards."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if not self.operator.call(lambda world: world.queue.idle):
                ends = time.monotonic() + seconds
            await asyncio.sleep(PAUSE)

    async def binding(self, customer: Customer) -> dict[str, str]:
        """The Secret that the customer's app reads, in clear."""
        return await secret(self.api, customer.namespace, f"t-{customer.id}-db")

    async def entitlements(self, customer: Customer) -> dict[str, str]:
        found = await self.api.get("ConfigMap", f"{customer.id}-entitlements", customer.namespace)
        return dict(found["data"]) if found else {}


async def secret(api: Api, namespace: str, name: str) -> dict[str, str]:
    """A Secret's data in clear; empty when there is none."""
    return texts(await api.get("Secret", name, namespace))


async def connect(binding: dict[str, str]) -> psycopg.AsyncConnection[Any]:
    """Log in as the app does: with what its Secret says and nothing else."""
    return await psycopg.AsyncConnection.connect(binding["uri"], autocommit=True, connect_timeout=5)


async def may_connect(binding: dict[str, str]) -> bool:
    """Whether the app's login is open."""
    try:
        async with await connect(binding):
            return True
    except psycopg.OperationalError:
        return False
