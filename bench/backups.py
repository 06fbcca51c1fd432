"""What a backup, its proof and a restore cost beside bare pg_dump and pg_restore, in the same run on the same server.

One tenant of 220,000 rows per level. ``dump``: counted, dumped, sealed and stored in a folder. ``verify``: restored to
a scratch database and compared. ``restore``: prepared, then exchanged (``shut out`` is how long the app is). The bare
programs dump the same tables as a superuser into a file, and restore that file into an empty database.

    .venv/bin/python -m bench.backups [--rows 220000] [--json]
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
from psycopg.conninfo import conninfo_to_dict

from paybill.backups import restore as restoring
from paybill.backups import tools
from paybill.backups.restoring import Restore, Target
from paybill.backups.store import DirectoryStore
from paybill.databases.pools import ensure_pool
from paybill.databases.server import Server
from tests.databases.backing import KEYRING, LONGEST, no_fence, proved, take
from tests.databases.moving import fill, own
from tests.databases.servers import TestServer, start
from tests.databases.tenancy import Tenant, pool, provision, share_tables

LEVELS: Final = ("Rows", "Schema", "Database")
AIM: Final = 3.0
"""How many times the dump the proof may take."""


async def measure(rows: int) -> dict[str, Any]:
    """Make a tenant at each level and take the times."""
    at = start("Superuser", 18)
    server = await Server.connect(at.admin_dsn, name="pool-1", installation="test-installation")
    try:
        levels = {level: await _level(at, server, level, rows) for level in LEVELS}
    finally:
        await server.close()
    load = os.getloadavg()[0]
    return {"rows": rows, "postgres": server.traits.release, "load": load, "aim": AIM, "levels": levels}


async def _level(at: TestServer, server: Server, level: str, rows: int) -> dict[str, float]:
    tenant = await _tenant(at, server, level, rows)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        raw_dump, raw_restore = await _raw(at, server, tenant, here)
        dump, known = await _timed(take(tenant, here))
        verify, _ = await _timed(proved(tenant, here))
        target = Target(server=server, pool=tenant.pool, tenant=tenant.id, uid=tenant.desired.uid)
        restore = Restore(
            job="bench", store=DirectoryStore(here), keyring=KEYRING, known=known, target=target, fence=no_fence,
            longest=LONGEST,
        )  # fmt: skip
        prepare, _ = await _timed(restoring.prepare(restore))
        reached: dict[str, float] = {}
        begun = time.monotonic()
        await restoring.switch(replace(restore, reached=lambda step: reached.update({step: time.monotonic()})))
        switch, shut_out = time.monotonic() - begun, reached["switched"] - reached["close"]
        await tenant.ensure(access="Full")
        finish, _ = await _timed(restoring.finish(restore))
    return {
        "raw dump": raw_dump, "raw restore": raw_restore, "dump": dump, "verify": verify,
        "restore": prepare + switch + finish, "shut out": shut_out,
    }  # fmt: skip


async def _tenant(at: TestServer, server: Server, level: str, rows: int) -> Tenant:
    where = pool("Rows" if level == "Rows" else "Schemas")
    await ensure_pool(server, where)
    if level == "Rows":
        share_tables(at, where)
        tenant = await provision(at, server, where)
        half = rows // 2
        tenant.sql(f"INSERT INTO customers (id, email) SELECT g, 'n' || g FROM generate_series(1, {half}) g")
        tenant.sql(f"INSERT INTO orders (id, customer_id) SELECT g, g FROM generate_series(1, {half}) g")
        return tenant
    tenant = await provision(at, server, where)
    if level == "Database":
        alone = own(tenant)
        await ensure_pool(server, alone)
        tenant = await provision(at, server, alone, id=tenant.id, uid=tenant.desired.uid)
    tenant.sql("CREATE TABLE notes (id int PRIMARY KEY, body text)", "mig_a")
    fill(tenant, rows // 3)
    return tenant


async def _raw(at: TestServer, server: Server, tenant: Tenant, folder: Path) -> tuple[float, float]:
    client = await tools.for_server(server.traits.version)
    told = {key: str(value) for key, value in conninfo_to_dict(at.admin_dsn).items()}
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
    environment = {names[key]: value for key, value in told.items() if key in names}
    file, empty = folder / "raw", f"raw_{tenant.id}"
    schema = "app" if tenant.pool.holds == "Rows" else tenant.schema
    begun = time.monotonic()
    dump = [client.program("pg_dump"), "-Fc", f"--schema={schema}", f"--file={file}", tenant.pool.name]
    await asyncio.to_thread(subprocess.run, dump, env=environment, check=True)
    dumped = time.monotonic()
    at.run(f"CREATE DATABASE {empty}")
    at.run("CREATE SCHEMA paybill", empty)
    at.run("CREATE FUNCTION paybill.tenant() RETURNS text LANGUAGE sql AS 'SELECT NULL::text'", empty)
    made = time.monotonic()
    restore = [client.program("pg_restore"), "--no-owner", "--no-privileges", f"--dbname={empty}", str(file)]
    await asyncio.to_thread(subprocess.run, restore, env=environment, check=True)
    restored = time.monotonic()
    at.run(f"DROP DATABASE {empty}")
    return dumped - begun, restored - made


async def _timed(act: Awaitable[Any]) -> tuple[float, Any]:
    begun = time.monotonic()
    result = await act
    return time.monotonic() - begun, result


@click.command()
@click.option("--rows", default=220_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def main(*, rows: int, as_json: bool) -> None:
    """Measure, and print seconds and ratios."""
    found = asyncio.run(measure(rows))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{rows} rows, Postgres {found['postgres']}, load {found['load']:.1f}")
    for level, times in found["levels"].items():
        words = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in times.items())
        click.echo(f"{level}: {words}; verify is {times['verify'] / times['dump']:.1f} times the dump (aim {AIM:.0f})")


if __name__ == "__main__":
    main()
