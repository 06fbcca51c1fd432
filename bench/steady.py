"""What thousands of tenants cost while nothing happens, at a start, and when one Plan is edited.

Tenants are onboarded by the operator up to about a hundred; the others are copies of one of them (seeding.py), on
which the operator then starts for the first time. What is asked and written is read off the API server's audit log.

    python bench/steady.py --tenants 10000 --json
    python bench/steady.py --tenants 1000 --level Rows      # compute Shared, database Rows
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import click
import plane
from installation import ISOLATION, SERVER, Bench, bench
from plane import Requests, Watcher, say
from seeding import recount, seed

from paybill.desired.resource import Key

FIRST = 100
"""Tenants that the operator has onboarded before costs are measured for the first time."""
MEASURED = 100
"""New tenants whose cost is measured, at the start and at N."""
PATIENCE = 120.0
"""Seconds after which a lone tenant that is not Ready counts as having taken so long."""


async def run(count: int, level: str, idle_seconds: float, fanout_seconds: float, kept: Path | None) -> dict[str, Any]:
    """All phases, in order."""
    async with bench(level, kept) as one:
        prepared = kept / "prepared.json" if kept is not None else None
        if prepared is not None and prepared.exists():
            at_start = json.loads(prepared.read_text())
            total = len(await one.cluster.list("Tenant"))
            one.made = total
        else:
            at_start, total = await _prepare(one, count)
            if prepared is not None:
                prepared.write_text(json.dumps(at_start))
        result: dict[str, Any] = {"tenants": total, "level": level}
        result["load_average"] = [round(load, 1) for load in os.getloadavg()]
        result |= {f"cold_start_{name}": value for name, value in (await _start(one, total)).items()}
        result |= await _idle(one, idle_seconds)
        await one.stop_operator()
        result |= {f"restart_{name}": value for name, value in (await _start(one, total)).items()}
        at_n = await one.onboard(MEASURED)
        say(f"cost at {total}: {at_n}")
        ratios = {name: round(at_n[name] / at_start[name], 2) for name in ("operator_cpu_ms", "requests")}
        result["cost_per_tenant"] = {"at_100": at_start, "at_n": at_n, "ratio": ratios}
        if fanout_seconds:
            result["fanout"] = await _fan_out(one, fanout_seconds)
        return result


async def _prepare(one: Bench, count: int) -> tuple[dict[str, Any], int]:
    """Onboard the first tenants, measure the cost of a few more, then copy one until there are ``count``."""
    await one.start_operator()
    await plane.settled(one.cluster)
    say(f"onboarding {FIRST} tenants, then {MEASURED} whose cost is measured")
    await one.onboard(FIRST)
    at_start = await one.onboard(MEASURED)
    say(f"cost at {FIRST}: {at_start}")
    await _counted(one, one.made)
    await one.stop_operator()
    more = max(0, count - one.made)
    await seed(one.instance, one.installed.control_file.read_text(), "tenant-0", more, "seeded")
    await recount(one.instance, "bench", {SERVER[one.level]: more})
    return at_start, one.made + more


async def _counted(one: Bench, tenants: int) -> None:
    """The Cell counts its tenants once a minute: wait for it, so that the copies' count is right."""
    async with asyncio.timeout(120):
        while True:
            cell = await one.cluster.get(Key("Cell", "", "local"))
            plan = await one.cluster.get(Key("Plan", "", "bench"))
            assert cell is not None
            assert plan is not None
            if cell["status"]["tenants"] == plan["status"]["updated"] == tenants:
                return
            await asyncio.sleep(1.0)


async def _start(one: Bench, tenants: int) -> dict[str, Any]:
    """Start the operator on what there is and wait until it is steady."""
    requests = one.requests()
    began = await one.start_operator()
    leading = time.monotonic() - began
    await one.until_steady(tenants)
    took = time.monotonic() - began
    memory = one.process.memory_info().rss / 2**20
    found = {
        "s": round(took, 1),
        "leading_s": round(leading, 1),
        "writes": requests.writes(),
        "requests": sum(requests.by_kind().values()),
        "cpu_s": round(sum(one.process.cpu_times()[:2]), 1),
        "rss_mb": round(memory),
    }
    say(f"start among {tenants}: {found}")
    if found["writes"]:
        say(f"  {requests.by_kind()}")
    return found


async def _idle(one: Bench, seconds: float) -> dict[str, Any]:
    """Nothing happens for a while; per minute."""
    await asyncio.sleep(5.0)
    requests, before, began = one.requests(), plane.cpu_seconds(one.instance), time.monotonic()
    await asyncio.sleep(seconds)
    minutes = (time.monotonic() - began) / 60
    by_kind = requests.by_kind()
    renewals = sum(n for (verb, what), n in by_kind.items() if what == "leases" and verb in Requests.WRITES)
    spent = {name: (used - before[name]) * 1000 for name, used in plane.cpu_seconds(one.instance).items()}
    found = {
        "idle_requests_per_min": round(sum(by_kind.values()) / minutes, 1),
        "idle_writes_per_min": round(requests.writes() / minutes, 2),
        "lease_renewals_per_min": round(renewals / minutes, 1),
        "rss_mb": round(one.process.memory_info().rss / 2**20),
        "cpu_ms_per_min": round(spent["operator"] / minutes),
        "idle_cpu_ms_per_min_by_process": {name: round(used / minutes) for name, used in spent.items()},
        "idle_requests": {f"{verb} {what}": n for (verb, what), n in sorted(by_kind.items())},
    }
    say(f"idle: {found}")
    return found


async def _fan_out(one: Bench, seconds: float) -> dict[str, Any]:
    """Edit the Plan all tenants are on, and meanwhile apply lone new ones, each when the one before is Ready."""
    watcher = Watcher(one.cluster, "Tenant", plane.ready, 10**9)
    watching = asyncio.create_task(watcher.run())
    await watcher.listening.wait()
    began, lone, waves = time.monotonic(), [], []
    pods = 41 + int(time.time()) % 1000
    await one.cluster.apply(plane.plan("bench", *ISOLATION[one.level], pods=pods), manager="bench")
    while (now := time.monotonic() - began) < seconds:
        status = (await one.cluster.get(Key("Plan", "", "bench")) or {})["status"]
        waves.append(
            (round(now), status["updated"], status["tenants"], (status.get("rollout") or {}).get("inProgress"))
        )
        say(f"  fan-out {waves[-1]}, lone tenant {lone[-1] if lone else None}")
        if status["updated"] == status["tenants"] and now > 10 and not status.get("rollout"):
            break
        name = f"lone-{pods}-{len(lone)}"
        applied = time.monotonic()
        await one.apply(name)
        while name not in watcher.at and time.monotonic() - applied < PATIENCE:
            await asyncio.sleep(0.005)
        lone.append(watcher.at.get(name, applied + PATIENCE) - applied)
        await asyncio.sleep(2.0)
    watching.cancel()
    return {
        "lone_tenants": len(lone),
        "lone_ready_p50_s": plane.quantile(lone, 0.5),
        "lone_ready_p95_s": plane.quantile(lone, 0.95),
        "lone_ready_max_s": round(max(lone), 3),
        "rolled_out": waves[-1][1],
        "of": waves[-1][2],
        "seconds": waves[-1][0],
        "waves": waves[:: max(1, len(waves) // 20)],
    }


@click.command()
@click.option("--tenants", default=1000, show_default=True)
@click.option("--level", type=click.Choice(list(ISOLATION)), default="Schema", show_default=True)
@click.option("--idle-seconds", default=180.0, show_default=True, help="How long to watch an idle installation.")
@click.option("--fanout-seconds", default=300.0, show_default=True, help="How long to follow a Plan's edit; 0: not.")
@click.option(
    "--kept",
    type=click.Path(path_type=Path),
    help="Keep the control plane here; begin with the one that is here, whose Cell is then told once anew.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def main(
    tenants: int, level: str, idle_seconds: float, fanout_seconds: float, kept: Path | None, as_json: bool
) -> None:
    """Costs of a steady installation, of a start, and of a Plan's edit."""
    result = asyncio.run(run(tenants, level, idle_seconds, fanout_seconds, kept))
    plane.show(result, as_json=as_json)


if __name__ == "__main__":
    main()
