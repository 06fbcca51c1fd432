"""What operations of engines cost, and in which order they come, with an operator that is killed in between.

A few Silo tenants get their servers for real (engine Embedded); then they are looked at over and over, which must start
no process. Then many Silo tenants come at once to a Cell in which every change needs a person's word: each needs one
preview, a worker process of its own, with four places for all of them. Half of them pay, half are in trial.

    python bench/operations.py --silos 5 --queue 200 --json
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import click
import plane
import psycopg
from plane import Watcher, say

from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from paybill.desired.resource import Key
from paybill.local import bootstrap, ports
from paybill.local.bootstrap import Installed
from paybill.local.instance import Instance

PLACES = 4
LOOKS = 40
"""How often each steady tenant is looked at."""
QUEUE_CELL = "queue"


def silo(name: str, trial: int = 0) -> dict[str, Any]:
    """A Plan with a database server of the tenant's own."""
    plan = plane.plan(name)
    spec = plan["spec"] | {"isolation": {"model": "Silo"}, "trialDays": trial}
    return {**plan, "spec": spec | {"limits": {**spec["limits"], "database": {"connections": 5}}}}


async def run(silos: int, queue: int) -> dict[str, Any]:
    """All phases, in order."""
    async with plane.control_plane() as instance:
        installed = await bootstrap.install(instance)
        await bootstrap.start_keeper(instance)
        await _start_operator(instance, installed)
        async with open_session(instance.kubeconfig) as session:
            cluster = Cluster(session)
            await cluster.apply(silo("paying"), manager="bench")
            await cluster.apply(silo("trial", 14), manager="bench")
            result = {"silos": silos} | await _silos(cluster, silos)
            result |= await _steady(instance, installed, cluster, silos)
            return result | {"queue": queue, "places": PLACES} | await _queue(instance, installed, cluster, queue)


async def _start_operator(instance: Instance, installed: Installed) -> None:
    port = ports.choose(["operator"], {})["operator"]
    environment = {
        "KUBECONFIG": str(installed.operator_kubeconfig),
        "PYTHONPATH": str(Path(__file__).parents[1] / "operator"),
        "PAYBILL_CONTROL_DATABASE_FILE": str(installed.control_file),
        "PAYBILL_METRICS_PORT": str(port),
        "PAYBILL_EMBEDDED_HOME": str(instance.home.servers),
        "PAYBILL_OPERATIONS_FOLDER": str(instance.home.path / "operations"),
    }

    async def leads() -> bool:
        try:
            async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    argv = [sys.executable, "-m", "paybill", "run"]
    await instance.supervise("operator", argv, environment, ready=leads)


async def _silos(cluster: Cluster, count: int) -> dict[str, Any]:
    names = [f"silo-{number}" for number in range(count)]
    watcher = Watcher(cluster, "Tenant", plane.ready, count)
    watcher.only(names)
    watching = asyncio.create_task(watcher.run())
    await watcher.listening.wait()
    began = time.monotonic()
    for name in names:
        for obj in plane.contract(name, "paying"):
            await cluster.apply(obj, manager="bench")
    async with asyncio.timeout(60 + 20 * count):
        await watcher.complete.wait()
    watching.cancel()
    times = [watcher.at[name] - began for name in names]
    say(f"{count} silos Ready: first {min(times):.1f} s, last {max(times):.1f} s")
    return {"silo_first_s": round(min(times), 2), "silo_last_s": round(max(times), 2)}


async def _steady(instance: Instance, installed: Installed, cluster: Cluster, count: int) -> dict[str, Any]:
    """Look at every tenant again and again: what that costs the operator, and how many operations it started."""
    await asyncio.sleep(3.0)
    before, operations = plane.cpu_seconds(instance), await _count(installed)
    for look in range(LOOKS):
        for number in range(count):
            await cluster.annotate(Key("Tenant", "", f"silo-{number}"), {"bench.example.com/look": str(look)})
        await asyncio.sleep(0.05)
    await asyncio.sleep(2.0)
    spent = plane.cpu_seconds(instance)["operator"] - before["operator"]
    return {
        "noop_operator_cpu_ms": round(spent * 1000 / (LOOKS * count), 2),
        "noop_operations": await _count(installed) - operations,
    }


async def _count(installed: Installed) -> int:
    async with await psycopg.AsyncConnection.connect(installed.control_file.read_text()) as connection:
        row = await (await connection.execute("SELECT count(*) FROM paybill.operations")).fetchone()
    return int(row[0]) if row is not None else 0


async def _queue(instance: Instance, installed: Installed, cluster: Cluster, count: int) -> dict[str, Any]:
    """Many at once, the operator killed in the middle: each preview runs once, those who pay come first."""
    base = bootstrap.cell()
    cell = {**base, "metadata": {"name": QUEUE_CELL}}
    cell["spec"] = {
        **base["spec"],
        "default": False,
        "limits": {"operations": PLACES},
        "approval": [{"model": "Silo", "policy": "Required"}],
    }
    await cluster.apply(cell, manager="bench")
    began = time.monotonic()
    await plane.spread([lambda n=n: _apply(cluster, n) for n in range(count)])  # type: ignore[misc]
    killed = False
    async with asyncio.timeout(120 + 5 * count):
        while True:
            done = await _ended(installed)
            if not killed and len(done) > count // 3:
                killed = True
                say(f"{len(done)} of {count} done: the operator is killed")
                plane.operator_process(instance).kill()
            if len(done) >= count:
                break
            await asyncio.sleep(0.5)
    took = time.monotonic() - began
    order = [tier for _, tier in done]
    half = order[: count // 2]
    return {
        "queue_s": round(took, 1),
        "queue_per_s": round(count / took, 2),
        "paying_in_first_half": round(half.count("Paying") / max(1, len(half)), 2),
        "tenants_previewed": len({tenant for tenant, _ in done}),
        "previews": len(done),
        "most_at_once": await _most_at_once(installed),
    }


async def _apply(cluster: Cluster, number: int) -> None:
    tenant, subscription = plane.contract(f"queued-{number}", "paying" if number % 2 else "trial")
    tenant["spec"]["cellRef"] = {"name": QUEUE_CELL}
    if not number % 2:
        subscription["spec"]["payment"] = {"provider": "Manual"}
    await cluster.apply(tenant, manager="bench")
    await cluster.apply(subscription, manager="bench")


async def _ended(installed: Installed) -> list[tuple[str, str]]:
    """The tenants whose preview succeeded, in that order, each with its class."""
    async with await psycopg.AsyncConnection.connect(installed.control_file.read_text()) as connection:
        found = await connection.execute(
            "SELECT tenant_id, tier FROM paybill.operations WHERE cell = %s AND kind = 'preview'"
            " AND state = 'Succeeded' ORDER BY started_time, queued_time",
            (QUEUE_CELL,),
        )
        return list(await found.fetchall())


async def _most_at_once(installed: Installed) -> int:
    """The most operations that ran at the same moment, by the control database."""
    async with await psycopg.AsyncConnection.connect(installed.control_file.read_text()) as connection:
        found = await connection.execute(
            "SELECT max((SELECT count(*) FROM paybill.operations b WHERE b.cell = a.cell"
            " AND b.started_time <= a.started_time AND b.ended_time > a.started_time))"
            " FROM paybill.operations a WHERE a.cell = %s",
            (QUEUE_CELL,),
        )
        row = await found.fetchone()
    return int(row[0] or 0) if row is not None else 0


@click.command()
@click.option("--silos", default=5, show_default=True, help="Tenants that get a server for real.")
@click.option("--queue", default=200, show_default=True, help="Tenants that come at once and wait for a place.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(*, silos: int, queue: int, as_json: bool) -> None:
    """Measure operations of engines."""
    result = asyncio.run(run(silos, queue))
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        click.echo(f"{name:26} {value}")


if __name__ == "__main__":
    main()
