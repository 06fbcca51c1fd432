"""What tenants use is read off a server without reading a table, and nobody can keep others from being measured."""

from __future__ import annotations

from paybill.databases.usage import Usage, usage
from tests.databases.tenancy import provision
from tests.databases.test_own_database import dropped, home, wayne  # noqa: F401 - fixtures


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


async def test_shared_tables_tell_nothing_of_one_tenant(server, rows, red):
    assert await usage(server, rows) == {}
