"""Moves between databases while the tenant writes: all that was committed is there, and nobody gets in elsewhere."""

from __future__ import annotations

import psycopg
import pytest

from paybill.moves import leaving
from tests.databases.moving import Writer, fill, job_to, logged, move, own


async def test_a_schema_becomes_a_database_and_goes_back_while_its_tenant_writes(at, server, schemas, home, acme):
    fill(acme)
    with Writer(acme) as writer:
        writer.wait_for(50)
        job = await job_to(acme, own(acme), home)
        moved, done, mode = await move(job, acme, writer)
        writer.wait_for(50)

        assert mode == ("Online" if server.traits.superuser and at.version > 15 else "Offline")
        assert done.rows > 1000
        assert await moved.differences() == ()
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            acme.sql("SELECT 1")
        assert logged(moved, f"pb_kept_{acme.id}", schemas.name) < logged(moved)

        back = await job_to(moved, schemas, home)
        again, _, _ = await move(back, moved, writer)
        writer.wait_for(50)

    assert await again.differences() == ()
    assert set(writer.committed) <= logged(again)
    assert again.sql("SELECT count(*), sum(id) FROM items") == [(500, 125250)]
    assert again.sql("INSERT INTO items (note) VALUES ('next') RETURNING id") == [(501,)]
    assert again.sql("INSERT INTO parts (item) VALUES (501) RETURNING id") == [(501,)]
    await leaving.discard(back)
    await leaving.discard(job)
    assert left(at, acme) == {("schema", f"t_{acme.id}")}


LEFT = """
SELECT 'database', datname::text FROM pg_database WHERE strpos(datname, %(id)s) > 0
UNION ALL SELECT 'schema', nspname::text FROM pg_namespace WHERE strpos(nspname, %(id)s) > 0
UNION ALL SELECT 'role', rolname::text FROM pg_roles WHERE strpos(rolname, %(id)s) > 0 AND rolname !~ '^pb_[0-9a-z]{8}_'
UNION ALL SELECT 'publication', pubname::text FROM pg_publication WHERE strpos(pubname, %(id)s) > 0
UNION ALL SELECT 'slot', slot_name::text FROM pg_replication_slots WHERE strpos(slot_name, %(id)s) > 0
UNION ALL SELECT 'subscription', subname::text FROM pg_subscription WHERE strpos(subname, %(id)s) > 0
"""


def left(at, tenant) -> set[tuple]:
    """What of a move is there, as far as the tenant's pool and the whole server show."""
    return set(at.run(LEFT, tenant.pool.name, {"id": tenant.id}))


async def test_tables_that_call_nothing_are_copied_online_on_every_version(at, server, schemas, home, acme):
    acme.sql("INSERT INTO notes SELECT g, 'b' FROM generate_series(1, 50) g")
    job = await job_to(acme, own(acme), home)

    moved, done, mode = await move(job, acme)

    assert mode == ("Online" if server.traits.superuser else "Offline")
    assert done.rows == 50
    assert await moved.differences() == ()
