"""What a thousand tenants with database servers of their own cost while nothing happens, and at a start.

One Silo tenant gets its server for real (engine Embedded). The others are copies of it (seeding.py): their objects,
Secrets, claims, stacks and operations are what the operator and the engine would have left, and each has a pool
database of its own with roles and schema. What is not real: the copies' databases are all on the server of the first
one. The operator does not know: it connects to each by its own Secret, announces its epoch in each, looks at each.

    python bench/silos.py --silos 1000 --json
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import installation
import plane
import psutil
import psycopg
from installation import Bench, bench
from operations import silo
from plane import Watcher, say
from seeding import Copy, Model, insert, recount, script, seed

from paybill.api.cell import Cell
from paybill.api.plan import PlanSpec
from paybill.databases.pools import ensure_pool
from paybill.databases.server import Server
from paybill.desired import names, sql_names, stack_inputs
from paybill.desired.database import PoolDatabase
from paybill.desired.resource import Key
from paybill.desired.stack import PROGRAM_VERSION
from paybill.local import bootstrap

CELL, PLAN, FIRST = "local", "silo", "silo-0"
CONNECTIONS = 800
"""Connections of the one server that stands for all: the operator has up to a few on each."""
WRITERS = 4
PATIENCE = 1200.0
"""Seconds that a start may take: one Postgres process does the work of a thousand."""


@dataclass
class Silos:
    """The one server that stands for all, and the stack of the tenant that it was made for."""

    dsn: str
    cell: Cell
    plan: PlanSpec
    stack: dict[str, Any]
    operations: list[dict[str, Any]]

    def told(self, model: Model, copy: Copy) -> Copy:
        """The copy with the digest of its own inputs, and the name of its own pool database."""
        return replace(copy, uids=copy.uids | {
            self.stack["applied_digest"]: self._digest(copy.id, copy.uids[model.tenant_uid], model),
            model.database.database: sql_names.pool_database_name(CELL, names.own_server(copy.id)),
        })  # fmt: skip

    def _digest(self, tenant_id: str, uid: str, model: Model) -> str:
        identity = names.Identity(
            id=tenant_id, tenant_name="", tenant_uid=uid, installation=model.database.installation
        )
        inputs = stack_inputs.build(identity, uid, self.cell, "Namespace", "Server", self.plan, "Delete", PLAN)
        return inputs.digest(f"Embedded:built-in:{PROGRAM_VERSION}")

    async def make(self, model: Model, copies: list[Copy]) -> None:
        """A pool database for each copy, with its roles and schema, by what the operator sends."""
        assert self._digest(model.id, model.tenant_uid, model) == self.stack["applied_digest"]
        server = await Server.connect(self.dsn, name="bench", installation=model.database.installation)
        text, done, alone = await script(server, model), 0, asyncio.Lock()

        async def write(copy: Copy) -> None:
            nonlocal done
            own = names.own_server(copy.id)
            pool = PoolDatabase(
                server=own, cell=CELL, name=sql_names.pool_database_name(CELL, own), holds="Schemas",
                installation=model.database.installation,
            )  # fmt: skip
            async with alone:  # databases are made one after the other, and who waits for long is refused
                await ensure_pool(server, pool)
            async with server.session(pool.name) as session:
                await session.execute("; ".join(["BEGIN", copy.of(model, text), "COMMIT"]).encode())
            done += 1
            if done % 100 == 0:
                say(f"  {done} of {len(copies)} copies are in Postgres")

        await plane.spread([lambda copy=copy: write(copy) for copy in copies], WRITERS)  # type: ignore[misc]
        await server.close()

    async def write_rows(self, control_dsn: str, model: Model, copies: list[Copy]) -> None:
        """The copies' stacks and operations, as the engine left the model's."""
        async with await psycopg.AsyncConnection.connect(control_dsn, autocommit=True) as connection:
            for table, rows in (("stacks", [self.stack]), ("operations", self.operations)):
                await insert(connection, table, [
                    {name: copy.of(model, value) if isinstance(value, str) else value for name, value in row.items()}
                    for row in rows for copy in copies
                ])  # fmt: skip


async def run(count: int, idle_seconds: float, kept: Path | None) -> dict[str, Any]:
    """All phases, in order."""
    installation.SETTLE_SECONDS = PATIENCE
    async with bench("Schema", kept) as one:
        await bootstrap.start_keeper(one.instance)
        if await one.cluster.get(Key("Tenant", "", FIRST)) is None:
            await _prepare(one, count)
        tenants = len(await one.cluster.list("Tenant"))
        result: dict[str, Any] = {"silos": tenants}
        result |= {f"cold_start_{name}": value for name, value in (await _start(one, tenants)).items()}
        result |= await _idle(one, idle_seconds)
        await one.stop_operator()
        return result | {f"restart_{name}": value for name, value in (await _start(one, tenants)).items()}


async def _prepare(one: Bench, count: int) -> None:
    plan = silo(PLAN)
    plan["spec"]["limits"]["database"]["connections"] = CONNECTIONS
    await one.cluster.apply(plan, manager="bench")
    one.environment = {"PAYBILL_EMBEDDED_HOME": str(one.instance.home.servers)}
    await one.start_operator()
    await plane.settled(one.cluster, PLAN)
    watcher = Watcher(one.cluster, "Tenant", plane.ready, 1)
    watching = asyncio.create_task(watcher.run())
    await watcher.listening.wait()
    for obj in plane.contract(FIRST, PLAN):
        await one.cluster.apply(obj, manager="bench")
    async with asyncio.timeout(120):
        await watcher.complete.wait()
    watching.cancel()
    await _counted(one)
    await one.stop_operator()
    own = await _silos(one, plan)
    async with await psycopg.AsyncConnection.connect(own.dsn, autocommit=True) as connection:
        # Only while the copies are made, which is no part of what is measured.
        await connection.execute("ALTER SYSTEM SET fsync = off")
        await connection.execute("SELECT pg_reload_conf()")
        await seed(one.instance, one.installed.control_file.read_text(), FIRST, count - 1, "silo-copy", own)
        await connection.execute("ALTER SYSTEM RESET fsync")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.execute("VACUUM")
        await connection.execute("CHECKPOINT")
    await recount(one.instance, PLAN, {own.stack["tenant_id"]: count - 1})


async def _counted(one: Bench) -> None:
    """The Cell counts its tenants once a minute: wait for it, so that the copies' count is right."""
    async with asyncio.timeout(120):
        while True:
            cell, plan = await one.cluster.get(Key("Cell", "", CELL)), await one.cluster.get(Key("Plan", "", PLAN))
            assert cell is not None
            assert plan is not None
            if cell["status"].get("tenants") == plan["status"].get("tenants") == plan["status"].get("updated") == 1:
                return
            await asyncio.sleep(1.0)


async def _silos(one: Bench, plan: dict[str, Any]) -> Silos:
    tenant = await one.cluster.get(Key("Tenant", "", FIRST))
    cell = await one.cluster.get(Key("Cell", "", CELL))
    assert tenant is not None
    assert cell is not None
    tenant_id = tenant["status"]["id"]
    key = Key("Secret", one.installed.settings.namespace, names.own_server_secret(tenant_id))
    secret = await one.cluster.get(key)
    assert secret is not None
    control = one.installed.control_file.read_text()
    async with await psycopg.AsyncConnection.connect(control, row_factory=psycopg.rows.dict_row) as connection:
        found = {}
        for table in ("stacks", "operations"):
            query = f"SELECT * FROM paybill.{table} WHERE tenant_id = %s"
            found[table] = await (await connection.execute(query.encode(), [tenant_id])).fetchall()
    return Silos(
        dsn=base64.b64decode(secret["data"]["admin-uri"]).decode(),
        cell=Cell.model_validate(cell),
        plan=PlanSpec.model_validate(plan["spec"]),
        stack=found["stacks"][0],
        operations=found["operations"],
    )


async def _start(one: Bench, tenants: int) -> dict[str, Any]:
    """Start the operator on what there is and wait until it is steady."""
    one.environment = {"PAYBILL_EMBEDDED_HOME": str(one.instance.home.servers)}
    requests, operations, workers = one.requests(), await _operations(one), Workers()
    watching = asyncio.create_task(workers.run(one))
    began = await one.start_operator()
    leading = time.monotonic() - began
    await one.until_steady(tenants)
    took = time.monotonic() - began
    watching.cancel()
    found = {
        "s": round(took, 1),
        "leading_s": round(leading, 1),
        "writes": requests.writes(),
        "requests": sum(requests.by_kind().values()),
        "cpu_s": round(sum(one.process.cpu_times()[:2]), 1),
        "rss_mb": round(one.process.memory_info().rss / 2**20),
        "operations": await _operations(one) - operations,
        "processes": len(workers.seen),
        "most_sessions": workers.most_sessions,
    }
    say(f"start among {tenants}: {found}")
    if found["writes"]:
        say(f"  {requests.by_kind()}")
    return found


async def _idle(one: Bench, seconds: float) -> dict[str, Any]:
    """Nothing happens for a while; per minute."""
    await asyncio.sleep(15.0)  # sessions that a start has used are kept for ten seconds
    workers, operations = Workers(), await _operations(one)
    requests, before, began = one.requests(), plane.cpu_seconds(one.instance), time.monotonic()
    watching = asyncio.create_task(workers.run(one))
    await asyncio.sleep(seconds)
    watching.cancel()
    minutes = (time.monotonic() - began) / 60
    spent = plane.cpu_seconds(one.instance)["operator"] - before["operator"]
    found = {
        "idle_requests_per_min": round(sum(requests.by_kind().values()) / minutes, 1),
        "idle_writes_per_min": round(requests.writes() / minutes, 2),
        "idle_cpu_ms_per_min": round(spent * 1000 / minutes),
        "idle_rss_mb": round(one.process.memory_info().rss / 2**20),
        "idle_operations": await _operations(one) - operations,
        "idle_processes": len(workers.seen),
        "idle_most_sessions": workers.most_sessions,
        "idle_requests": {f"{verb} {what}": n for (verb, what), n in sorted(requests.by_kind().items())},
    }
    say(f"idle: {found}")
    return found


class Workers:
    """The processes that the operator starts, and its connections to Postgres, looked at ten times a second."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.most_sessions = 0

    async def run(self, one: Bench) -> None:
        """Look until cancelled."""
        port = None
        while True:
            await asyncio.sleep(0.1)
            child = next((child for child in one.instance.children if child.command.name == "operator"), None)
            if child is None or child.pid is None:
                continue
            process = psutil.Process(child.pid)
            self.seen |= {found.pid for found in process.children(recursive=True)}
            port = port or await _port(one)
            sessions = sum(1 for to in process.net_connections("tcp") if to.raddr and to.raddr.port == port)
            self.most_sessions = max(self.most_sessions, sessions)


async def _port(one: Bench) -> int:
    """Where the one server listens."""
    (folder,) = [path for path in one.instance.home.servers.iterdir() if path.is_dir()]
    return int(json.loads((folder / "found.json").read_text())["port"])


async def _operations(one: Bench) -> int:
    async with await psycopg.AsyncConnection.connect(one.installed.control_file.read_text()) as connection:
        row = await (await connection.execute("SELECT count(*) FROM paybill.operations")).fetchone()
    return int(row[0]) if row is not None else 0


@click.command()
@click.option("--silos", default=1000, show_default=True, help="Tenants with a server of their own.")
@click.option("--idle-seconds", default=180.0, show_default=True, help="How long to watch an idle installation.")
@click.option(
    "--kept", type=click.Path(path_type=Path), help="Keep the control plane here, or begin with the one here."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def main(silos: int, idle_seconds: float, kept: Path | None, as_json: bool) -> None:
    """Costs of a steady installation of Silo tenants, and of a start."""
    result = asyncio.run(run(silos, idle_seconds, kept))
    plane.show(result, as_json=as_json)


if __name__ == "__main__":
    main()
