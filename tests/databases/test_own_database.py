"""A tenant's own database on a shared server: closed to all others, with what only an owner has, gone as a whole."""

from __future__ import annotations

import dataclasses

import psycopg
import pytest

from paybill.api.failures import Blocked, Retry
from paybill.databases.fingerprints import fingerprints
from paybill.databases.own_database import drop_database, exists
from paybill.databases.pools import ensure_pool
from paybill.databases.tenants import ensure, observe
from paybill.desired.database import PoolDatabase, differences
from paybill.desired.sql_names import tenant_database
from tests.databases.tenancy import INSTALLATION, Tenant, new_id, pool, provision
from tests.databases.test_drop import Fence

LEFT = """
SELECT 'role', rolname::text FROM pg_roles WHERE strpos(rolname, %(id)s) > 0
UNION ALL SELECT 'database', datname::text FROM pg_database WHERE strpos(datname, %(id)s) > 0
UNION ALL SELECT 'setting', setrole::text FROM pg_db_role_setting s
           WHERE setrole <> 0 AND NOT EXISTS (SELECT 1 FROM pg_roles r WHERE r.oid = s.setrole)
"""


def own(tenant_id: str, uid: str) -> PoolDatabase:
    return PoolDatabase(
        server="pool-1", cell="cell-Databases", name=tenant_database(tenant_id), holds="Schemas",
        installation=INSTALLATION, subject=uid,
    )  # fmt: skip


@pytest.fixture
async def home(server):
    """The database of the server that its tenants are looked at from; nobody is in it."""
    where = pool("Databases")
    where = dataclasses.replace(where, holds="Schemas")
    await ensure_pool(server, where)
    return where


async def onboard(at, server, home) -> Tenant:
    tenant_id = new_id()
    where = own(tenant_id, f"uid-{tenant_id}")
    await ensure_pool(server, where)
    tenant = await provision(at, server, where, id=tenant_id, uid=where.subject)
    tenant.sql("CREATE TABLE notes (id int PRIMARY KEY, body text)", "mig_a")
    return tenant


@pytest.fixture
async def wayne(at, server, home):
    """A tenant with a database of its own."""
    return await onboard(at, server, home)


@pytest.fixture
async def kyle(at, server, home):
    """Its neighbour on the same server, with a secret."""
    tenant = await onboard(at, server, home)
    tenant.sql("INSERT INTO notes VALUES (1, 'secret')")
    return tenant


def left(tenant: Tenant) -> list[tuple]:
    return tenant.at.run(LEFT, "postgres", {"id": tenant.id})


async def dropped(tenant: Tenant, home: PoolDatabase, fence: Fence | None = None):
    return await drop_database(tenant.server, home, tenant.pool, tenant.id, fence=fence or Fence())


async def test_it_is_in_place_and_nothing_is_done_twice(wayne):
    assert await wayne.differences() == ()
    assert (await ensure_pool(wayne.server, wayne.pool)).changed == ()
    assert (await wayne.ensure()).changed == ()
    assert wayne.sql("INSERT INTO notes VALUES (1, 'mine') RETURNING body") == [("mine",)]


async def test_nobody_else_can_connect(at, wayne, kyle, acme):
    for stranger in (wayne, acme):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            stranger.sql("SELECT 1", database=kyle.pool.name)
    # With the one protection removed the same attack gets in.
    at.run(f"GRANT CONNECT ON DATABASE {kyle.pool.name} TO PUBLIC")
    assert wayne.sql("SELECT 1", database=kyle.pool.name) == [(1,)]
    assert (await ensure_pool(kyle.server, kyle.pool)).changed
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        wayne.sql("SELECT 1", database=kyle.pool.name)


async def test_the_tenant_does_not_own_it(wayne):
    for statement in (
        f"DROP DATABASE {wayne.pool.name}", f"ALTER DATABASE {wayne.pool.name} CONNECTION LIMIT -1",
        "CREATE SCHEMA mine", "CREATE EXTENSION dblink",
    ):  # fmt: skip
        with pytest.raises(psycopg.errors.Error):
            wayne.sql(statement, "mig_a", database=wayne.pool.name)
    with wayne.connect("mig_a") as session:
        session.execute(f"GRANT CONNECT ON DATABASE {wayne.pool.name} TO PUBLIC")  # no more than a warning
    assert await wayne.differences() == ()
    assert (await ensure_pool(wayne.server, wayne.pool)).changed == ()


async def test_large_objects_and_locks_are_its_own(wayne, acme):
    (oid,) = wayne.sql("SELECT lo_from_bytea(0, 'abc')")[0]
    assert wayne.sql(f"SELECT lo_get({oid})") == [(b"abc",)]
    assert wayne.sql("SELECT pg_try_advisory_lock(1)") == [(True,)]
    if acme.server.traits.superuser:  # in a database that is shared they are closed
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            acme.sql("SELECT lo_from_bytea(0, 'abc')")


async def test_its_server_tells_whose_rights_changed(at, server, home, wayne, kyle):
    async def prints():
        async with server.session(home.name) as session:
            return await fingerprints(session, server.traits, home, databases=True)

    before = await prints()
    at.run(f"ALTER ROLE {wayne.login('app_a')} CONNECTION LIMIT 77")
    after = await prints()

    assert {wayne.id, kyle.id} <= before.keys()
    assert after[wayne.id] != before[wayne.id]
    assert after[kyle.id] == before[kyle.id]
    async with server.session(home.name) as session:
        assert wayne.id not in await fingerprints(session, server.traits, home)


async def test_all_of_it_goes_and_the_neighbour_has_everything(home, wayne, kyle):
    with wayne.connect() as session:
        session.execute("INSERT INTO notes VALUES (1, 'x')")
        outcome = await dropped(wayne, home)

    assert f"drop database {wayne.pool.name}" in outcome.changed
    assert left(wayne) == []
    assert not await exists(wayne.server, wayne.pool)
    assert (await dropped(wayne, home)).changed == ()
    assert await kyle.differences() == ()
    assert kyle.sql("SELECT body FROM notes") == [("secret",)]


@pytest.mark.parametrize("times", [0, 1, 2])
async def test_it_goes_only_while_the_fence_holds_and_is_completed_later(home, wayne, times):
    fence = Fence(times)

    with pytest.raises(Retry, match="another process"):
        await dropped(wayne, home, fence)

    databases = [name for kind, name in left(wayne) if kind == "database"]
    assert databases == ([wayne.pool.name] if times < 2 else [])
    assert [kind for kind, _ in left(wayne)].count("role") > 0
    await dropped(wayne, home)
    assert left(wayne) == []


async def test_what_is_marked_as_anothers_is_left_alone(home, wayne):
    stranger = dataclasses.replace(wayne.pool, subject="somebody-else")

    with pytest.raises(Blocked, match="Nothing was dropped"):
        await drop_database(wayne.server, home, stranger, wayne.id, fence=Fence())
    with pytest.raises(Blocked, match="Nothing was changed"):
        await ensure_pool(wayne.server, stranger)

    assert await wayne.differences() == ()


async def test_a_foreign_database_of_that_name_is_not_taken_over(at, server, home):
    tenant_id = new_id()
    where = own(tenant_id, f"uid-{tenant_id}")
    at.run(f"CREATE DATABASE {where.name}")
    try:
        assert not await exists(server, where)
        with pytest.raises(Blocked, match="is marked"):
            await ensure_pool(server, where)
        with pytest.raises(Blocked, match="Nothing was dropped"):
            await drop_database(server, home, where, tenant_id, fence=Fence())
        assert at.run("SELECT count(*) FROM pg_database WHERE datname = %s", "postgres", [where.name]) == [(1,)]
    finally:
        at.run(f"DROP DATABASE {where.name}")


@pytest.mark.parametrize("open_still", [False, True])
async def test_a_drop_that_was_cut_short_is_completed(at, wayne, home, open_still):
    """Postgres marks the database invalid before it removes its files, and refuses to alter it from then on."""
    where = [wayne.pool.name]
    at.run("UPDATE pg_database SET datallowconn = %s, datconnlimit = -2 WHERE datname = %s", "postgres",
           [open_still, *where])  # fmt: skip
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="invalid database"):
        at.run(f"ALTER DATABASE {wayne.pool.name} ALLOW_CONNECTIONS false")

    assert not await exists(wayne.server, wayne.pool)
    assert f"drop database {wayne.pool.name}" in (await dropped(wayne, home)).changed

    assert left(wayne) == []


async def test_what_was_cut_short_is_completed(at, server, home):
    """CREATE DATABASE, its mark and its opening are no transaction: a crash may leave each of these."""
    tenant_id = new_id()
    where = own(tenant_id, f"uid-{tenant_id}")
    at.run(f"CREATE DATABASE {where.name} OWNER pb_admin TEMPLATE template0 ALLOW_CONNECTIONS false")

    assert not await exists(server, where)
    await ensure_pool(server, where)

    assert await exists(server, where)
    tenant = await provision(at, server, where, id=tenant_id, uid=where.subject)
    assert differences(tenant.desired, (await observe(server, where, [tenant_id]))[tenant_id]) == ()
    assert (await ensure(server, where, tenant.desired)).changed == ()
    await dropped(tenant, home)
    assert left(tenant) == []
