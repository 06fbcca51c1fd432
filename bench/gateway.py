"""What an agent's get costs through the gateway, beside the same statement in the database alone.

The gateway is a process of its own; a client, the MCP SDK's own, asks over HTTP for one row by its key, one request
after the other on one connection, with run, step, budgets and journal. In turns with it, so that all see the same
machine: the row as the tenant's own program reads it, the gate alone, called by the agent's login, and a call of a
tool that there is not. fsync is on: each call's journal is on the disk before it is answered. The token's review is
left out; it is asked for twice a minute.

    .venv/bin/python -m bench.gateway [--calls 500]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from paybill.agents import opening
from paybill.agents.runs import FREE, Lead, open_run
from paybill.api.agent_workflow import AgentWorkflowSpec
from paybill.gateway import process
from paybill.gateway.process import Settings
from paybill.gateway.serving import Serving
from tests.agents import shop
from tests.agents.conftest import Scene, administrator, may, new_shop, scene_of
from tests.agents.gateway import mount
from tests.control.postgres import ThrowAwayPostgres
from tests.databases.servers import TestServer

LIMITS = {"connections": 5, "callsPerMinute": 100_000, "rowsReadPerDay": 10**9, "rowsWrittenPerDay": 10**9}
TOKEN = "a.bench.token"
RAW = f"SELECT id, customer_id, amount, status, notes, version FROM {shop.SCHEMA}.orders WHERE id = 2"
GATE = "SELECT pba_support.orders_get('{\"id\": 2}')"


async def serve(folder: Path) -> None:
    """The gateway's process; says its port and ends with its parent's word."""
    serving = Serving(folder, shop.TENANT)
    await serving.take_up()

    async def who(token: str) -> object:
        return serving.mounted.agents["support"] if token == TOKEN else None

    settings = Settings(
        folder=folder, tenant=shop.TENANT, audience="bench", hosts=("gateway.test",), port=0, metrics_port=0
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(15, stop.set)
    listening = lambda port, _: print(port, flush=True)  # noqa: E731
    await process.serve(settings, serving, who, stop=stop, listening=listening)  # type: ignore[arg-type]
    await serving.close()


async def main(calls: int) -> dict[str, float]:
    """Measure all in turns; milliseconds by what they are of."""
    found: dict[str, float] = {}
    postgres = ThrowAwayPostgres(fsync=True)
    at = TestServer(postgres, "Superuser", 18)
    try:
        with new_shop(at) as database, tempfile.TemporaryDirectory() as folder:
            scene = await scene_of(at, database, limits=LIMITS)
            await mount(Path(folder), scene, shop.policy(limits=LIMITS))
            budget = {"calls": 10**6, "rows_read": 10**9}
            run = await scene.run(may("get", calls=10**6, step=FREE), **budget)
            ways = [await led(scene) for _ in range(2)]
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.gateway", "--serve", folder, stdout=asyncio.subprocess.PIPE
            )
            assert child.stdout is not None
            port = int(await child.stdout.readline())
            headers = {"Authorization": f"Bearer {TOKEN}", "Host": "gateway.test"}
            async with (
                httpx2.AsyncClient(headers=headers) as http,
                Client(streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)) as client,
            ):
                with (
                    scene.login(shop.APP, "app") as app,
                    scene.agent(run, step=FREE) as agent,
                    scene.agent(ways[0], step=FREE) as leading,
                ):
                    given = {"run": str(run), "key": {"id": 2}}

                    async def raw() -> None:
                        app.execute(RAW)

                    async def gate() -> None:
                        agent.execute(GATE)

                    async def nothing() -> None:
                        assert (await client.call_tool("nothing", {})).is_error

                    async def get() -> None:
                        assert not (await client.call_tool("orders_get", given)).is_error

                    async def led_gate() -> None:
                        leading.execute(GATE)

                    async def led_get() -> None:
                        assert not (await client.call_tool("orders_get", {**given, "run": str(ways[1])})).is_error

                    work = (raw, gate, led_gate, nothing, get, led_get)
                    await _in_turns(20, *work)
                    for name, times in zip(
                        ("raw row", "gate alone", "gate alone, led", "no-op call", "get", "get, led"),
                        await _in_turns(calls, *work),
                        strict=True,
                    ):
                        print(f"{name}: {_figures(times)}")
                        cuts = statistics.quantiles(times, n=100)
                        found |= {f"{name} p50": cuts[49] * 1000, f"{name} p99": cuts[98] * 1000}
                    before = _cpu(child.pid)
                    await _in_turns(calls, get)
                    found["CPU"] = (_cpu(child.pid) - before) / calls * 1000
                    print(f"CPU of the gateway's process: {found['CPU']:.2f} ms a get")
            child.terminate()
            await child.wait()
    finally:
        postgres.remove()
    return found


async def led(scene: Scene) -> UUID:
    """A run that is led round and round through one step that reads, and that looks at what it read."""
    there = {"to": "load", "when": {"field": "$steps.load.version", "op": "gte", "value": "0"}}
    step = {"name": "load", "uses": "orders.get", "with": {"id": "$input.order"}, "maxCalls": 1000, "next": [there]}
    workflow = AgentWorkflowSpec.model_validate(
        {
            "input": {"order": "Integer"},
            "initial": "load",
            "steps": [step],
            "limits": {"maxSteps": 1000, "rowsRead": 10**6},
        }
    )
    run = uuid4()
    async with administrator(scene.at, scene.database) as admin:
        lead = Lead(workflow=workflow, input={"order": "2"})
        await open_run(admin, run, scene.role, lead, opening.budget(workflow), opening.grants(workflow))
    return run


async def _in_turns(calls: int, *work: Callable[[], Awaitable[None]]) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in work]
    for _ in range(calls):
        for one, into in zip(work, times, strict=True):
            begun = time.perf_counter()
            await one()
            into.append(time.perf_counter() - begun)
    return times


def _cpu(pid: int) -> float:
    """Seconds of processor time of a process, all of its threads."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _figures(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"p50 {cuts[49] * 1000:.2f} ms, p99 {cuts[98] * 1000:.2f} ms"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.calls) if arguments.serve is None else serve(arguments.serve))
