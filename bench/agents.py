"""What an agent's call costs in the database, beside the same statement of the tenant's own program, and by a gateway.

In turns, so that both see the same machine: a row by its key, twenty rows, and one row changed; as the tenant's login,
and through the gates of an agent with its run, step, budgets and journal. One session each, commits waited for (fsync
on). Printed are the median and the 99th percentile, and the ratio of the medians. Then a get over HTTP
(bench/gateway.py) on the same machine, again beside the row itself; which of the aims it meets; and the load at which
all of it was measured.

    .venv/bin/python -m bench.agents [--calls 500]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Callable

import psycopg

from bench import gateway
from tests.agents import shop
from tests.agents.conftest import may, new_shop, scene_of
from tests.control.postgres import ThrowAwayPostgres
from tests.databases.servers import TestServer

LIMITS = {"connections": 5, "callsPerMinute": 100_000, "rowsReadPerDay": 10**9, "rowsWrittenPerDay": 10**9}
CALLS: dict[str, tuple[str, str]] = {
    "a row by its key": (
        f"SELECT id, customer_id, amount, status, notes, version FROM {shop.SCHEMA}.orders WHERE id = 2",
        "SELECT pba_support.orders_get('{\"id\": 2}')",
    ),
    "twenty rows": (
        f"SELECT id, amount, status, notes, version FROM {shop.SCHEMA}.orders WHERE region = 'eu' ORDER BY id LIMIT 20",
        "SELECT pba_support.orders_list()",
    ),
    "one row changed": (
        f"UPDATE {shop.SCHEMA}.orders SET notes = 'x' WHERE id = 2 AND version = 1",
        "SELECT pba_support.orders_update('{\"id\": 2}', '{\"notes\": \"x\"}', '1')",
    ),
}


AIMS = {"get p50": 5.0, "get p99": 20.0, "gate alone p50": 1.0, "CPU": 2.0}
"""Milliseconds, on a machine that does nothing else."""


async def main(calls: int) -> None:
    """Both, one after the other."""
    begun = os.getloadavg()[0]
    await in_the_database(calls)
    print("over HTTP, by a gateway:")
    found = await gateway.main(calls)
    for name, aim in AIMS.items():
        print(f"{name}: {found[name]:.2f} ms, aim {aim:.0f} ms: {'met' if found[name] <= aim else 'not met'}")
    print(f"load {begun:.1f} before and {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} processors")


async def in_the_database(calls: int) -> None:
    """Let an agent into a shop, and measure both in turns."""
    process = ThrowAwayPostgres(fsync=True)
    at = TestServer(process, "Superuser", 18)
    try:
        with new_shop(at) as database:
            scene = await scene_of(at, database, limits=LIMITS)
            run = await scene.run(
                may("get", calls=10**6), may("list", 20, calls=10**6), may("update", calls=10**6),
                calls=10**6, rows_read=10**9, rows_written=10**9,
            )  # fmt: skip
            with scene.login(shop.APP, "app") as app, scene.agent(run) as agent:
                for name, (raw, gated) in CALLS.items():
                    _shown(name, *_in_turns(calls, lambda: app.execute(raw), lambda: agent.execute(gated)))  # noqa: B023
    finally:
        process.remove()


def _in_turns(calls: int, *work: Callable[[], psycopg.Cursor]) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in work]
    for _ in range(calls):
        for one, into in zip(work, times, strict=True):
            begun = time.perf_counter()
            one()
            into.append(time.perf_counter() - begun)
    return times


def _shown(name: str, raw: list[float], gated: list[float]) -> None:
    ratio = statistics.median(gated) / statistics.median(raw)
    print(f"{name}: raw {_figures(raw)}; through the gate {_figures(gated)}; {ratio:.1f} times")


def _figures(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"p50 {cuts[49] * 1000:.2f} ms, p99 {cuts[98] * 1000:.2f} ms"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=500)
    asyncio.run(main(parser.parse_args().calls))
