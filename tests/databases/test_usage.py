"""What tenants use is read off a server without reading a table, and nobody can keep others from being measured."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from paybill.databases.usage import Usage, usage
from paybill.lifecycle.phases import Phase
from paybill.lifecycle.storage import judge, narrowed
from paybill.lifecycle.tenant import course
from tests.databases.tenancy import provision
from tests.databases.test_own_database import dropped, home, wayne  # noqa: F401 - fixtures

ACTIVE = course(Phase.ACTIVE, "paid", exists=True)
FULL, WITHIN = (judge("1Mi", used, "Schema", None, datetime.now(UTC)) for used in (2**20, 0))


async def test_a_schema_is_measured_by_its_own_tables_alone(acme, beta, server, schemas):
    before = await usage(server, schemas)
    acme.sql("INSERT INTO notes SELECT i, repeat('x', 500) FROM generate_series(1, 2000) i")
    acme.sql("ANALYZE notes", "mig_a")  # or the server tells its statistics later
    after = await usage(server, schemas)

    assert after[acme.id].bytes - before[acme.id].bytes > 1_000_000
    assert after[acme.id].rows == 2000
    assert after[beta.id].bytes == before[beta.id].bytes
    assert after[acme.id].transactions is None


async def test_who_locks_its_table_is_left_out_and_nobody_else(acme, beta, server, schemas):
    with acme.connect("mig_a") as session, session.transaction():
        session.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
        found = await usage(server, schemas)

    assert acme.id not in found
    assert found[beta.id].bytes > 0
    assert (await usage(server, schemas))[acme.id].bytes > 0


async def test_a_tenant_without_a_table_uses_nothing(at, server, schemas):
    tenant = await provision(at, server, schemas)

    assert (await usage(server, schemas))[tenant.id] == Usage(bytes=0, rows=0)


async def test_a_database_of_ones_own_counts_its_transactions(server, home, wayne):  # noqa: F811
    before = (await usage(server, home, databases=True))[wayne.id]
    wayne.sql("INSERT INTO notes SELECT i, repeat('x', 500) FROM generate_series(1, 2000) i")
    wayne.at.run("SELECT pg_stat_force_next_flush()", wayne.pool.name)
    after = (await usage(server, home, databases=True))[wayne.id]

    assert after.bytes > before.bytes > 1_000_000
    assert after.transactions > before.transactions
    await dropped(wayne, home)
    assert wayne.id not in await usage(server, home, databases=True)


async def test_of_shared_tables_the_statistics_tell_who_has_most(at, server, rows, red, blue):
    fill = "INSERT INTO customers (id, email) SELECT {0} + i, repeat('x', 200) || i FROM generate_series(1, {1}) i"
    red.sql(fill.format(10_000, 3000))
    blue.sql(fill.format(20_000, 1000))
    at.run("ANALYZE app.customers", rows.name)
    found = await usage(server, rows)

    if at.profile == "Managed":  # who may not read a table is not told what is in it
        assert found == {}
        return
    assert 2700 < found[red.id].rows < 3300
    assert found[red.id].bytes > 2 * found[blue.id].bytes > 200_000
    assert set(await usage(server, rows, only=frozenset({blue.id}))) == {blue.id}


async def test_who_is_measured_alone_costs_nobody_else_a_measure(acme, beta, server, schemas):
    assert set(await usage(server, schemas, only=frozenset({acme.id}))) == {acme.id}
    with acme.connect("mig_a") as session, session.transaction():
        session.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
        assert await usage(server, schemas, only=frozenset({acme.id})) == {}


async def test_a_full_tenant_reads_and_loses_nothing_and_writes_again(acme, red, wayne):  # noqa: F811
    """What StorageFull does to it, at each level: the decision is lifecycle/storage.py's."""
    for tenant, table, key in ((acme, "notes", 7), (red, "customers", 7_000_001), (wayne, "notes", 7)):
        await _filled_and_emptied(tenant, table, key)


async def _filled_and_emptied(tenant, table, key):
    write = f"INSERT INTO {table} (id) VALUES ({{0}})"
    tenant.sql(write.format(key))
    with tenant.connect() as session:
        await tenant.ensure(access=narrowed(ACTIVE, FULL).effect.access.value)
        assert session.execute(f"SELECT id FROM {table} WHERE id = {key}").fetchall() == [(key,)]
        for statement in (write.format(key + 1), f"DELETE FROM {table}", f"UPDATE {table} SET id = 1"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement)
        await tenant.ensure(access=narrowed(ACTIVE, WITHIN).effect.access.value)
        session.execute(write.format(key + 1))
    assert tenant.sql(f"SELECT count(*) FROM {table} WHERE id >= {key}") == [(2,)]
