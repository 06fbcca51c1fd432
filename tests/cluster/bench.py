"""Makes a tenant go through something that is spoiled on the way, and looks at what came of it.

What is there in the end is compared with what a tenant has that nothing happened to, and then looked at once more by
the operator, which must find nothing to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from paybill.audit.chain import verify
from paybill.audit.reading import rows
from paybill.reconcile.queue import Work
from tests.cluster import picture
from tests.cluster.api import Api
from tests.cluster.customers import may_connect, secret
from tests.cluster.faults import Fault, Faults
from tests.cluster.journeys import Journey, Road
from tests.cluster.picture import Picture, Postgres
from tests.cluster.running import Operator
from tests.cluster.waiting import until

SECONDS = 30.0
PASSING = {"patch plans/status", "patch cells/status", "control pending audit", "control commit audit"}
"""What others may do meanwhile: a Plan counts its tenants, outcomes of steps are logged a moment after them."""


@dataclass
class Bench:
    """Makes journeys of one kind, each by a new tenant, and looks at what came of them."""

    road: Road
    journey: Journey
    operator: Operator
    faults: Faults
    api: Api
    postgres: Postgres
    dsn: str
    crashed: set[int]
    """The epochs of the lives that were cut off, in the whole module."""
    made: int = 0
    seconds: float = SECONDS
    """How long a fault is waited for."""

    async def undisturbed(self) -> tuple[Picture, list[str]]:
        """What a tenant is like after the journey, and its effects in their order."""
        name = await self.start_out(None)
        await self.journey.arrive(self.road, name)
        await self.settled(name)
        effects = self.faults.kinds
        return await self.look(name), effects

    async def at_the_start(self) -> str:
        """A new tenant where the journey starts."""
        self.made += 1
        name = f"{self.road.customers.prefix}-{self.made:03d}"
        self.faults.arm()
        await self.journey.prepare(self.road, name)
        await self.settled(name)
        return name

    async def start_out(self, fault: Fault | None) -> str:
        """A new tenant that has begun; the fault, if any, is armed."""
        name = await self.at_the_start()
        self.faults.arm(fault)
        await self.journey.begin(self.road, name)
        return name

    async def settled(self, name: str) -> None:
        """Nobody works for the tenant, nobody is about to, and what was done is logged."""
        await until(lambda: self.operator.call(lambda world: _rests(world, name)))

    async def look(self, name: str) -> Picture:
        (tenant_id,) = await self.ids(name)
        return await picture.taken(self.api, self.postgres, self.road.control, name, tenant_id)

    async def ids(self, name: str) -> list[str]:
        found = await self.road.control.execute("SELECT id FROM paybill.tenants WHERE tenant_name = %s", (name,))
        return [row[0] for row in await found.fetchall()]

    async def epoch(self) -> int:
        """The epoch of whoever leads, or led last."""
        row = await (await self.road.control.execute("SELECT epoch FROM paybill.epochs")).fetchone()
        return int(row[0]) if row else 0

    async def anchors(self, name: str) -> dict[str, tuple[Any, ...]]:
        return {one: await picture.facts(self.road.control, one) for one in await self.ids(name)}

    async def spoil(self, fault: Fault, wanted: Picture) -> bool:
        """One journey with this fault on the way, and a restart if it ends the process; False if it never came."""
        name = await self.start_out(fault)
        arrived = self.arriving(name)
        await until(lambda: self.faults.happened or arrived(), seconds=self.seconds)
        happened = bool(self.faults.happened)
        anchors: dict[str, tuple[Any, ...]] = {}
        if happened and fault.how == "end":
            self.crashed.add(self.operator.world.epoch)
            self.operator.crash()
            anchors = await self.anchors(name)
            await self.cut_off(name)
            self.operator.start()
        await self.journey.arrive(self.road, name)
        await self.settled(name)
        await self.same(name, wanted, str(fault))
        await self.anchored(name, anchors)
        return happened

    async def cut_off(self, name: str) -> None:
        """What must be so whenever a process ends, before another one begins; for journeys that promise something."""

    def arriving(self, name: str) -> Callable[[], bool]:
        """Whether the operator has nothing more to do for the tenant: then the fault will not come any more."""
        quiet = Counter[str]()

        def arrived() -> bool:
            quiet["looks"] = quiet["looks"] + 1 if self.operator.call(lambda world: _rests(world, name)) else 0
            return quiet["looks"] > 25

        return arrived

    async def same(self, name: str, wanted: Picture, after: str) -> None:
        """The tenant is as any other after this journey; nothing is twice, and nobody wants to change anything."""
        unlike: list[Any] = []

        async def alike() -> bool:
            unlike[:] = differences(wanted, await self.look(name))
            return not unlike

        # Who took over from a killed process may have said that it has arrived a moment before its last write.
        await until(alike, otherwise=lambda: (after, unlike))
        assert len(await self.ids(name)) == 1, after
        spaces = [one for one in await self.api.list("Namespace") if _tenant_of(one) == name]
        living = [one["metadata"]["name"] for one in spaces if "deletionTimestamp" not in one["metadata"]]
        (tenant_id,) = await self.ids(name)
        assert living == ([f"t-{tenant_id}"] if "Namespace" in wanted else []), after
        await self.logs_in(name, tenant_id, after)
        if not self.journey.leaves:
            self.faults.arm()
            self.operator.look_at("Tenant", name, deep=True)
            await self.settled(name)
            assert [kind for kind in self.faults.kinds if kind not in PASSING] == [], after

    async def logs_in(self, name: str, tenant_id: str, after: str) -> None:
        space = "paybill-pool-local" if self.road.compute == "Shared" else f"t-{tenant_id}"
        binding = await secret(self.api, space, f"t-{tenant_id}-db")
        assert (bool(binding) and await may_connect(binding)) == self.journey.runs, after

    async def anchored(self, name: str, before: dict[str, tuple[Any, ...]]) -> None:
        """A moment that was kept before the crash is the same after it."""
        now = await self.anchors(name)
        for tenant_id, facts in before.items():
            moved = [(old, new) for old, new in zip(facts[1:], now[tenant_id][1:], strict=True) if old and new]
            assert all(old == new for old, new in moved), moved

    def unfinished(self) -> list[str]:
        """The steps that a life which was not cut off has begun and not concluded, by the log, which must be whole."""
        with psycopg.connect(self.dsn) as connection:
            report = verify(rows(connection))
        assert report.problems == ()
        mine = [row for row in report.unfinished if row.epoch not in self.crashed]
        return [f"{row.action} {row.object} of epoch {row.epoch}, seq {row.seq}" for row in mine]


def _rests(world: Any, name: str) -> bool:
    claims = [claim for claim in world.registry.all() if claim.tenant_name == name]
    work = {Work("Tenant", name)} | {Work("Drop", claim.id) for claim in claims}
    work |= {Work("TenantBackup", one.name) for one in world.declared.backups_of(name)}
    work |= {
        Work("TenantRestore", one.name) for claim in claims for one in world.declared.restores_into(name, claim.id)
    }
    if any(world.jobs.running(one) for one in work):
        return False
    queue = world.queue
    states = [state for one in work if (state := queue._states.get(one)) is not None]
    soon = queue._clock() + 1.5
    busy = any(state.working or state.causes or (state.ticket is not None and state.wake < soon) for state in states)
    return not busy and not world.audit._writer.backlog


def _tenant_of(namespace: dict[str, Any]) -> str:
    return str(namespace["metadata"].get("annotations", {}).get("paybill.dev/tenant-name", ""))


def differences(wanted: Picture, found: Picture) -> list[str]:
    """What is not as it should be: what was wanted, and what there is."""
    unlike = [key for key in wanted | found if wanted.get(key) != found.get(key)]
    return [f"{key}: {wanted.get(key)} is now {found.get(key)}" for key in sorted(unlike)]


def points(effects: Sequence[str]) -> list[tuple[str, int]]:
    """Each effect by its kind and which one of that kind it is, in their order.

    What is pending until a commit is no effect: the commit is one of its own.
    """
    seen = Counter[str]()
    found = []
    for kind in effects:
        seen[kind] += 1
        if " pending " not in kind:
            found.append((kind, seen[kind]))
    return found


def steady(kinds: Iterable[str], journey: Journey) -> Counter[str]:
    """How many of each kind, but for the passing ones: in how many writes outcomes are logged is a matter of luck."""
    passing = PASSING | ({"patch subscriptions/status"} if journey.leaves else set())
    return Counter(kind for kind in kinds if kind not in passing)


def spread(found: Sequence[Any], count: int) -> list[Any]:
    """So many of them, from all parts of the list."""
    return [found[(2 * number + 1) * len(found) // (2 * count)] for number in range(count)]
