"""What a tenant costs in Postgres at each level, against the same SQL by hand, and how that grows with their number.

Paybill and the limit take turns on the same server, a tenant each, so that a noisy moment meets both. The limit is a
bare session that sends the very statements that make the same roles, schema and grants in one script; at level Database
it creates a database, closes it, and makes in it what every database of Paybill has. Server is not here: there the time
is that of starting a Postgres (bench/operations.py).

    python bench/databases.py --tenants 1000 --json
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
import string
import time
from typing import Any

import click
import plane
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier, Literal

from paybill.databases.credentials import new_password, scram_verifier
from paybill.databases.leader import announce
from paybill.databases.pools import ensure_pool
from paybill.databases.server import Server
from paybill.databases.tenants import ensure, plan
from paybill.desired import sql_names as names
from paybill.desired.database import ObservedDatabase, PoolDatabase, TenantDatabase, pool_database_name

LEVELS = ("Rows", "Schema", "Database")
INSTALLATION = "bench"


def new_id() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))


def pool_for(level: str, tenant_id: str) -> PoolDatabase:
    name = names.tenant_database(tenant_id) if level == "Database" else pool_database_name("bench", level)
    holds = "Rows" if level == "Rows" else "Schemas"
    subject = f"uid-{tenant_id}" if level == "Database" else "pool"
    return PoolDatabase(level, "bench", name, holds, INSTALLATION, subject)  # type: ignore[arg-type]


def tenant_for(level: str, tenant_id: str, pool: PoolDatabase) -> TenantDatabase:
    kind = "Rows" if level == "Rows" else "Schema"
    return TenantDatabase(
        id=tenant_id, uid=f"uid-{tenant_id}", installation=INSTALLATION, level=kind,  # type: ignore[arg-type]
        database=pool.name, access="Full", connections=20, statement_timeout_ms=30_000, temp_files_kb=1_048_576,
    )  # fmt: skip


async def by_paybill(server: Server, level: str) -> float:
    """Seconds to make one tenant as the operator does."""
    tenant_id = new_id()
    pool = pool_for(level, tenant_id)
    tenant = tenant_for(level, tenant_id, pool)
    verifiers = {login: scram_verifier(new_password()) for login in tenant.login_names}
    began = time.perf_counter()
    if level == "Database":
        await ensure_pool(server, pool)
        await announce(server, pool, 1)
    outcome = await ensure(server, pool, tenant, passwords=verifiers, expect_absent=True)
    assert outcome.created
    return time.perf_counter() - began


async def by_hand(server: Server, dsn: str, session: psycopg.AsyncConnection[Any], level: str) -> float:
    """Seconds for the same SQL in a bare session; ``session`` is open on the pool, or on any database."""
    tenant_id = new_id()
    pool = pool_for(level, tenant_id)
    tenant = tenant_for(level, tenant_id, pool)
    verifiers = {login: scram_verifier(new_password()) for login in tenant.login_names}
    script = SQL("BEGIN; {}; COMMIT").format(
        SQL("; ").join(one.sql for one in plan(tenant, ObservedDatabase(tenant_id, server.traits), verifiers))
    )
    began = time.perf_counter()
    if level != "Database":
        await session.execute(script)
        return time.perf_counter() - began
    name = Identifier(pool.name)
    await session.execute(SQL("CREATE ROLE {} NOLOGIN").format(name))
    await session.execute(SQL("CREATE DATABASE {} OWNER pb_admin TEMPLATE template0 ENCODING 'UTF8'").format(name))
    await session.execute(
        SQL(
            "REVOKE ALL ON DATABASE {0} FROM PUBLIC; GRANT CONNECT ON DATABASE {0} TO {0};"
            " COMMENT ON ROLE {0} IS {1}; COMMENT ON DATABASE {0} IS {1}"
        ).format(name, Literal(pool.mark))
    )
    async with await psycopg.AsyncConnection.connect(make_conninfo(dsn, dbname=pool.name), autocommit=True) as inside:
        await inside.execute(
            SQL(
                "CREATE SCHEMA ext AUTHORIZATION pb_admin; CREATE SCHEMA paybill AUTHORIZATION pb_admin;"
                " GRANT USAGE ON SCHEMA ext TO {}; REVOKE ALL ON SCHEMA public FROM PUBLIC;"
                " CREATE TABLE paybill.leader (epoch bigint PRIMARY KEY); INSERT INTO paybill.leader VALUES (1)"
            ).format(name)
        )
        await inside.execute(script)
    return time.perf_counter() - began


async def level_run(server: Server, dsn: str, level: str, count: int, seconds: float) -> dict[str, Any]:
    """N tenants of one level by each, in turns; as many as there were when ``seconds`` are over."""
    if level != "Database":
        pool = pool_for(level, new_id())
        await ensure_pool(server, pool)
        await announce(server, pool, 1)
        dsn = make_conninfo(dsn, dbname=pool.name)
    ours, limit = [], []
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as session:
        size = "SELECT sum(pg_database_size(oid)) FROM pg_database"
        before = (await (await session.execute(size)).fetchone() or (0,))[0]
        ends = time.monotonic() + seconds
        for number in range(count):
            if time.monotonic() > ends:
                plane.say(f"{level}: {seconds:.0f} s are over after {number} of {count}")
                break
            limit.append(await by_hand(server, dsn, session, level))
            ours.append(await by_paybill(server, level))
            if number % 100 == 99:
                plane.say(f"{level}: {number + 1} of {count}, {1000 * sum(ours[-100:]) / 100:.1f} ms each")
        after = (await (await session.execute(size)).fetchone() or (0,))[0]
    count = len(ours)
    part = max(1, min(100, count // 4))
    return {
        "tenants": count,
        "total_s": round(sum(ours), 1),
        "p50_ms": round(1000 * plane.quantile(ours, 0.5), 1),
        "p95_ms": round(1000 * plane.quantile(ours, 0.95), 1),
        "limit_p50_ms": round(1000 * plane.quantile(limit, 0.5), 1),
        "limit_total_s": round(sum(limit), 1),
        "ratio_p50": round(plane.quantile(ours, 0.5) / plane.quantile(limit, 0.5), 2),
        "first_p50_ms": round(1000 * plane.quantile(ours[:part], 0.5), 1),
        "last_p50_ms": round(1000 * plane.quantile(ours[-part:], 0.5), 1),
        "limit_first_p50_ms": round(1000 * plane.quantile(limit[:part], 0.5), 1),
        "limit_last_p50_ms": round(1000 * plane.quantile(limit[-part:], 0.5), 1),
        "kb_per_tenant": round(int(after - before) / 1024 / (2 * count), 1),
    }


async def run(levels: tuple[str, ...], count: int, seconds: float) -> dict[str, Any]:
    """Every level on one fresh server."""
    async with plane.control_plane() as instance:
        dsn = make_conninfo(instance.postgres_dsn, sslmode="disable")
        server = await Server.connect(dsn, name="bench", installation=INSTALLATION)
        try:
            # The groups that all levels share exist before anything is timed.
            await ensure_pool(server, dataclasses.replace(pool_for("Schema", new_id()), name="pb_pool_000000000000"))
            return {level: await level_run(server, dsn, level, count, seconds) for level in levels}
        finally:
            await server.close()


@click.command()
@click.option("--tenants", default=1000, show_default=True)
@click.option("--level", "levels", multiple=True, type=click.Choice(LEVELS), help="Only these.  [default: all]")
@click.option("--at-most", "seconds", default=1200.0, show_default=True, help="Seconds for each level.")
@click.option("--json", "as_json", is_flag=True)
def main(*, tenants: int, levels: tuple[str, ...], seconds: float, as_json: bool) -> None:
    """What a tenant costs in Postgres, against the same SQL by hand."""
    found = asyncio.run(run(levels or LEVELS, tenants, seconds))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for level, figures in found.items():
        click.echo(f"{level}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
