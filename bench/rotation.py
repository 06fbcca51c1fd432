"""What a rotation of logins costs: transactions that fail under load, and the time until the new login is handed out.

A tenant's app is a pool of clients that read the Secret, connect, do a few transactions and begin anew. Its logins are
rotated over and over meanwhile, each time until the old ones are closed. Then the logins of many tenants are rotated at
once.

    python bench/rotation.py --rotations 20 --tenants 100 --json
"""

from __future__ import annotations

import asyncio
import base64
import json
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import click
import plane
import psycopg
from installation import Bench, bench
from plane import say

from paybill.cluster.client import Cluster
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.local import bootstrap

CLIENTS = 8
TRANSACTIONS = 20
"""After so many a client reads the Secret anew and connects again."""
OVERLAP = "3s"
"""Clients need less than that for their transactions."""
APP = "app"


@dataclass
class Load:
    """The app: what it was told to have succeeded, and what failed."""

    cluster: Cluster
    secret: Key
    failed: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)

    async def binding(self) -> str:
        """The connection string that the Secret holds now."""
        found = await self.cluster.get(self.secret)
        return base64.b64decode(found["data"]["uri"]).decode() if found is not None else ""

    async def client(self) -> None:
        """Transactions without end."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(await self.binding(), autocommit=True) as session:
                    for _ in range(TRANSACTIONS):
                        began = time.monotonic()
                        await session.execute("INSERT INTO visits DEFAULT VALUES")
                        self.took.append(time.monotonic() - began)
            except psycopg.Error as error:
                self.failed.append(f"{type(error).__name__}: {error}")


async def run(rotations: int, tenants: int) -> dict[str, Any]:
    """Both phases."""
    async with bench("Schema", None) as made:
        cell = bootstrap.cell()
        cell["spec"]["rotation"] = {"minOverlap": OVERLAP, "maxOverlap": "1h"}
        await made.cluster.apply(cell, manager="paybill-local")
        await made.start_operator()
        await plane.settled(made.cluster)
        await made.onboard(tenants)
        return await _under_load(made, rotations) | await _at_once(made, tenants)


async def _under_load(made: Bench, rotations: int) -> dict[str, Any]:
    tenant = await _status(made.cluster, "tenant-0")
    provider = await made.cluster.get(Key("Secret", "paybill-system", names.provider_binding(tenant["id"])))
    assert provider is not None
    uri = base64.b64decode(provider["data"]["mig-uri"]).decode()
    async with await psycopg.AsyncConnection.connect(uri, autocommit=True) as session:
        await session.execute(
            "CREATE TABLE visits (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT now())"
        )
    load = Load(made.cluster, Key("Secret", tenant["namespace"], names.binding(tenant["id"])))
    alone = await _transactions(load, asyncio.sleep(10.0))
    times: list[tuple[float, float]] = []

    async def rotate() -> None:
        times.extend([await _rotated(made.cluster, "tenant-0", f"{number}") for number in range(rotations)])

    during = await _transactions(load, rotate())
    handed, closed = [one[0] for one in times], [one[1] for one in times]
    say(f"{rotations} rotations, {during['transactions']} transactions, {len(load.failed)} failed")
    for failure in load.failed[:5]:
        say(failure)
    return {
        "rotations": rotations,
        "clients": CLIENTS,
        "failed": len(load.failed),
        "alone": alone,
        "during": during,
        "handed_over_p50_s": round(statistics.median(handed), 3),
        "handed_over_slowest_s": round(max(handed), 3),
        "old_closed_p50_s": round(statistics.median(closed), 3),
    }


async def _transactions(load: Load, meanwhile: Any) -> dict[str, Any]:
    """How many transactions the app does, and how long they take, while something else happens."""
    load.took.clear()
    clients = [asyncio.create_task(load.client()) for _ in range(CLIENTS)]
    await meanwhile
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    took = sorted(load.took)
    p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
    return {"transactions": len(took), "p50_ms": round(p50 * 1000, 2), "p99_ms": round(p99 * 1000, 2)}


async def _rotated(cluster: Cluster, name: str, word: str) -> tuple[float, float]:
    """Rotate all logins of a tenant; seconds until the new ones are handed out, and until the old ones are closed."""
    before = (await _status(cluster, name))["credentials"][APP]["slot"]
    began = time.monotonic()
    await cluster.annotate(Key("Tenant", "", name), {names.ROTATE_ANNOTATION: word})
    handed = None
    async with asyncio.timeout(120):
        while True:
            credentials = (await _status(cluster, name))["credentials"]
            if handed is None and credentials[APP]["slot"] != before:
                handed = time.monotonic() - began
            if handed is not None and not any("previousUntilTime" in credentials[kind] for kind in (APP, "ro", "mig")):
                return handed, time.monotonic() - began
            await asyncio.sleep(0.02)


async def _at_once(made: Bench, tenants: int) -> dict[str, Any]:
    """The logins of many tenants, asked for at the same moment."""
    wanted = [f"tenant-{number}" for number in range(1, tenants)]
    before = {name: (await _status(made.cluster, name))["credentials"][APP]["slot"] for name in wanted}
    spent = plane.cpu_seconds(made.instance)["operator"]
    began = time.monotonic()

    async def ask(name: str) -> None:
        await made.cluster.annotate(Key("Tenant", "", name), {names.ROTATE_ANNOTATION: "all"})

    await plane.spread([lambda name=name: ask(name) for name in wanted])  # type: ignore[misc]
    async with asyncio.timeout(60 + tenants):
        while any([(await _status(made.cluster, name))["credentials"][APP]["slot"] == before[name] for name in wanted]):
            await asyncio.sleep(0.2)
    took = time.monotonic() - began
    cpu = plane.cpu_seconds(made.instance)["operator"] - spent
    return {
        "at_once": len(wanted),
        "at_once_s": round(took, 2),
        "at_once_operator_cpu_ms": round(cpu * 1000 / len(wanted), 1),
    }


async def _status(cluster: Cluster, name: str) -> dict[str, Any]:
    found = await cluster.get(Key("Tenant", "", name))
    status: dict[str, Any] = (found or {})["status"]
    return status


@click.command()
@click.option("--rotations", type=int, default=20, show_default=True)
@click.option("--tenants", type=int, default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(*, rotations: int, tenants: int, as_json: bool) -> None:
    """Measure."""
    result = asyncio.run(run(rotations, tenants))
    click.echo(
        json.dumps(result, indent=2) if as_json else "\n".join(f"{key}: {value}" for key, value in result.items())
    )


if __name__ == "__main__":
    main()
