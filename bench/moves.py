"""What a move costs a tenant that goes on writing: the pause of its writes, and how slow they are beside it.

One tenant of 220,000 rows moves from a schema to a database of its own and back, on one server, while a writer, a
process of its own, inserts, updates and deletes. Printed are the longest time between two commits (the pause), the 99th
percentile of a transaction beside the moves and during them outside of the pause, and whether every commit that was
told to succeed is there.

With ``--tables`` it also has so many small ones. ``--copier Workers`` has the rows copied by the subscription, as those
of a tenant that is too large for a copy by the operator.

    .venv/bin/python -m bench.moves [--rows 220000] [--seconds 5] [--tables 0] [--copier Paybill]
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import itertools
import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection
from types import SimpleNamespace

import psycopg
from psycopg.conninfo import make_conninfo

from paybill.databases.pools import ensure_pool
from paybill.databases.server import Server
from paybill.moves.job import Copier
from tests.databases.moving import Writer, crowd, fill, job_to, logged, move, own
from tests.databases.servers import start
from tests.databases.tenancy import Tenant, pool, provision

Times = list[tuple[float, float]]


class App:
    """The tenant's program: a process of its own, which writes as fast as it is answered, wherever it is told."""

    def __init__(self, tenant: Tenant) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        with tenant.connect() as session:
            conninfo = make_conninfo(session.info.dsn, password=session.info.password)
        self._process = context.Process(target=_write, args=(conninfo, tenant.pool.name, theirs), daemon=True)
        self._process.start()
        self._ours.recv()

    @property
    def database(self) -> str:
        """Where it connects when it has to."""
        raise NotImplementedError

    @database.setter
    def database(self, name: str) -> None:
        self._ours.send(name)

    def stop(self) -> tuple[list[int], Times]:
        """The numbers that it was told are committed, and from when to when each transaction took."""
        self._ours.send(None)
        committed, times = self._ours.recv()
        self._process.join(30)
        return committed, times


def _write(conninfo: str, database: str, told: Connection) -> None:
    def connect(database: str) -> psycopg.Connection:
        return psycopg.connect(conninfo, dbname=database, autocommit=True, connect_timeout=5)

    tenant = SimpleNamespace(pool=SimpleNamespace(name=database), connect=connect)
    with Writer(tenant) as writer:  # type: ignore[arg-type]
        writer.wait_for(1)
        told.send(None)
        while (name := told.recv()) is not None:
            writer.database = name
    told.send((writer.committed, writer.times))


async def main(rows: int, seconds: float, tables: int, copier: Copier) -> None:
    """Make the tenant, measure it in peace, move it there and back, and print what was seen."""
    at = start("Superuser", 18, locks=64 + tables // 20)
    server = await Server.connect(at.admin_dsn, name="pool-1", installation="test-installation")
    schemas = pool("Schemas")
    home = dataclasses.replace(pool("Databases"), holds="Schemas")
    for where in (schemas, home):
        await ensure_pool(server, where)
    tenant = await provision(at, server, schemas)
    tenant.sql("CREATE TABLE notes (id int PRIMARY KEY, body text)", "mig_a")
    fill(tenant, rows // 3)
    crowd(tenant, tables)
    app = App(tenant)
    print(
        f"{rows // 3 * 3} rows in 3 tables, {tables} in as many, copied by {copier}, Postgres"
        f" {server.traits.version // 10000}, fsync off"
    )
    windows, moves = [await _rest(seconds)], []
    for where, says in ((own(tenant), "schema to database"), (schemas, "database to schema")):
        job, begun = await job_to(tenant, where, home), time.monotonic()
        tenant, done, mode = await move(job, tenant, app, copier)  # type: ignore[arg-type]
        moves.append((f"{says}: {mode}, {done.rows} rows", begun, time.monotonic()))
        await asyncio.sleep(1)
        windows.append(await _rest(seconds))
    committed, times = app.stop()
    _report(times, windows, moves)
    there = logged(tenant)
    print(f"{len(committed)} commits were told to succeed, {sum(one not in there for one in committed)} are missing")
    await server.close()


async def _rest(seconds: float) -> tuple[float, float]:
    begun = time.monotonic()
    await asyncio.sleep(seconds)
    return begun, time.monotonic()


def _report(times: Times, windows: Times, moves: list[tuple[str, float, float]]) -> None:
    """Peace is before, between and behind the moves: whatever else the machine does changes meanwhile."""
    peace = [end - begun for begun, end in times if any(first <= begun and end <= last for first, last in windows)]
    lasted = sum(last - first for first, last in windows)
    print(f"in peace: {len(peace) / lasted:.0f} transactions/s, p50 {_ms(peace, 50)}, p99 {_ms(peace, 99)}")
    for says, first, last in moves:
        during = [one for one in times if one[1] >= first and one[0] <= last + 1]
        gaps = [(later[1] - earlier[1], earlier[1]) for earlier, later in itertools.pairwise(during)]
        pause, at = max(gaps)
        outside = [end - begun for begun, end in during if not at <= begun <= at + pause]
        ratio = _percentile(outside, 99) / _percentile(peace, 99)
        print(
            f"{says} in {last - first:.1f} s, writes paused for {pause:.2f} s; outside"
            f" p50 {_ms(outside, 50)}, p99 {_ms(outside, 99)}, {ratio:.1f} times"
        )


def _ms(values: list[float], percent: int) -> str:
    return f"{_percentile(values, percent) * 1000:.1f} ms"


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=220_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--tables", type=int, default=0)
    parser.add_argument("--copier", choices=("Paybill", "Workers"), default="Paybill")
    given = parser.parse_args()
    asyncio.run(main(given.rows, given.seconds, given.tables, given.copier))
