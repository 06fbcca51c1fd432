"""A tenant leaves shared tables for its own while it writes: all of its rows come along, and nobody else's."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from paybill.migrations import ledger
from paybill.moves import leaving
from tests.databases.moving import Writer, job_to, move, own
from tests.databases.servers import start

LONG = pytest.mark.exhaustive
KINDS = (
    ("Superuser", 18), ("Managed", 15), pytest.param(("Superuser", 15), marks=LONG),
    pytest.param(("Managed", 18), marks=LONG),
)  # fmt: skip


class OrderWriter(Writer):
    """Orders, with numbers of its own choice."""

    def _one(self, session: psycopg.Connection) -> None:
        self.number += 1
        with session.transaction():
            session.execute("INSERT INTO orders (id, customer_id) VALUES (%s, 1)", [1000 + self.number])
            session.execute("UPDATE customers SET email = %s WHERE id = 1", [f"{self.number}@example.org"])
            # From the end of a row of orders, each of which names the one before it.
            session.execute("DELETE FROM orders WHERE id = %s AND id > 1", [301 - self.number])
        self.committed.append(1000 + self.number)


def orders(tenant: Any, schema: str) -> set[int]:
    query = f"SELECT id FROM {schema}.orders WHERE tenant_id = %s"
    return {number for (number,) in tenant.at.run(query, tenant.pool.name, [tenant.id])}


@pytest.fixture(params=KINDS)
def at(request):
    """The two that differ most, and the two others."""
    return start(*request.param)


async def test_it_leaves_while_it_writes_and_its_neighbour_notices_nothing(at, server, rows, home, crowded, blue):
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
            job = await job_to(crowded, own(crowded), home)
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
