"""An installation to be measured: a control plane with a Plan and a Cell that holds everybody, and the operator on it.

The operator runs as a process of its own with the settings of the chart, so that its Lease, memory and CPU are those
of a cluster; all that is known of it comes from outside.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import plane
import psutil
from plane import Requests, Watcher

from paybill.cluster import definitions
from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.desired.resource import Key
from paybill.local import bootstrap, ports
from paybill.local.bootstrap import Installed
from paybill.local.instance import Instance

CAPACITY = 1_000_000
SETTLE_SECONDS = 300.0
RESTING = 0.2
"""Seconds of CPU in a second of time below which a process has come to rest."""
ISOLATION = {"Schema": ("Namespace", "Schema"), "Rows": ("Shared", "Rows")}
SERVER = {"Schema": "schemas-1", "Rows": "rows-1"}


@dataclass
class Bench:
    """One control plane, the operator on it, and what is measured."""

    instance: Instance
    installed: Installed
    cluster: Cluster
    level: str
    port: int = 0
    made: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    """Further settings of the operator."""

    @property
    def process(self) -> psutil.Process:
        """The operator's process."""
        return plane.operator_process(self.instance)

    def requests(self) -> Requests:
        """A counter that begins now."""
        assert self.instance.audit_log is not None
        return Requests(self.instance.audit_log)

    async def start_operator(self) -> float:
        """Start the operator with the settings of the chart; returns when (monotonic seconds)."""
        self.port = ports.choose(["operator"], {})["operator"]
        environment = {
            "KUBECONFIG": str(self.installed.operator_kubeconfig),
            "PYTHONPATH": str(Path(__file__).parents[1] / "operator"),
            "PAYBILL_NAMESPACE": self.installed.settings.namespace,
            "PAYBILL_CONTROL_DATABASE_FILE": str(self.installed.control_file),
            "PAYBILL_METRICS_PORT": str(self.port),
            "PAYBILL_OPERATIONS_FOLDER": str(self.instance.home.path / "operations"),
            **self.environment,
        }
        began = time.monotonic()
        argv = [sys.executable, "-m", "paybill", "run"]
        await self.instance.supervise("operator", argv, environment, ready=self._leads, deadline=SETTLE_SECONDS)
        return began

    async def stop_operator(self) -> None:
        """Stop it as a rollout does."""
        child = next(child for child in self.instance.children if child.command.name == "operator")
        await child.stop()
        self.instance._children.remove(child)

    async def _leads(self) -> bool:
        try:
            async with aiohttp.ClientSession() as http, http.get(self._url("readyz")) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    def _url(self, what: str) -> str:
        return f"http://127.0.0.1:{self.port}/{what}"

    async def metrics(self) -> dict[str, float]:
        """Every sample of /metrics."""
        async with aiohttp.ClientSession() as http, http.get(self._url("metrics")) as answer:
            lines = (await answer.text()).splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    async def until_steady(self, tenants: int) -> None:
        """Wait until every tenant was looked at, nothing is left to do and the process rests (Kopf lists as well)."""
        async with asyncio.timeout(SETTLE_SECONDS):
            used = 0.0
            while True:
                found = await self.metrics()
                looked = sum(
                    value
                    for name, value in found.items()
                    if name.startswith('paybill_reconcile_duration_seconds_count{kind="Tenant"')
                )
                before, used = used, sum(self.process.cpu_times()[:2])
                if looked >= tenants and found["paybill_queue_length"] == 0 and used - before < RESTING:
                    return
                await asyncio.sleep(1.0)

    async def onboard(self, number: int) -> dict[str, Any]:
        """Apply new tenants at once and wait until all are Ready; what each costs."""
        names_ = [f"tenant-{self.made + n}" for n in range(number)]
        self.made += number
        watcher = Watcher(self.cluster, "Tenant", plane.ready, number)
        watcher.only(names_)
        watching = asyncio.create_task(watcher.run())
        await watcher.listening.wait()
        requests, before = self.requests(), plane.cpu_seconds(self.instance)
        began = time.monotonic()
        await plane.spread([lambda n=n: self.apply(n) for n in names_])  # type: ignore[misc]
        async with asyncio.timeout(60 + number):
            await watcher.complete.wait()
        took = time.monotonic() - began
        watching.cancel()
        await asyncio.sleep(2.0)  # the Plan is counted half a second later: that belongs to the cost
        spent = {name: used - before.get(name, 0.0) for name, used in plane.cpu_seconds(self.instance).items()}
        return {
            "operator_cpu_ms": round(spent["operator"] * 1000 / number, 1),
            "requests": round(sum(requests.by_verb().values()) / number, 2),
            "tenants_per_s": round(number / took, 1),
            "cpu_ms_by_process": {name: round(used * 1000 / number, 1) for name, used in spent.items()},
        }

    async def apply(self, name: str) -> None:
        """Apply one tenant as its provider does."""
        for obj in plane.contract(name, owners=self.level == "Schema"):
            await self.cluster.apply(obj, manager="bench")


@asynccontextmanager
async def bench(level: str, kept: Path | None) -> AsyncIterator[Bench]:
    """A control plane with a Plan and a Cell that holds everybody."""
    # A restarted API server reads ten thousand objects before it serves their kind.
    definitions.PATIENCE = SETTLE_SECONDS
    async with plane.control_plane(kept=kept) as instance:
        installed = await bootstrap.install(instance)
        async with open_session(instance.kubeconfig) as session:
            cluster = Cluster(session)
            cell = bootstrap.cell()
            for server in cell["spec"]["servers"]:
                server["capacity"] = {"rows": CAPACITY, "schemas": CAPACITY}
            await cluster.apply(cell, manager="paybill-local")
            if await cluster.get(Key("Plan", "", "bench")) is None:
                await cluster.apply(plane.plan("bench", *ISOLATION[level]), manager="bench")
            yield Bench(instance, installed, cluster, level)
