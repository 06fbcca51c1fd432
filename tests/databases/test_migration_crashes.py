"""Killed at any round trip, a migration that runs again ends where it would have ended."""

from __future__ import annotations

import itertools

import pytest

from paybill.databases.pools import ensure_pool
from paybill.databases.server import Server
from paybill.migrations.lint import kind
from tests.databases.dying import Dying, dying
from tests.databases.migrating import FILES, files, migrate, migrate_pool, shape
from tests.databases.servers import start
from tests.databases.tenancy import INSTALLATION, new_id, pool, provision

LONG = 400


@pytest.fixture
def at():
    return start("Superuser", 18)


@pytest.fixture
async def server(at):
    server = await mortal(at)
    yield server
    await server.close()


async def mortal(at) -> Server:
    """A server whose sessions can be killed; one that was killed keeps everybody waiting for a while."""
    return await Server.connect(at.admin_dsn, name="pool-1", installation=INSTALLATION, connection=Dying)


async def survivor(at) -> Server:
    """The operator that comes after the one that was killed."""
    return await Server.connect(at.admin_dsn, name="pool-1", installation=INSTALLATION)


@pytest.mark.parametrize(
    "done", [pytest.param(False, id="before", marks=pytest.mark.exhaustive), pytest.param(True, id="after")]
)
async def test_a_tenants_own_schema(at, server, schemas, done):
    calm, few = await provision(at, server, schemas), files(2, **{"0007_by_state": FILES["0007_by_state.sql"]})
    await migrate(calm, few)
    for last in itertools.count(1):
        assert last < LONG
        tenant = await provision(at, server, schemas)
        with dying(last, done=done):
            reached = await migrate(tenant, few)
            died = Dying.count >= last
        tenant.server = await survivor(at)

        again = await migrate(tenant, few)

        assert again.failure is None, f"after {last}"
        assert again.version == 7
        assert shape(at, schemas.name, tenant.schema) == shape(at, schemas.name, calm.schema), f"after {last}"
        await tenant.server.close()
        if not died:
            assert reached.failure is None
            return


@pytest.mark.exhaustive
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
async def test_shared_tables(at, done):
    """At every third round trip, because each takes two tenants and a pool of their own."""
    expected = None
    for last in itertools.chain([LONG], itertools.count(2 if done else 1, 3)):
        server = await mortal(at)
        where = pool("Rows", f"cell-{new_id()}")
        await ensure_pool(server, where)
        one, other = await provision(at, server, where), await provision(at, server, where)
        with dying(last, done=done):
            await migrate_pool(server, where, files(), one, other)
            died = Dying.count >= last
        survived = await survivor(at)

        again = await migrate_pool(survived, where, files(), one, other)

        assert [each.failure for each in again] == [None] * 9, f"after {last}"
        expected = expected or shape(at, where.name, "app")
        assert shape(at, where.name, "app") == expected
        for tenant in (one, other):
            assert tenant.sql("SELECT tenant_id, email FROM customers") == [(tenant.id, "first@example.org")]
        assert at.run("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", values=[f"{where.name}_mig"]) == [(False,)]
        await survived.close()
        await server.close()
        at.run(f"DROP DATABASE {where.name} WITH (FORCE)")
        if not died and last != LONG:
            return


def test_the_files_are_of_both_kinds():
    assert {kind(file) for file in files().files} == {"Structure", "Data"}
