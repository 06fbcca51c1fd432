"""The provider's migrations on real servers: the same tables at every level, all of a file or nothing of it."""

import pytest

from paybill.databases.pools import ensure_pool
from paybill.migrations.lint import lint
from tests.databases.migrating import files, migrate, migrate_pool, shape
from tests.databases.tenancy import new_id, pool, provision

REFUSED = r"permission denied|row-level security"


@pytest.fixture
async def shared(at, server):
    """A pool database for rows in which nothing is yet."""
    where = pool("Rows", f"cell-{new_id()}")
    await ensure_pool(server, where)
    return where


async def test_the_files_of_these_tests_may_run():
    assert lint(files()) == ()


async def test_tables_are_the_same_at_every_level(at, server, schemas, shared):
    own = await provision(at, server, schemas)
    one, other = await provision(at, server, shared), await provision(at, server, shared)

    alone = await migrate(own, files())
    together = await migrate_pool(server, shared, files(), one, other)

    assert [alone.failure, *(each.failure for each in together)] == [None] * (1 + len(together))
    assert alone.version == 7
    mine = shape(at, schemas.name, own.schema)
    assert mine == shape(at, shared.name, "app")
    assert {row[0] for row in mine[0]} == {"customers", "orders", "unpaid"}
    for tenant in (own, one, other):
        tenant.sql("INSERT INTO orders (customer_id) VALUES (7)")
        assert tenant.sql("SELECT tenant_id, email FROM customers") == [(tenant.id, "first@example.org")]
        assert tenant.sql("SELECT tenant_id, state FROM unpaid") == [(tenant.id, "open")]


async def test_a_second_run_does_nothing(at, server, schemas, shared):
    own, row = await provision(at, server, schemas), await provision(at, server, shared)
    await migrate(own, files())
    await migrate_pool(server, shared, files(), row)

    again = [await migrate(own, files()), *await migrate_pool(server, shared, files(), row)]

    assert [each.ran for each in again] == [[]] * len(again)
    assert await own.differences() == ()
    assert await row.differences() == ()


async def test_the_app_cannot_write_the_ledger(at, server, schemas, shared):
    own, row = await provision(at, server, schemas), await provision(at, server, shared)
    await migrate(own, files(1))
    await migrate_pool(server, shared, files(3), row)

    for write in ("INSERT INTO {} (tenant_id, version, name, checksum) VALUES ('{}', 9, 'x', 'x')", "DELETE FROM {}"):
        with pytest.raises(Exception, match=REFUSED):
            own.sql(write.format("pb_migrations", own.id))
        with pytest.raises(Exception, match=REFUSED):
            row.sql(write.format("paybill.migrations", row.id))
    assert row.sql("SELECT * FROM paybill.migrations") == []


async def test_nobody_can_log_in_as_the_pools_owner_afterwards(at, server, shared):
    row = await provision(at, server, shared)
    await migrate_pool(server, shared, files(3), row)

    names = [f"{shared.name}_mig", f"pb_{row.id}_job_a"]
    logins = at.run("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = ANY(%s) ORDER BY 1", values=[names])
    assert logins == sorted((name, False) for name in names)
    members = "SELECT 1 FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = ANY(%s)"
    assert at.run(members, values=[names]) == []


async def test_a_migrated_table_keeps_tenants_apart(at, server, shared):
    """Twice: behind the fence nothing is seen, and without it everything."""
    red, blue = await provision(at, server, shared), await provision(at, server, shared)
    await migrate_pool(server, shared, files(2), red, blue)
    blue.sql("INSERT INTO customers (email) VALUES ('secret@example.org')")
    assert red.sql("SELECT email FROM customers") == []
    with pytest.raises(Exception, match="row-level security"):
        red.sql(f"INSERT INTO customers (tenant_id, email) VALUES ('{blue.id}', 'forged@example.org')")

    at.run("ALTER TABLE app.customers DISABLE ROW LEVEL SECURITY", shared.name)

    assert red.sql("SELECT email FROM customers") == [("secret@example.org",)]
    assert red.sql(f"INSERT INTO customers (tenant_id, email) VALUES ('{blue.id}', 'x') RETURNING 1") == [(1,)]
