"""The leading process is killed again and again, at moments nobody chose, while many tenants change.

Another one stands by at the Lease, as a second replica does. In the end everybody is as they want to be, as if nothing
had happened.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import sys
from functools import partial
from pathlib import Path

import psycopg
import pytest

from paybill.audit.chain import verify
from paybill.audit.reading import rows
from paybill.local.bootstrap import Installed
from tests.cluster.api import Api
from tests.cluster.bench import PASSING, differences
from tests.cluster.crowd import Crowd, doubles, leaks, pictures
from tests.cluster.customers import Customers
from tests.cluster.faults import Faults, kind_of
from tests.cluster.journeys import BOTH, Road
from tests.cluster.picture import Postgres
from tests.cluster.processes import Process
from tests.cluster.running import Operator
from tests.cluster.waiting import until

SETTINGS = {"lease_seconds": 3.0}
LONGEST_LIFE = 2.0
"""Seconds that a leader lives at most."""
TAKEOVER, CONVERGES = 60.0, 120.0


class Replicas:
    """Two processes of the operator: one leads, the other one stands by."""

    def __init__(self, operator: Operator, installed: Installed, log: Path) -> None:
        self._start = partial(Process.started, operator.settings, installed.operator_kubeconfig, log)
        self._led: dict[asyncio.Task[str], Process] = {}

    async def fill_up(self) -> None:
        """Start what is missing."""
        while len(self._led) < 2:
            process = await self._start()
            self._led[asyncio.create_task(process.said(None))] = process

    async def leader(self) -> asyncio.Task[str]:
        """Wait until one of them leads."""
        done, _ = await asyncio.wait(self._led, timeout=TAKEOVER, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == ["leads"], "one ended by itself, or nobody leads"
        return done.pop()

    async def kill_the_leader(self) -> None:
        await self._led.pop(await self.leader()).end(signal.SIGKILL)

    async def end(self) -> None:
        """The one that stands by first, or it would lead for a moment."""
        for task, process in sorted(self._led.items(), key=lambda one: one[0].done()):
            task.cancel()
            await process.end(signal.SIGTERM)
        self._led.clear()


@pytest.mark.parametrize(
    ("rounds", "tenants"), [(5, 20), pytest.param(50, 100, marks=pytest.mark.exhaustive)], ids=["short", "long"]
)
async def test_nothing_is_lost_leaked_or_doubled(
    rounds: int, tenants: int, api: Api, customers: Customers, operator: Operator, installed: Installed,
    postgres: Postgres, control: Postgres, control_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    seed = int(os.environ.get("PAYBILL_TEST_SEED", secrets.randbelow(1_000_000)))
    roads = [Road(customers, control, *levels) for levels in BOTH]
    for road in roads:
        await road.make_plans()
    operator.stop()
    before = set(await leaks(api, postgres, control, operator.settings.installation))
    crowd = Crowd(api, roads, tenants, seed)
    living = asyncio.create_task(crowd.live())
    replicas, moments = Replicas(operator, installed, tmp_path / "operators.log"), random.Random(seed)
    try:
        for _ in range(rounds):
            await replicas.fill_up()
            await replicas.leader()
            await asyncio.sleep(moments.uniform(0, LONGEST_LIFE))
            await replicas.kill_the_leader()
        await replicas.fill_up()
        crowd.rest()
        await living
        await crowd.arrived(CONVERGES)
    finally:
        living.cancel()
        await replicas.end()
    with psycopg.connect(control_dsn) as connection:
        report = verify(rows(connection))
    with capsys.disabled():
        said = ", ".join(f"{count} × {what}" for what, count in sorted(crowd.changes.items()))
        cut_off = len(report.unfinished)
        sys.stdout.write(f"seed {seed}: {rounds} kills; {said}; {report.rows} rows of audit, {cut_off} steps cut off\n")
    assert report.problems == ()
    after = await leaks(api, postgres, control, operator.settings.installation)
    assert [one for one in after if one not in before] == [], "other modules' tenants are no leaks of this one's"
    assert await doubles(control) == []
    for group, (first, *others) in (await pictures(crowd, postgres, control)).items():
        unlike = [differences(first, other) for other in others if other != first]
        assert unlike == [], f"{group}: {unlike}"
    await nothing_is_left_to_do(operator, crowd)


async def nothing_is_left_to_do(operator: Operator, crowd: Crowd) -> None:
    """One more start finds everything as it should be, and writes nothing."""
    faults = Faults(operator.end_soon)
    operator.doors = faults.doors
    operator.start()
    faults.arm()
    await until(lambda: operator.idle)
    # The contract of a Tenant that is gone is told so when it is not young any more.
    told = {f"patch subscriptions/status {member.name}" for member in crowd.members if member.over}
    assert [name for name in faults.seen if kind_of(name) not in PASSING and name not in told] == []
