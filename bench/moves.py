"""What a move costs a tenant that goes on writing: the pause of its writes, and how slow they are beside it.

One tenant of 220,000 rows moves from a schema to a database of its own and back, on one server, while a writer inserts,
updates and deletes. Printed are the longest time between two commits (the pause), the 99th percentile of a transaction
before the move and during it outside of the pause, and whether every commit that was told to succeed is there.

With ``--tables`` it also has so many small ones: each is copied by a worker of its own, so they cost time by number.

    .venv/bin/python -m bench.moves [--rows 220000] [--seconds 5] [--tables 0]
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import itertools
import statistics
import time

from paybill.databases.pools import ensure_pool
from paybill.databases.server import Server
from tests.databases.moving import Writer, crowd, fill, job_to, logged, move, own
from tests.databases.servers import start
from tests.databases.tenancy import Tenant, pool, provision


async def main(rows: int, seconds: float, tables: int) -> None:
    """Make the tenant, measure it in peace, move it there and back, and print what was seen."""
    at = start("Superuser", 18)
    server = await Server.connect(at.admin_dsn, name="pool-1", installation="test-installation")
    schemas = pool("Schemas")
    home = dataclasses.replace(pool("Databases"), holds="Schemas")
    for where in (schemas, home):
        await ensure_pool(server, where)
    tenant = await provision(at, server, schemas)
    tenant.sql("CREATE TABLE notes (id int PRIMARY KEY, body text)", "mig_a")
    fill(tenant, rows // 3)
    crowd(tenant, tables)
    print(
        f"{rows // 3 * 3} rows in 3 tables, {tables} in as many, Postgres {server.traits.version // 10000}, fsync off"
    )
    with Writer(tenant) as writer:
        await asyncio.sleep(seconds)
        before = [end - begun for begun, end in writer.times]
        print(f"in peace: {len(before) / seconds:.0f} transactions/s, p50 {_ms(before, 50)}, p99 {_ms(before, 99)}")
        peace = _percentile(before, 99)
        tenant = await _one(writer, tenant, own(tenant), home, "schema to database", peace)
        tenant = await _one(writer, tenant, schemas, home, "database to schema", peace)
    there = logged(tenant)
    lost = [number for number in writer.committed if number not in there]
    print(f"{len(writer.committed)} commits were told to succeed, {len(lost)} of them are missing")
    await server.close()


async def _one(writer: Writer, tenant: Tenant, where: object, home: object, says: str, peace: float) -> Tenant:
    begun, first = time.monotonic(), len(writer.times)
    job = await job_to(tenant, where, home)  # type: ignore[arg-type]
    moved, done, mode = await move(job, tenant, writer)
    ended = time.monotonic()
    writer.wait_for(20)
    times = writer.times[max(0, first - 1) :]
    gaps = [(later[1] - earlier[1], earlier[1]) for earlier, later in itertools.pairwise(times)]
    pause, at = max(gaps)
    outside = [end - start for start, end in times if not at <= start <= at + pause]
    print(
        f"{says}: {mode}, {done.rows} rows in {ended - begun:.1f} s, writes paused for {pause:.2f} s; "
        f"outside p50 {_ms(outside, 50)}, p99 {_ms(outside, 99)}, {_percentile(outside, 99) / peace:.1f} times"
    )
    return moved


def _ms(values: list[float], percent: int) -> str:
    return f"{_percentile(values, percent) * 1000:.1f} ms"


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=220_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--tables", type=int, default=0)
    given = parser.parse_args()
    asyncio.run(main(given.rows, given.seconds, given.tables))
