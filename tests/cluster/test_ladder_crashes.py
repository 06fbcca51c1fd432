"""The operator ends at any effect of the last steps of a contract: into the archive, out of it, and to the last backup.

Whatever it was doing, all of the data is somewhere: in its database, or in a backup that is proved. What was proved
before stays the proof, nothing is destroyed twice, and whoever comes next arrives where an undisturbed one does.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.cluster import samples
from tests.cluster.api import Api, Object, holds
from tests.cluster.bench import Bench, points, steady
from tests.cluster.customers import Customers, may_connect, secret
from tests.cluster.faults import Fault, Faults, When
from tests.cluster.journeys import PAID, Journey, Road
from tests.cluster.picture import Postgres
from tests.cluster.remains import gone
from tests.cluster.running import Operator
from tests.cluster.waiting import until

SETTINGS = {"lease_seconds": 60.0}
"""It is given up when the operator ends, and a machine that is busy with other tests must not end it."""
SECONDS = 120.0
SIDES: tuple[When, ...] = ("before", "after")
LADDER = {"graceDays": 1, "endAfterDays": 2, "retainDays": 0, "archiveDays": 30}
"""Who has not paid for long is archived at once, so that no clock must be moved for it."""
UNPAID: Object = {"spec": {"payment": {"paidUntilTime": samples.moment(days=90)}}}
ROWS = 50
LATE = "who lets a tenant back in and ends right then leaves its backup without a last day for longer than is waited"
"""Known, and no loss: the backup is kept for too long and not for too short."""
BY_LUCK = {
    "patch tenantbackups/status", "patch tenantrestores/status", "patch tenants/status", "patch subscriptions/status",
}  # fmt: skip
"""How often it is said how far something is depends on how long that takes."""


class LadderRoad(Road):
    """Where contracts come to their end."""

    async def make_plans(self) -> None:
        await self.customers.plan(self.plan, self.compute, self.database, payment=LADDER)


async def _served(road: Road, name: str) -> None:
    """A tenant with data."""
    await road.customers.api.apply(samples.tenant(name), samples.subscription(name, road.plan))
    customer = await road.customers.ready(name, seconds=SECONDS)
    provider = await secret(road.customers.api, samples.OPERATOR_NAMESPACE, f"t-{customer.id}-db-provider")
    async with await psycopg.AsyncConnection.connect(provider["mig-uri"], autocommit=True) as session:
        await session.execute("CREATE TABLE notes (id int PRIMARY KEY)")
        await session.execute("INSERT INTO notes SELECT generate_series(1, %s)" % ROWS)  # type: ignore[arg-type]  # noqa: UP031


async def _stop_paying(road: Road, name: str) -> None:
    await road.customers.api.edit("Subscription", name, UNPAID)


async def _in_phase(road: Road, name: str, phase: str) -> None:
    """The contract is there, and its Tenant has been told so."""
    await road.customers.phase(name, phase, seconds=SECONDS)
    reason = "Provisioned" if phase == "Active" else phase

    def told(one: Object) -> bool:
        return any(said["type"] == "Ready" and said["reason"] == reason for said in one["status"]["conditions"])

    await road.customers.until(name, told, seconds=SECONDS)


async def _archived(road: Road, name: str) -> None:
    await _in_phase(road, name, "Archived")


async def _put_away(road: Road, name: str) -> None:
    await _served(road, name)
    await _stop_paying(road, name)
    await _archived(road, name)


async def _let_days_pass(road: Road, name: str) -> None:
    operator = road.customers.operator
    operator.clock.offset += timedelta(days=31)
    operator.look_at("Tenant", name)


async def _deleted(road: Road, name: str) -> None:
    await _in_phase(road, name, "Deleted")
    for backup in await finals(road.customers.api, name):
        await until(
            lambda one=backup: gone(road.customers.api, "TenantBackup", one["metadata"]["name"]), seconds=SECONDS
        )


async def _pay(road: Road, name: str) -> None:
    await road.customers.api.edit("Subscription", name, PAID)


async def _back(road: Road, name: str) -> None:
    """Served again, its restore over, and the backup of its archive has got a last day."""
    await road.customers.until(name, lambda one: holds(one, "Ready", "Provisioned"), seconds=SECONDS)
    await _in_phase(road, name, "Active")
    (backup,) = await finals(road.customers.api, name)
    known = backup["metadata"]["name"]
    await road.customers.until(f"{known}-back", lambda one: holds(one, "Ready"), kind="TenantRestore", seconds=SECONDS)
    await road.customers.until(known, lambda one: "expireTime" in one["spec"], kind="TenantBackup", seconds=SECONDS)


ARCHIVING = Journey("archiving", _served, _stop_paying, _archived, runs=False)
DELETION = Journey("deletion of the last backup", _put_away, _let_days_pass, _deleted, runs=False)
RETURN = Journey("return from the archive", _put_away, _pay, _back)


async def finals(api: Api, name: str) -> list[Object]:
    """The final backups that there are of a tenant."""
    return [one for one in await api.list("TenantBackup") if one["spec"]["tenantRef"]["name"] == name]


@dataclass
class LadderBench(Bench):
    """Looks for the data whenever a process ends."""

    proofs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The UID of the backup that was proved when a process ended, and since when it is."""

    async def cut_off(self, name: str) -> None:
        proved = [one for one in await finals(self.api, name) if one.get("status", {}).get("verifiedTime")]
        whole = [one for one in proved if one["status"]["rows"] == ROWS]
        assert whole or await self._rows(name) == ROWS or self.journey is DELETION, "neither here nor there"
        if whole:
            self.proofs[name] = (whole[0]["metadata"]["uid"], whole[0]["status"]["verifiedTime"])

    async def kept(self, name: str) -> None:
        """What came of its data, and that what was proved before is the proof now."""
        found = await finals(self.api, name)
        assert len(found) == (0 if self.journey is DELETION else 1)
        if found:
            assert found[0]["status"]["rows"] == ROWS
            proof = (found[0]["metadata"]["uid"], found[0]["status"]["verifiedTime"])
            assert self.proofs.get(name, proof) == proof
        if self.journey is RETURN:
            assert await self._rows(name) == ROWS
        row = await self.road.control.execute("SELECT archive FROM paybill.tenants WHERE tenant_name = %s", (name,))
        assert await row.fetchone() == (found[0]["metadata"]["name"] if self.journey is ARCHIVING else None,)

    async def same(self, name: str, wanted: Any, after: str) -> None:
        await super().same(name, wanted, after)
        await self.kept(name)

    async def logs_in(self, name: str, tenant_id: str, after: str) -> None:
        """With its Secret's word: a server that is busy may let it wait, a word that is not the role's never works."""
        found = await secret(self.api, f"t-{tenant_id}", f"t-{tenant_id}-db")

        async def as_it_should() -> bool:
            return (bool(found) and await may_connect(found)) == self.journey.runs

        await until(as_it_should, otherwise=after)

    async def _rows(self, name: str) -> int:
        """What the tenant's schema holds, asked of Postgres."""
        row = await (
            await self.road.control.execute(
                "SELECT id, pool_database FROM paybill.tenants WHERE tenant_name = %s", (name,)
            )
        ).fetchone()
        assert row is not None
        dsn = make_conninfo(self.postgres.info.dsn, password=self.postgres.info.password, dbname=row[1])
        async with await psycopg.AsyncConnection.connect(dsn) as session:
            try:
                found = await (await session.execute(f"SELECT count(*) FROM t_{row[0]}.notes")).fetchone()  # type: ignore[arg-type]
            except psycopg.errors.UndefinedTable:
                return 0
        return int(found[0]) if found else 0


@pytest.fixture(scope="module")
def crashed() -> set[int]:
    return set()


@pytest.fixture
async def bench(
    api: Api, customers: Customers, operator: Operator, postgres: Postgres, control: Postgres, control_dsn: str,
    journey: Journey, crashed: set[int],
) -> AsyncIterator[LadderBench]:  # fmt: skip
    faults = Faults(operator.end_soon)
    operator.stop()
    operator.doors = faults.doors
    operator.start()
    road = LadderRoad(customers, control, "Namespace", "Schema")
    await road.make_plans()
    await customers.quiet()
    yield LadderBench(road, journey, operator, faults, api, postgres, control_dsn, crashed, seconds=SECONDS)
    faults.arm()


WORST = [
    pytest.param(ARCHIVING, Fault("control update paybill.tenants", 1, "after"), id="noted-and-nothing-dropped"),
    pytest.param(
        DELETION, Fault("control insert into paybill.subscription_facts", 1, "after"), id="deleted-and-half-noted"
    ),
]


@pytest.mark.parametrize(("journey", "fault"), WORST)
async def test_the_worst_moments_of_the_end(journey: Journey, fault: Fault, bench: LadderBench) -> None:
    name = await bench.start_out(fault)
    await until(lambda: bench.faults.happened, seconds=SECONDS)
    bench.crashed.add(bench.operator.world.epoch)
    bench.operator.crash()
    await bench.cut_off(name)

    bench.operator.start()

    await journey.arrive(bench.road, name)
    await bench.settled(name)
    await bench.kept(name)
    spent = "SELECT count(DISTINCT object) FROM paybill.audit_log WHERE action = 'tenant.drop' AND tenant_id = %s"
    (tenant_id,) = await bench.ids(name)
    assert await (await bench.road.control.execute(spent, (tenant_id,))).fetchone() == (1,)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "journey",
    [ARCHIVING, DELETION, pytest.param(RETURN, marks=pytest.mark.xfail(reason=LATE))],
    ids=lambda one: one.name.replace(" ", "-"),
)
async def test_the_operator_may_end_before_and_after_every_effect_of_the_ladder(
    journey: Journey, bench: LadderBench, capsys: pytest.CaptureFixture[str]
) -> None:
    await bench.undisturbed()  # the first of a cell makes what all share
    wanted, effects = await bench.undisturbed()
    # It is made and filled as others are: there, after each of them will do.
    sides = SIDES if journey is not RETURN else ("after",)
    found = [Fault(*point, when) for point in points(effects) for when in sides]
    with capsys.disabled():
        sys.stdout.write(f"{len(effects)} effects, {len(found)} crashes: {', '.join(effects)}\n")

    missed = [fault.name for fault in found if not await bench.spoil(fault, wanted)]

    assert set(steady(missed, bench.journey)) <= BY_LUCK
    bench.operator.stop()
    assert bench.unfinished() == []
