"""How fast tenants are onboarded, and how near that is to the limit of the machine.

Two runs on two fresh control planes, one after the other: the operator onboards N tenants (compute Namespace, database
Schema without tables), and a bare loop makes the same objects by server-side apply and sends the same SQL, waiting for
the same thing (``status.hard`` seen). The second is the limit: no operator can be faster on this machine.

    python bench/onboarding.py --tenants 500 --json
    python bench/onboarding.py --tenants 100 --stock     # the controller-manager as Kubernetes ships it
    python bench/onboarding.py --lone 20                 # one tenant at a time
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

from paybill.api.plan import Plan
from paybill.api.tenant import Owner
from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.databases.credentials import new_password, scram_verifier
from paybill.databases.pools import ensure_pool
from paybill.databases.server import Limits, Server
from paybill.databases.tenants import ensure
from paybill.desired import handover, names, namespace, network, quota, rbac
from paybill.desired.database import PoolDatabase, TenantDatabase, pool_database_name
from paybill.desired.resource import Key
from paybill.local import bootstrap, controllers, running
from paybill.local.home import Home
from paybill.local.instance import Instance

CLIENTS = 16
"""Concurrent users, and concurrent writers of the bare loop: the operator's own number of workers."""
STOCK = {"controllers_qps": controllers.STOCK_QPS, "controllers_burst": controllers.STOCK_BURST}
OWNERS = [{"kind": "Group", "name": "bench-owners"}]
PLAN: dict[str, Any] = {
    "apiVersion": "paybill.dev/v1alpha1",
    "kind": "Plan",
    "metadata": {"name": "bench"},
    "spec": {
        "isolation": {"model": "Pooled", "compute": "Namespace", "database": "Schema"},
        "limits": {
            "quota": {"requests.cpu": "4", "limits.memory": "8Gi", "requests.storage": "50Gi", "pods": "40"},
            "database": {"connections": 10, "statementTimeout": "30s"},
        },
        "features": [{"name": "sso", "boolean": True}],
    },
}


@contextlib.asynccontextmanager
async def control_plane(*, stock: bool) -> AsyncIterator[Instance]:
    """A fresh control plane with an audit log, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="paybill-bench-"))
    instance = Instance(Home(folder / "bench"), audit_log=folder / "audit.log", **(STOCK if stock else {}))
    try:
        await instance.start(lambda line: click.echo(line, err=True))
        yield instance
    finally:
        await instance.stop()
        running.purge(instance.home)
        shutil.rmtree(folder, ignore_errors=True)


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

    async def run(self) -> None:
        async for _, version in self._cluster.list_pages(self._kind):
            since = version
        while True:
            async for event, obj in self._cluster.watch(self._kind, since=since):
                since = obj["metadata"]["resourceVersion"]
                name = self._good(obj) if event != "BOOKMARK" else None
                if name is not None:
                    self.at.setdefault(name, time.monotonic())
                    if len(self.at) >= self._expected:
                        self.complete.set()


def ready(tenant: dict[str, Any]) -> str | None:
    conditions = tenant.get("status", {}).get("conditions", [])
    good = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return tenant["metadata"]["name"] if good else None


def enforced(found: dict[str, Any]) -> str | None:
    hard = found["spec"].get("hard")
    good = hard is not None and found.get("status", {}).get("hard") == hard
    return found["metadata"]["namespace"] if good else None


def contract(name: str) -> list[dict[str, Any]]:
    meta = {"apiVersion": "paybill.dev/v1alpha1", "metadata": {"name": name}}
    return [
        {**meta, "kind": "Tenant", "spec": {"owners": OWNERS, "deletionPolicy": "Delete"}},
        {
            **meta,
            "kind": "Subscription",
            "spec": {
                "tenantRef": {"name": name},
                "planRef": {"name": "bench"},
                "payment": {"provider": "Manual", "paidUntilTime": "2099-01-01T00:00:00Z"},
            },
        },
    ]


async def operator_run(count: int, *, stock: bool, lone: bool) -> dict[str, Any]:
    """Apply N Tenants with Subscriptions and wait until every one is Ready."""
    async with control_plane(stock=stock) as instance:
        installed = await bootstrap.install(instance)
        await bootstrap.start_operator(instance, installed)
        process = operator_process(instance)
        async with open_session(instance.kubeconfig) as session:
            cluster = Cluster(session)
            await cluster.apply(PLAN, manager="bench")
            await settled(cluster)
            tenants = Watcher(cluster, "Tenant", ready, count)
            quotas = Watcher(cluster, "ResourceQuota", enforced, count)
            watchers = [asyncio.create_task(one.run()) for one in (tenants, quotas)]
            await asyncio.sleep(1.0)
            mark, before = instance.audit_log.stat().st_size, cpu_seconds(instance)  # type: ignore[union-attr]
            begun: dict[str, float] = {}

            async def apply(name: str) -> None:
                begun[name] = time.monotonic()
                for obj in contract(name):
                    await cluster.apply(obj, manager="bench")
                if lone:
                    while name not in tenants.at:
                        await asyncio.sleep(0.005)
                    await asyncio.sleep(0.2)

            started = time.monotonic()
            await spread([lambda n=n: apply(f"tenant-{n}") for n in range(count)], 1 if lone else CLIENTS)  # type: ignore[misc]
            async with asyncio.timeout(60 + count):
                await tenants.complete.wait()
                await quotas.complete.wait()
            ended = max(tenants.at.values())
            spent = {name: used - before[name] for name, used in cpu_seconds(instance).items()}
            places = {t["metadata"]["name"]: t["status"]["namespace"] for t in await cluster.list("Tenant")}
            for watcher in watchers:
                watcher.cancel()
        to_ready = [tenants.at[name] - begun[name] for name in begun]
        to_enforced = [quotas.at[places[name]] - begun[name] for name in begun]
        requests = requests_by_verb(instance.audit_log, mark)  # type: ignore[arg-type]
        return {
            "tenants_per_s": round(count / (ended - started), 1),
            "p50_s": quantile(to_ready, 0.5),
            "p95_s": quantile(to_ready, 0.95),
            "enforced_p50_s": quantile(to_enforced, 0.5),
            "enforced_p95_s": quantile(to_enforced, 0.95),
            "requests_per_tenant": {verb: round(number / count, 2) for verb, number in sorted(requests.items())},
            "cpu_ms_per_tenant": round(spent["operator"] * 1000 / count, 1),
            "cpu_ms_per_tenant_by_process": {name: round(used * 1000 / count, 1) for name, used in spent.items()},
            "rss_mb": round(process.memory_info().rss / 2**20),
        }


async def limit_run(count: int, *, stock: bool) -> dict[str, Any]:
    """The same objects and the same SQL by a bare loop; done when every quota is enforced."""
    async with control_plane(stock=stock) as instance, open_session(instance.kubeconfig) as session:
        await bootstrap.install(instance)
        cluster = Cluster(session)
        server, pool = await raw_pool(instance)
        plan = Plan.model_validate(PLAN)
        quotas = Watcher(cluster, "ResourceQuota", enforced, count)
        watcher = asyncio.create_task(quotas.run())
        await asyncio.sleep(0.5)

        async def make(number: int) -> None:
            identity = names.Identity(
                id=f"{number:08d}", tenant_name=f"tenant-{number}", tenant_uid=f"uid-{number}", installation="bench"
            )
            await cluster.apply(namespace.build(identity))
            desired = TenantDatabase(
                id=identity.id, uid=identity.tenant_uid, installation="bench", level="Schema", database=pool.name,
                access="Full", connections=10, statement_timeout_ms=30_000,
            )  # fmt: skip
            passwords = {login: new_password() for login in desired.login_names}
            verifiers = {login: scram_verifier(password) for login, password in passwords.items()}
            await asyncio.gather(
                ensure(server, pool, desired, passwords=verifiers),
                *(cluster.apply(obj) for obj in objects(identity, plan, passwords, pool.name)),
            )

        started = time.monotonic()
        await spread([lambda n=n: make(n) for n in range(count)])  # type: ignore[misc]
        async with asyncio.timeout(60 + count):
            await quotas.complete.wait()
        ended = max(time.monotonic(), *quotas.at.values())
        watcher.cancel()
        await server.close()
        return {"tenants_per_s": round(count / (ended - started), 1)}


def objects(identity: names.Identity, plan: Plan, passwords: dict[str, str], database: str) -> list[dict[str, Any]]:
    """What the operator makes in and for a tenant's namespace, but the namespace."""
    endpoint = handover.Endpoint(host="127.0.0.1", port=5432, database=database, sslmode="disable")
    space = names.namespace(identity.id)
    logins = dict(zip(("app", "ro", "mig"), passwords.items(), strict=True))
    return [
        quota.build(identity, plan.spec.limits.quota, quota.Pods.RUNNING),
        quota.build_limits(identity),
        network.build(identity, plan.spec.network, [("127.0.0.1", 5432)]),
        rbac.service_account(identity),
        rbac.operator(identity, "paybill-system", "paybill-operator"),
        rbac.owners(identity, [Owner.model_validate(one) for one in OWNERS]),
        handover.binding(identity, space, handover.binding_data(endpoint, *logins["app"])),
        handover.provider_binding(
            identity, "paybill-system", handover.provider_data(endpoint, {k: logins[k] for k in ("ro", "mig")})
        ),
        handover.entitlements(identity, space, "Active", "full", ()),
    ]


async def raw_pool(instance: Instance) -> tuple[Server, PoolDatabase]:
    server = await Server.connect(
        instance.postgres_dsn + "?sslmode=disable", name="bench", installation="bench", limits=Limits(in_flight=CLIENTS)
    )
    pool = PoolDatabase(
        server="bench", cell="bench", name=pool_database_name("bench", "bench"), holds="Schemas", installation="bench"
    )
    await ensure_pool(server, pool)
    return server, pool


async def settled(cluster: Cluster) -> None:
    """The Plan is known and the Cell is connected before the clock starts."""
    async with asyncio.timeout(30):
        while True:
            plan = await cluster.get(Key("Plan", "", "bench"))
            cell = await cluster.get(Key("Cell", "", "local"))
            if plan and cell and plan.get("status", {}).get("revision") and ready(cell):
                return
            await asyncio.sleep(0.05)


def operator_process(instance: Instance) -> psutil.Process:
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


def requests_by_verb(log: Path, since: int) -> Counter[str]:
    """The operator's requests from the API server's own audit log; Events apart, watches left out."""
    found: Counter[str] = Counter()
    with log.open() as lines:
        lines.seek(since)
        for line in lines:
            entry = json.loads(line)
            user = entry["user"]["username"]
            resource = entry.get("objectRef", {}).get("resource", "")
            if user.endswith(":paybill-operator") and entry["verb"] != "watch" and resource != "leases":
                found["event" if resource == "events" else entry["verb"]] += 1
    return found


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3)


@click.command()
@click.option("--tenants", default=500, show_default=True)
@click.option("--lone", default=0, help="Instead: this many tenants, each applied when the one before is Ready.")
@click.option("--stock", is_flag=True, help="The controller-manager's request rate as Kubernetes ships it (20/s).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def main(tenants: int, lone: int, stock: bool, as_json: bool) -> None:
    """Onboarding speed against the limit of the same machine in the same run."""
    count = lone or tenants
    result = asyncio.run(operator_run(count, stock=stock, lone=bool(lone)))
    result = {"tenants": count, "controller_manager_qps": 20 if stock else 300, **result}
    if not lone:
        result["limit"] = asyncio.run(limit_run(count, stock=stock))
        result["ratio_to_limit"] = round(result["tenants_per_s"] / result["limit"]["tenants_per_s"], 2)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        yaml.safe_dump(result, sys.stdout, sort_keys=False)


if __name__ == "__main__":
    main()
