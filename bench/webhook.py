"""What a signed event of Stripe's costs the webhook receiver, with its commit: events per second of its own CPU.

The receiver is a process of its own with a role of its own, as the chart runs it; clients send distinct signed events
over kept connections. Its CPU is read from /proc before and after, so neither the clients nor Postgres count.

    python bench/webhook.py --events 5000 --json
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import click
import plane
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from stripe import WebhookSignature

from paybill.control.database import ControlDatabase
from paybill.control.inbox import let_in

SECRET = "whsec_bench"
ROLE = "bench_webhook"
DATABASE = "bench_inbox"
CLIENTS = 16
TICKS = os.sysconf("SC_CLK_TCK")


def body(number: int) -> bytes:
    """An event of the size that a subscription's has."""
    items = {"data": [{"id": "si_1", "price": {"id": "price_1"}, "quantity": 1, "filling": "x" * 2000}]}
    found = {"id": f"sub_{number}", "object": "subscription", "customer": f"cus_{number}", "items": items}
    event = {"id": f"evt_{secrets.token_hex(12)}", "type": "customer.subscription.updated", "livemode": False,
             "created": int(time.time()), "data": {"object": found}}  # fmt: skip
    return json.dumps(event).encode()


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used, its own and the kernel's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextlib.asynccontextmanager
async def receiver(dsn: str, folder: Path) -> AsyncIterator[tuple[int, str]]:
    """A receiver that listens: its pid and where."""
    (folder / "signing").write_text(SECRET)
    environment = {
        **os.environ, "PAYBILL_CONTROL_DATABASE_URL": dsn, "PAYBILL_STRIPE_SIGNING_FILE": str(folder / "signing"),
        "PAYBILL_STRIPE_LIVE": "false", "PAYBILL_LOG_FORMAT": "text",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "paybill", "webhook", env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        while b"events on port" not in (line := await asyncio.wait_for(process.stderr.readline(), 60)):
            assert line, "the receiver did not start"
        yield process.pid, f"http://127.0.0.1:{int(line.split(b'events on port ')[1].split()[0])}/stripe"
    finally:
        process.terminate()
        await process.wait()


async def measure(dsn: str, events: int) -> dict[str, Any]:
    made = [body(number) for number in range(events)]
    took: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        async with receiver(dsn, Path(name)) as (pid, url), aiohttp.ClientSession() as http:

            async def send(content: bytes) -> None:
                signature = WebhookSignature.generate_signature_header(content.decode(), SECRET)
                headers = {"Content-Type": "application/json", "Stripe-Signature": signature}
                began = time.perf_counter()
                async with http.post(url, data=content, headers=headers) as answer:
                    assert answer.status == 200, await answer.text()
                took.append(time.perf_counter() - began)

            await send(body(events))  # connections and imports are not what is measured
            before, began = cpu(pid), time.perf_counter()
            waiting = iter(made)

            async def client() -> None:
                for content in waiting:
                    await send(content)

            await asyncio.gather(*(client() for _ in range(CLIENTS)))
            used, seconds = cpu(pid) - before, time.perf_counter() - began
    took.sort()
    return {
        "events": events,
        "per_cpu_second": round(events / used),
        "cpu_ms": round(1000 * used / events, 2),
        "per_second": round(events / seconds),
        "p50_ms": round(1000 * took[len(took) // 2], 1),
        "p99_ms": round(1000 * took[int(len(took) * 0.99)], 1),
    }


async def run(events: int) -> dict[str, Any]:
    async with plane.control_plane() as instance:
        with psycopg.connect(instance.postgres_dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'bench'").format(sql.Identifier(ROLE)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        dsn = make_conninfo(instance.postgres_dsn, dbname=DATABASE, sslmode="disable")
        control = await ControlDatabase.open(dsn, application_name="bench")
        await control.migrate()
        await let_in(control, ROLE)
        found = await measure(make_conninfo(dsn, user=ROLE, password="bench"), events)
        async with control.session() as session:
            row: Any = await (await session.execute("SELECT count(*) FROM paybill.inbox")).fetchone()
        await control.close()
    assert row[0] == events + 1, "each event is in the inbox once"
    return found


@click.command()
@click.option("--events", default=5000, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(*, events: int, as_json: bool) -> None:
    """Send signed events to a webhook receiver and count what they cost it."""
    found = asyncio.run(run(events))
    click.echo(json.dumps(found) if as_json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
