"""A tenant leaves shared tables for its own while it writes: all of its rows come along, and nobody else's."""

from __future__ import annotations

import dataclasses
from typing import Any

import psycopg
import pytest

from paybill.databases.pools import ensure_pool
from paybill.migrations import ledger
from paybill.moves import archive, leaving, replication, shape, shared, target
from tests.databases.moving import Writer, copied, job_to, move, own, switch_over
from tests.databases.servers import start
from tests.databases.tenancy import pool
from tests.databases.test_moves import left


class OrderWriter(Writer):
    """Orders, with numbers of its own choice."""

    def _one(self, session: psycopg.Connection) -> None:
        self.number += 1
        with session.transaction():
            session.execute("INSERT INTO orders (id, customer_id) VALUES (%s, 1)", [1000 + self.number])
            session.execute("UPDATE customers SET email = %s WHERE id = 1", [f"{self.number}@example.org"])
            session.execute("DELETE FROM orders WHERE id = %s AND id < 1000", [self.number])
        self.committed.append(1000 + self.number)


def orders(tenant: Any, schema: str) -> set[int]:
    query = f"SELECT id FROM {schema}.orders WHERE tenant_id = %s"
    return {number for (number,) in tenant.at.run(query, tenant.pool.name, [tenant.id])}


@pytest.fixture
async def home(server):
    where = dataclasses.replace(pool("Databases"), holds="Schemas")
    await ensure_pool(server, where)
    return where


@pytest.fixture
async def crowded(red):
    """It has some rows."""
    red.sql("INSERT INTO customers (id, email) SELECT g, 'c' || g FROM generate_series(2, 300) g")
    red.sql("INSERT INTO orders (id, customer_id, previous) SELECT g, g, g - 1 FROM generate_series(2, 300) g")
    return red


@pytest.mark.parametrize("level", ["Database", pytest.param("Schema", marks=pytest.mark.exhaustive)])
async def test_it_leaves_while_it_writes_and_its_neighbour_notices_nothing(
    at, server, rows, schemas, home, crowded, blue, level
):
    neighbours = orders(blue, "app")
    await ledger.ensure_of_rows(server, rows)
    at.run(
        "INSERT INTO paybill.migrations VALUES"
        f" ('pool', 1, '0001_a.sql', 'x'), ('{crowded.id}', 2, '0002_b.sql', 'y'), ('{blue.id}', 3, '0003_c.sql', 'z')",
        rows.name,
    )
    try:
        with OrderWriter(crowded) as writer:
            writer.wait_for(20)
            job = await job_to(crowded, own(crowded) if level == "Database" else schemas, home)
            moved, done, mode = await move(job, crowded, writer)
            writer.wait_for(20)
    finally:
        at.run("DELETE FROM paybill.migrations", rows.name)

    assert mode == ("Online" if server.traits.superuser else "Offline")
    assert done.rows > 300
    assert set(writer.committed) <= orders(moved, moved.schema)
    assert await moved.differences() == ()
    assert moved.sql("SELECT count(*) FROM customers") == [(300,)]
    assert moved.sql("INSERT INTO customers (email) VALUES ('next') RETURNING id > 300, tenant_id") == [
        (True, crowded.id)
    ]
    with pytest.raises(psycopg.errors.CheckViolation, match="pb_fence"):
        moved.sql(f"INSERT INTO customers (tenant_id, email) VALUES ('{blue.id}', 'foreign')")
    ran = at.run(f"SELECT version, tenant_id FROM {moved.schema}.pb_migrations ORDER BY 1", moved.pool.name)
    assert ran == [(1, crowded.id), (2, crowded.id)]

    # What it left is there until it is discarded, and its logins have no way to it.
    assert orders(crowded, "app") != set()
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        crowded.sql("SELECT 1")
    await leaving.discard(job)
    assert orders(crowded, "app") == set()
    assert orders(blue, "app") == neighbours != set()
    assert await blue.differences() == ()
    assert await moved.differences() == ()


@pytest.mark.parametrize("cut", ["made", "copied", "settled"])
async def test_one_that_is_cut_short_goes_on_or_is_given_up(server, rows, home, crowded, cut):
    at = start("Superuser", 18)
    if crowded.at is not at:
        pytest.skip("one kind of server is enough: what is cut is the same on all")
    job = await job_to(crowded, own(crowded), home)
    found, definition = await shape.look(job), await archive.definition(job)
    await target.make(job, "Online", definition, found.extensions, {})
    if cut != "made":
        await replication.begin(job, found.tables)
        await copied(job)
    if cut == "settled":
        await switch_over(job, "Online", definition, found.shape)
        await shared.stage(job)
        await switch_over(job, "Online", definition, found.shape)

    await target.clear(job)

    assert left(at, crowded) == set()
    await crowded.ensure()
    assert await crowded.differences() == ()
    assert crowded.sql("SELECT count(*) FROM customers") == [(300,)]


async def test_tables_that_are_everybodys_are_refused(at, rows, home, red):
    at.run(f"SET ROLE {rows.name}_mig; CREATE TABLE app.countries (code text PRIMARY KEY)", rows.name)
    try:
        found = await shape.look(await job_to(red, own(red), home))
    finally:
        at.run("DROP TABLE app.countries", rows.name)
    assert "countries" in "; ".join(found.refusals)


async def test_a_key_without_the_tenant_is_not_published_to_the_neighbours_harm(at, rows, home, red, blue):
    """A publication of some rows of such a table would refuse everybody's updates."""
    at.run(f"SET ROLE {rows.name}_mig; CREATE TABLE app.loose (tenant_id text, id int PRIMARY KEY)", rows.name)
    at.run("GRANT SELECT, UPDATE ON app.loose TO pb_rows_rw", rows.name)
    try:
        found = await shape.look(await job_to(red, own(red), home))
        assert "loose" in "; ".join(found.offline)
        at.run(f"CREATE PUBLICATION harm FOR TABLE app.loose WHERE (tenant_id = '{red.id}')", rows.name)
        with pytest.raises(psycopg.Error, match="publication WHERE"):
            blue.sql("UPDATE loose SET id = 1")
    finally:
        at.run("DROP TABLE app.loose", rows.name)
        at.run("DROP PUBLICATION IF EXISTS harm", rows.name)
