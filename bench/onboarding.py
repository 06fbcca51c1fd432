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
import time
from typing import Any

import click
import plane
from plane import CLIENTS, OWNERS, Requests, Watcher

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
from paybill.local import bootstrap
from paybill.local.instance import Instance

PLAN = plane.plan()


async def operator_run(count: int, *, stock: bool, lone: bool) -> dict[str, Any]:
    """Apply N Tenants with Subscriptions and wait until every one is Ready."""
    async with plane.control_plane(stock=stock) as instance:
        installed = await bootstrap.install(instance)
        await bootstrap.start_operator(instance, installed)
        process = plane.operator_process(instance)
        async with open_session(instance.kubeconfig) as session:
            cluster = Cluster(session)
            await cluster.apply(PLAN, manager="bench")
            await plane.settled(cluster)
            tenants = Watcher(cluster, "Tenant", plane.ready, count)
            quotas = Watcher(cluster, "ResourceQuota", plane.enforced, count)
            watchers = [asyncio.create_task(one.run()) for one in (tenants, quotas)]
            await asyncio.sleep(1.0)
            requests, before = Requests(instance.audit_log), plane.cpu_seconds(instance)  # type: ignore[arg-type]
            begun: dict[str, float] = {}

            async def apply(name: str) -> None:
                begun[name] = time.monotonic()
                for obj in plane.contract(name):
                    await cluster.apply(obj, manager="bench")
                if lone:
                    while name not in tenants.at:
                        await asyncio.sleep(0.005)
                    await asyncio.sleep(0.2)

            started = time.monotonic()
            await plane.spread([lambda n=n: apply(f"tenant-{n}") for n in range(count)], 1 if lone else CLIENTS)  # type: ignore[misc]
            async with asyncio.timeout(60 + count):
                await tenants.complete.wait()
                await quotas.complete.wait()
            ended = max(tenants.at.values())
            spent = {name: used - before[name] for name, used in plane.cpu_seconds(instance).items()}
            places = {t["metadata"]["name"]: t["status"]["namespace"] for t in await cluster.list("Tenant")}
            for watcher in watchers:
                watcher.cancel()
        to_ready = [tenants.at[name] - begun[name] for name in begun]
        to_enforced = [quotas.at[places[name]] - begun[name] for name in begun]
        return {
            "tenants_per_s": round(count / (ended - started), 1),
            "p50_s": plane.quantile(to_ready, 0.5),
            "p95_s": plane.quantile(to_ready, 0.95),
            "enforced_p50_s": plane.quantile(to_enforced, 0.5),
            "enforced_p95_s": plane.quantile(to_enforced, 0.95),
            "requests_per_tenant": {
                verb: round(number / count, 2) for verb, number in sorted(requests.by_verb().items())
            },
            "cpu_ms_per_tenant": round(spent["operator"] * 1000 / count, 1),
            "cpu_ms_per_tenant_by_process": {name: round(used * 1000 / count, 1) for name, used in spent.items()},
            "rss_mb": round(process.memory_info().rss / 2**20),
        }


async def limit_run(count: int, *, stock: bool) -> dict[str, Any]:
    """The same objects and the same SQL by a bare loop; done when every quota is enforced."""
    async with plane.control_plane(stock=stock) as instance, open_session(instance.kubeconfig) as session:
        await bootstrap.install(instance)
        cluster = Cluster(session)
        server, pool = await raw_pool(instance)
        plan = Plan.model_validate(PLAN)
        quotas = Watcher(cluster, "ResourceQuota", plane.enforced, count)
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
        await plane.spread([lambda n=n: make(n) for n in range(count)])  # type: ignore[misc]
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
    plane.show(result, as_json=as_json)


if __name__ == "__main__":
    main()
