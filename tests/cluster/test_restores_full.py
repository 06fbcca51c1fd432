"""A restore whose server's disk is full says so, takes nothing from its tenant, and works once there is room."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from paybill.backups import restore as restoring
from paybill.local import bootstrap
from tests.cluster import samples
from tests.cluster.api import Api, holds
from tests.cluster.customers import Customer, Customers, connect, secret
from tests.cluster.outages import fill
from tests.control.postgres import ThrowAwayPostgres

pytestmark = pytest.mark.exhaustive

DISK = 160
"""Megabytes: an empty cluster, the pools, and twice what is restored."""
ROWS = 2_000


@pytest.fixture(scope="module")
def small() -> Iterator[ThrowAwayPostgres]:
    """A server on a small disk. Its log is on another one, so that what does not fit is refused and does not end it."""
    process = ThrowAwayPostgres(megabytes=DISK)
    try:
        if not process.small_disk:
            pytest.skip("a disk of its own cannot be mounted here")
        process.stop()
        elsewhere = process.folder / "wal"
        shutil.move(process.data / "pg_wal", elsewhere)
        subprocess.run(["chown", "-R", "--reference", process.data, elsewhere], check=True)
        (process.data / "pg_wal").symlink_to(elsewhere)
        process.start()
        yield process
    finally:
        process.remove()


async def run(customers: Customers, customer: Customer, statement: str) -> list[tuple[Any, ...]]:
    """SQL by the tenant's app."""
    async with await connect(await customers.binding(customer)) as session:
        cursor = await session.execute(statement)  # type: ignore[call-overload]
        return await cursor.fetchall() if cursor.description else []


@pytest.fixture
async def customer(api: Api, customers: Customers, small: ThrowAwayPostgres, name: str) -> Customer:
    """One on that server, with more rows in its backup than it has now."""
    data = {"schemas-1": base64.b64encode(small.dsn("postgres").encode()).decode()}
    metadata = {"name": name, "namespace": samples.OPERATOR_NAMESPACE}
    await api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    where = samples.cell(name, [samples.server(name, secret=name)], backup=bootstrap.cell()["spec"]["backup"])
    await api.apply(where)
    made = await customers.onboard(spec={"cellRef": {"name": name}})
    provider = await secret(api, samples.OPERATOR_NAMESPACE, f"t-{made.id}-db-provider")
    async with await psycopg.AsyncConnection.connect(provider["mig-uri"], autocommit=True) as session:
        await session.execute("CREATE TABLE notes (id int PRIMARY KEY, body text)")
    fills = f"INSERT INTO notes SELECT g, repeat(md5(g::text), 60) FROM generate_series(1, {ROWS}) g"
    await run(customers, made, fills)
    await api.apply(samples.ours("TenantBackup", name, {"tenantRef": {"name": made.name}}))
    await customers.until(name, lambda one: holds(one, "Ready"), kind="TenantBackup", seconds=120)
    await run(customers, made, "DELETE FROM notes WHERE id > 10")
    return made


async def test_it_says_so_and_takes_nothing_and_another_one_works_with_room(
    api: Api, customers: Customers, customer: Customer, small: ThrowAwayPostgres, name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ballast: Path = small.data / "ballast"
    usual = restoring.scratch_of

    def full(restore: Any) -> Any:
        if not ballast.exists():
            fill(ballast)
        return usual(restore)

    monkeypatch.setattr(restoring, "scratch_of", full)
    spec = {"backupRef": {"name": name}, "confirm": customer.name}
    await api.apply(samples.ours("TenantRestore", f"{name}-full", spec))

    message = await customers.stalled(f"{name}-full", "DatabaseFull", kind="TenantRestore", seconds=180)

    assert "has what it had" in message
    assert "write another TenantRestore" in message
    assert small.process is not None
    assert small.process.poll() is None, "the server is there all the time"
    assert await run(customers, customer, "SELECT count(*) FROM notes") == [(10,)]
    monkeypatch.setattr(restoring, "scratch_of", usual)
    ballast.unlink()  # noqa: ASYNC240 - nothing waits for it

    await api.apply(samples.ours("TenantRestore", f"{name}-room", spec))

    await customers.until(f"{name}-room", lambda one: holds(one, "Ready"), kind="TenantRestore", seconds=180)
    await customers.ready(customer.name, seconds=120)
    assert await run(customers, customer, "SELECT count(*) FROM notes") == [(ROWS,)]

    await run(customers, customer, "INSERT INTO notes VALUES (0, 'again')")
