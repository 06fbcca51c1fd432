"""What a move costs a tenant that goes on writing: the pause of its writes, and how slow they are beside it.

One tenant of 220,000 rows moves from a schema to a database of its own and back, on one server, while a writer inserts,
updates and deletes. Printed are the longest time between two commits (the pause), the 99th percentile of a transaction
before the move and during it outside of the pause, and whether every commit that was told to succeed is there.

    .venv/bin/python -m bench.moves [--rows 220000] [--seconds 5]
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
from tests.databases.moving import Writer, fill, job_to, logged, move, own
from tests.databases.servers import start
from tests.databases.tenancy import Tenant, pool, provision


async def main(rows: int, seconds: float) -> None:
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
    print(f"{rows // 3 * 3} rows in 3 tables, Postgres {server.traits.version // 10000}, fsync off")
    with Writer(tenant) as writer:
        await asyncio.sleep(seconds)
        before = [end - begun for begun, end in writer.times]
        print(f"in peace: {len(before) / seconds:.0f} transactions/s, p50 {_ms(before, 50)}, p99 {_ms(before, 99)}")
        tenant = await _one(writer, tenant, own(tenant), home, "schema to database")
        tenant = await _one(writer, tenant, schemas, home, "database to schema")
    there = logged(tenant)
    lost = [number for number in writer.committed if number not in there]
    print(f"{len(writer.committed)} commits were told to succeed, {len(lost)} of them are missing")
    await server.close()


async def _one(writer: Writer, tenant: Tenant, where: object, home: object, says: str) -> Tenant:
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
        f"outside p50 {_ms(outside, 50)}, p99 {_ms(outside, 99)}"
    )
    return moved


def _ms(values: list[float], percent: int) -> str:
    return f"{statistics.quantiles(values, n=100)[percent - 1] * 1000:.1f} ms"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=220_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    asyncio.run(main(given.rows, given.seconds))
