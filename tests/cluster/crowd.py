"""Many tenants whose people change their minds all the time, and what must be true of all of them in the end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.cluster import picture, samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.journeys import PAID, UNPAID, Road
from tests.cluster.picture import Picture, Postgres
from tests.cluster.waiting import until

PAUSES = (0.2, 4.0)
"""Seconds between two changes of one tenant."""
FATES = (1, 3, 6, 10_000, 10_000, 10_000, 10_000)
"""After how many changes tenants are deleted: most of them stay."""
OUR_NAMES = "SELECT rolname FROM pg_roles WHERE rolname ~ '^pb_[0-9a-z]{8}_'"


@dataclass
class Member:
    """One tenant as its people want it now: ``wanted`` is absent, active, suspended, dropped or released."""

    name: str
    road: Road
    policy: str
    changes: int
    """After how many changes it is deleted."""
    wanted: str = "absent"
    plan: str = ""

    @property
    def over(self) -> bool:
        """Whether it was deleted, which is for good."""
        return self.wanted in ("dropped", "released")


class Crowd:
    """The tenants of some roads, changed at random by ``seed``."""

    def __init__(self, api: Api, roads: list[Road], count: int, seed: int) -> None:
        self.api = api
        self.changes = Counter[str]()
        self._random = random.Random(seed)
        self._going = True
        prefix = roads[0].customers.prefix
        self.members = [
            Member(
                name=f"{prefix}-{number:03d}",
                road=self._random.choice(roads),
                policy=self._random.choice(("Delete", "Retain")),
                changes=self._random.choice(FATES),
            )
            for number in range(count)
        ]

    async def live(self) -> None:
        """Change everybody, each at their own pace, until ``rest``."""
        await asyncio.gather(*(self._live(member) for member in self.members))

    def rest(self) -> None:
        """Nobody changes anything any more."""
        self._going = False

    async def _live(self, member: Member) -> None:
        while self._going and not member.over:
            await asyncio.sleep(self._random.uniform(*PAUSES))
            if self._going:
                await self._change(member)

    async def _change(self, member: Member) -> None:
        road = member.road
        match member.wanted:
            case "absent":
                what = "create"
                member.wanted, member.plan = "active", self._random.choice((road.plan, road.larger))
                await self.api.apply(
                    samples.tenant(member.name, deletionPolicy=member.policy),
                    samples.subscription(member.name, member.plan),
                )
            case "active":
                member.changes -= 1
                what = self._random.choice(("suspend", "change plan")) if member.changes else "delete"
                if what == "suspend":
                    member.wanted = "suspended"
                    await self.api.edit("Subscription", member.name, UNPAID)
                elif what == "change plan":
                    member.plan = road.larger if member.plan == road.plan else road.plan
                    await self.api.edit("Subscription", member.name, {"spec": {"planRef": {"name": member.plan}}})
                else:
                    member.wanted = "dropped" if member.policy == "Delete" else "released"
                    await self.api.delete("Tenant", member.name)
            case _:
                what, member.wanted = "resume", "active"
                await self.api.edit("Subscription", member.name, PAID)
        self.changes[what] += 1

    async def arrived(self, seconds: float) -> None:
        """Wait until everybody is as they want to be."""
        late: list[str] = []

        async def all_there() -> bool:
            tenants = {one["metadata"]["name"]: one for one in await self.api.list("Tenant")}
            late[:] = [
                f"{member.name}: {member.wanted} on {member.plan}, but {_said(tenants.get(member.name))}"
                for member in self.members
                if not await _there(member, tenants.get(member.name))
            ]
            return not late

        await until(all_there, seconds=seconds, otherwise=lambda: late)


async def _there(member: Member, found: Object | None) -> bool:
    if member.wanted == "absent":
        return found is None
    if member.over:
        # One that was deleted before anything was made of it leaves no row, or none that was ever built on.
        return found is None and await member.road.state(member.name) in (member.wanted, "")
    if found is None:
        return False
    if member.wanted == "suspended" and not await member.road.state(member.name):
        # Unpaid before anything was made of it: nothing is, until it is paid for.
        return holds(found, "Ready", "Suspended", "False")
    if member.wanted == "suspended":
        return holds(found, "Suspended") and holds(found, "Ready")
    on = found.get("status", {}).get("plan") or {}
    return holds(found, "Ready", "Provisioned") and not condition(found, "Suspended") and on.get("name") == member.plan


def _said(found: Object | None) -> Any:
    return None if found is None else (found.get("status", {}).get("phase"), condition(found, "Ready"))


async def pictures(crowd: Crowd, postgres: Postgres, control: Postgres) -> dict[str, list[Picture]]:
    """What there is of each living tenant, by what it should be like: within a group all are the same."""
    groups: dict[str, list[Picture]] = {}
    for member in crowd.members:
        if member.wanted not in ("active", "suspended"):
            continue
        found = await crowd.api.get("Tenant", member.name)
        if found is None or not await member.road.state(member.name):
            continue
        on = found["status"]["plan"]["name"]
        taken = await picture.taken(crowd.api, postgres, control, member.name, found["status"]["id"])
        # Its own story: one that was unpaid before it was built never ran, and so was never stopped.
        del taken["budgets"]
        ((taken.get("ResourceQuota paybill") or {}).get("annotations") or {}).pop("paybill.dev/stopped-time", None)
        groups.setdefault(f"{member.wanted} on {on}, {member.plan} is wanted", []).append(taken)
    return groups


async def leaks(api: Api, postgres: Postgres, control: Postgres, installation: str) -> list[str]:
    """What is there of tenants that the registry does not know, or of which it says that nothing is there."""
    rows = await (await control.execute("SELECT id, compute, state FROM paybill.tenants")).fetchall()
    known = {row[0] for row in rows if row[2] != "dropped"}
    spaces = await api.list("Namespace", labels=f"paybill.dev/installation={installation}")
    living = [one["metadata"] for one in spaces if "deletionTimestamp" not in one["metadata"]]
    found = {f"Namespace {one['name']}": one["name"][2:] for one in living if one["name"].startswith("t-")}
    secrets = await api.list("Secret", samples.OPERATOR_NAMESPACE, f"paybill.dev/installation={installation}")
    marked = [one["metadata"] for one in secrets if "paybill.dev/tenant" in (one["metadata"].get("labels") or {})]
    found |= {f"Secret {one['name']}": one["labels"]["paybill.dev/tenant"] for one in marked}
    roles = await (await postgres.execute(OUR_NAMES)).fetchall()
    found |= {f"role {row[0]}": row[0].split("_")[1] for row in roles}
    return sorted(what for what, tenant in found.items() if tenant not in known)


async def doubles(control: Postgres) -> list[Any]:
    """Tenants that have more than one living row, and servers whose number of tenants is not that of its rows."""
    twice = await control.execute(
        "SELECT tenant_name FROM paybill.tenants WHERE state <> 'dropped' GROUP BY 1 HAVING count(*) > 1"
    )
    counted = await control.execute(
        "SELECT p.cell, p.server, p.tenants, count(t.id) FROM paybill.placements p LEFT JOIN paybill.tenants t"
        " ON t.cell = p.cell AND t.server = p.server AND t.state <> 'dropped'"
        " GROUP BY 1, 2, 3 HAVING p.tenants <> count(t.id)"
    )
    return [*await twice.fetchall(), *await counted.fetchall()]
