"""What the benchmarks have in common: a fresh control plane, its users, and what is read off it from outside.

Nothing here asks the operator about itself: requests are counted from the API server's own audit log, CPU and memory
by the kernel, and when an object is as it should be by a watch of our own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import click
import psutil
import yaml

from paybill.api.failures import Blocked
from paybill.cluster.client import Cluster
from paybill.desired.resource import Key
from paybill.local import controllers, running
from paybill.local.home import Home
from paybill.local.instance import Instance

CLIENTS = 16
"""Concurrent users, and concurrent writers of the bare loop: the operator's own number of workers."""
STOCK = {"controllers_qps": controllers.STOCK_QPS, "controllers_burst": controllers.STOCK_BURST}
OWNERS = [{"kind": "Group", "name": "bench-owners"}]
API_VERSION = "paybill.dev/v1alpha1"


def plan(name: str = "bench", compute: str = "Namespace", database: str = "Schema", pods: int = 40) -> dict[str, Any]:
    """A Plan as a small SaaS sells it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Plan",
        "metadata": {"name": name},
        "spec": {
            "isolation": {"model": "Pooled", "compute": compute, "database": database},
            "limits": {
                "quota": {
                    "requests.cpu": "4", "limits.memory": "8Gi", "requests.storage": "50Gi", "pods": str(pods)
                },
                "database": {"connections": 10, "statementTimeout": "30s"},
            },
            "features": [{"name": "sso", "boolean": True}],
        },
    }  # fmt: skip


def contract(name: str, plan_name: str = "bench", *, owners: bool = True) -> list[dict[str, Any]]:
    """A Tenant with its Subscription, paid for long ahead."""
    meta = {"apiVersion": API_VERSION, "metadata": {"name": name}}
    spec = {"deletionPolicy": "Delete"} | ({"owners": OWNERS} if owners else {})
    return [
        {**meta, "kind": "Tenant", "spec": spec},
        {
            **meta,
            "kind": "Subscription",
            "spec": {
                "tenantRef": {"name": name},
                "planRef": {"name": plan_name},
                "payment": {"provider": "Manual", "paidUntilTime": "2099-01-01T00:00:00Z"},
            },
        },
    ]


def say(line: str) -> None:
    """One line of progress."""
    click.echo(f"{time.strftime('%H:%M:%S')} {line}", err=True)


@contextlib.asynccontextmanager
async def control_plane(*, stock: bool = False, kept: Path | None = None) -> AsyncIterator[Instance]:
    """A control plane with an audit log: a fresh one that is removed afterwards, or the one of a ``kept`` folder."""
    folder = kept or Path(tempfile.mkdtemp(prefix="paybill-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    instance = Instance(Home(folder / "bench"), audit_log=folder / "audit.log", **(STOCK if stock else {}))
    try:
        await _start(instance, attempts=1 if kept is None else 3)
        yield instance
    finally:
        await instance.stop()
        if kept is None:
            running.purge(instance.home)
            shutil.rmtree(folder, ignore_errors=True)


async def _start(instance: Instance, attempts: int) -> None:
    """On a busy machine an API server may need longer than it is given to read ten thousand tenants from the disk."""
    for left in reversed(range(attempts)):
        try:
            await instance.start(say)
            return
        except Blocked as failure:
            if not left:
                raise
            say(f"once more: {failure.reason}")


async def spread(jobs: Iterable[Callable[[], Awaitable[None]]], clients: int = CLIENTS) -> None:
    """Run the jobs, ``clients`` at a time, in order."""
    queue = iter(jobs)

    async def client() -> None:
        for job in queue:
            await job()

    await asyncio.gather(*(client() for _ in range(clients)))


class Watcher:
    """Notes when each object of a kind first satisfies a test, by the clock of this process."""

    def __init__(
        self, cluster: Cluster, kind: str, good: Callable[[dict[str, Any]], str | None], expected: int
    ) -> None:
        self._cluster, self._kind, self._good, self._expected = cluster, kind, good, expected
        self.at: dict[str, float] = {}
        self.complete = asyncio.Event()
        self.listening = asyncio.Event()

    def only(self, names: Iterable[str]) -> None:
        """Count these objects and no others."""
        wanted, good = frozenset(names), self._good
        self._good = lambda obj: found if (found := good(obj)) in wanted else None

    async def run(self) -> None:
        async for _, version in self._cluster.list_pages(self._kind):
            since = version
        while True:
            self.listening.set()
            async for event, obj in self._cluster.watch(self._kind, since=since):
                since = obj["metadata"]["resourceVersion"]
                name = self._good(obj) if event != "BOOKMARK" else None
                if name is not None:
                    self.at.setdefault(name, time.monotonic())
                    if len(self.at) >= self._expected:
                        self.complete.set()


def ready(obj: dict[str, Any]) -> str | None:
    """The object's name once it is Ready."""
    conditions = obj.get("status", {}).get("conditions", [])
    good = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return obj["metadata"]["name"] if good else None


def enforced(found: dict[str, Any]) -> str | None:
    """The namespace of a quota that admission acts on."""
    hard = found["spec"].get("hard")
    good = hard is not None and found.get("status", {}).get("hard") == hard
    return found["metadata"]["namespace"] if good else None


async def settled(cluster: Cluster, plan_name: str = "bench") -> None:
    """The Plan is known and the Cell is connected before the clock starts."""
    async with asyncio.timeout(30):
        while True:
            known = await cluster.get(Key("Plan", "", plan_name))
            cell = await cluster.get(Key("Cell", "", "local"))
            if known and cell and known.get("status", {}).get("revision") and ready(cell):
                return
            await asyncio.sleep(0.05)


def operator_process(instance: Instance) -> psutil.Process:
    """The operator's process."""
    child = next(child for child in instance.children if child.command.name == "operator")
    return psutil.Process(child.pid)


def cpu_seconds(instance: Instance) -> dict[str, float]:
    """User and system time of each supervised process with its children, and of this one (users and watchers)."""
    found = {"bench": sum(psutil.Process().cpu_times()[:2])}
    for child in instance.children:
        root = psutil.Process(child.pid)
        # A child that has ended (a closed database session) is counted by its parent's children times.
        own = [sum(one.cpu_times()[:2]) for one in [root, *root.children(recursive=True)]]
        found[child.command.name] = sum(own) + sum(root.cpu_times()[2:4])
    return found


class Requests:
    """The operator's requests since ``mark``, from the API server's own audit log."""

    WRITES = frozenset({"create", "update", "patch", "delete"})

    def __init__(self, log: Path) -> None:
        self._log = log
        self.mark()

    def mark(self) -> None:
        """Count from now on."""
        self._since = self._log.stat().st_size

    def by_kind(self) -> Counter[tuple[str, str]]:
        """(verb, resource) → number; a subresource follows its resource after a slash."""
        found: Counter[tuple[str, str]] = Counter()
        with self._log.open() as lines:
            lines.seek(self._since)
            for line in lines:
                if not line.endswith("\n"):
                    break  # still being written
                entry = json.loads(line)
                if not entry["user"]["username"].endswith(":paybill-operator"):
                    continue
                # A watch is logged when it begins and when it ends: once is enough.
                if entry["stage"] != "ResponseComplete" and entry["verb"] == "watch":
                    continue
                target = entry.get("objectRef", {})
                resource = "/".join(filter(None, (target.get("resource", ""), target.get("subresource", ""))))
                found[entry["verb"], resource] += 1
        return found

    def by_verb(self) -> Counter[str]:
        """Verb → number; Events apart, watches and leadership left out."""
        found: Counter[str] = Counter()
        for (verb, resource), number in self.by_kind().items():
            if verb != "watch" and resource != "leases":
                found["event" if resource == "events" else verb] += number
        return found

    def writes(self) -> int:
        """Writes but of the Lease; Events among them."""
        return sum(n for (verb, resource), n in self.by_kind().items() if verb in self.WRITES and resource != "leases")


def quantile(values: list[float], share: float) -> float:
    """The value that ``share`` of them do not exceed, in seconds to the millisecond."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3)


def show(result: dict[str, Any], *, as_json: bool) -> None:
    """The figures on standard output: JSON for programs, YAML for people."""
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        yaml.safe_dump(result, sys.stdout, sort_keys=False)
