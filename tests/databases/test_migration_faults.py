"""What may go wrong while a tenant is migrated: it fails as a whole, by name, and goes on when that is mended."""

import asyncio

import pytest

from paybill.api.failures import Blocked, Retry
from paybill.databases.pools import ensure_pool
from tests.databases.migrating import files, migrate, migrate_pool, shape
from tests.databases.servers import start
from tests.databases.tenancy import new_id, pool, provision


@pytest.fixture
def at():
    """One server: none of this depends on the version or on who administers it."""
    return start("Superuser", 18)


@pytest.fixture
async def shared(at, server):
    """A pool database for rows in which nothing is yet."""
    where = pool("Rows", f"cell-{new_id()}")
    await ensure_pool(server, where)
    return where


async def test_a_file_that_fails_leaves_nothing_and_names_itself(at, server, schemas):
    tenant, neighbour = await provision(at, server, schemas), await provision(at, server, schemas)
    await migrate(tenant, files(2))
    before = shape(at, schemas.name, tenant.schema)
    bad = files(2, _0003_bad="ALTER TABLE orders ADD COLUMN note text;\nALTER TABLE missing ADD COLUMN note text;")

    reached = await migrate(tenant, bad)

    assert isinstance(reached.failure, Blocked)
    assert reached.failure.reason == "MigrationFailed"
    assert "0003_bad.sql" in reached.failure.message
    assert 'relation "missing" does not exist' in reached.failure.message
    assert (reached.version, reached.ran) == (2, [])
    assert shape(at, schemas.name, tenant.schema) == before
    assert (await migrate(neighbour, files(2))).failure is None


async def test_a_failure_tells_nothing_of_the_tenants_data(at, server, schemas):
    tenant = await provision(at, server, schemas)
    await migrate(tenant, files(2))
    tenant.sql("INSERT INTO customers (email) VALUES ('private@example.org')")

    reached = await migrate(
        tenant, files(2, _0003_cast="ALTER TABLE customers ALTER COLUMN email TYPE int USING email::int;")
    )

    assert reached.failure is not None
    assert "22P02" in reached.failure.message
    assert "private" not in str(reached.failure)


async def test_a_file_that_was_changed_after_it_ran_is_refused_by_name(at, server, schemas, shared):
    own, row = await provision(at, server, schemas), await provision(at, server, shared)
    await migrate(own, files(2))
    await migrate_pool(server, shared, files(2), row)
    edited = files(1, _0002_orders=files().files[1].sql + "-- edited")

    for reached in (await migrate(own, edited), (await migrate_pool(server, shared, edited, row))[-1]):
        assert reached.failure is not None
        assert reached.failure.reason == "AppliedMigrationChanged"
        assert "0002_orders.sql" in reached.failure.message


async def test_nothing_of_another_tenant_can_be_put_into_ones_own_schema(at, server, schemas):
    tenant = await provision(at, server, schemas)
    await migrate(tenant, files(2))
    forged = "INSERT INTO customers (tenant_id, email) VALUES ('aaaaaaaa', 'x')"
    with pytest.raises(Exception, match="pb_fence"):
        tenant.sql(forged)

    at.run(f"ALTER TABLE {tenant.schema}.customers DROP CONSTRAINT pb_fence", schemas.name)

    assert tenant.sql(f"{forged} RETURNING 1") == [(1,)]


async def test_a_table_that_lost_its_fence_has_it_again_with_the_next_file(at, server, schemas, shared):
    own, row = await provision(at, server, schemas), await provision(at, server, shared)
    await migrate(own, files(2))
    await migrate_pool(server, shared, files(2), row)
    at.run(f"ALTER TABLE {own.schema}.customers DROP CONSTRAINT pb_fence", schemas.name)
    at.run("ALTER TABLE app.customers DISABLE ROW LEVEL SECURITY; DROP POLICY pb_fence ON app.orders", shared.name)

    await migrate(own, files(4))
    await migrate_pool(server, shared, files(4), row)

    assert at.run("SELECT 1 FROM pg_constraint WHERE conname = 'pb_fence' AND conrelid = %s::regclass", schemas.name, [
        f"{own.schema}.customers",
    ])  # fmt: skip
    assert at.run("SELECT relrowsecurity FROM pg_class WHERE oid = 'app.customers'::regclass", shared.name) == [(True,)]
    assert at.run(
        "SELECT 1 FROM pg_policy WHERE polname = 'pb_fence' AND polrelid = 'app.orders'::regclass", shared.name
    )


async def test_two_that_migrate_one_tenant_run_each_file_once(at, server, schemas):
    tenant = await provision(at, server, schemas)
    await migrate(tenant, files(1))

    first, second = await asyncio.gather(migrate(tenant, files(6)), migrate(tenant, files(6)))

    assert sorted(first.ran + second.ran) == [file.file_name for file in files(6).files[1:]]
    assert (first.failure, second.failure) == (None, None)


async def test_an_index_whose_build_was_cut_short_is_built_again(at, server, schemas):
    tenant = await provision(at, server, schemas)
    await migrate(tenant, files(6))
    tenant.sql("CREATE INDEX by_state ON orders (tenant_id, state)", "mig_a")
    at.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", schemas.name, [
        f"{tenant.schema}.by_state",
    ])  # fmt: skip

    assert (await migrate(tenant, files())).failure is None

    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass"
    assert at.run(valid, schemas.name, [f"{tenant.schema}.by_state"]) == [(True,)]


async def test_what_is_locked_is_waited_for_and_tried_again(at, server, schemas):
    tenant = await provision(at, server, schemas)
    await migrate(tenant, files(3))
    with tenant.connect() as app:
        app.autocommit = False
        app.execute("SELECT * FROM orders")
        reached = await migrate(tenant, files(4))
        app.rollback()
    assert isinstance(reached.failure, Retry)
    assert "0004_amount.sql" in reached.failure.message

    assert (await migrate(tenant, files(4))).version == 4
