"""Every test here runs on four servers: both profiles, on Postgres 18 and on 15."""

import contextlib
from dataclasses import replace

import pytest

from paybill.databases.pools import ensure_pool
from paybill.databases.server import Server
from paybill.isolation.canaries import Scene, settle
from tests.databases.servers import kinds, start
from tests.databases.tenancy import Tenant, pool, provision, share_tables


@pytest.fixture(params=kinds(), ids=lambda kind: f"{kind[0]}-{kind[1]}")
def at(request):
    """The server as the outside sees it."""
    return start(*request.param)


@pytest.fixture
async def server(at):
    """The server as the operator holds it."""
    server = await Server.connect(at.admin_dsn, name="pool-1", installation="test-installation")
    yield server
    await server.close()
    end_moves(at)


def end_moves(at) -> None:
    """Drop what moves left that a test cut short: a server has four workers that follow subscriptions."""
    query = "SELECT d.datname, s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
    for database, name in at.run(query):
        for statement in ("ALTER {} DISABLE", "ALTER {} SET (slot_name = NONE)", "DROP {}"):
            at.run(statement.format(f'SUBSCRIPTION "{name}"'), database)
    ours = "FROM pg_replication_slots WHERE slot_name LIKE 'pb_mv_%'"
    at.run(f"SELECT pg_terminate_backend(active_pid, 10000) {ours} AND active_pid IS NOT NULL")
    at.run(f"SELECT pg_drop_replication_slot(slot_name) {ours} AND active_pid IS NULL")


_pools: set[tuple] = set()


async def _pool_once(at, server, where):
    if (at.profile, at.version, where.name) not in _pools:
        await ensure_pool(server, where)
        _pools.add((at.profile, at.version, where.name))
    return where


@pytest.fixture
async def schemas(at, server):
    """A pool database of schemas."""
    return await _pool_once(at, server, pool("Schemas"))


@pytest.fixture
async def rows(at, server):
    """A pool database of rows with two shared tables."""
    where = await _pool_once(at, server, pool("Rows"))
    share_tables(at, where)
    return where


@pytest.fixture
async def acme(at, server, schemas):
    """A tenant with a schema of its own, and one table in it."""
    tenant = await provision(at, server, schemas)
    tenant.sql("CREATE TABLE notes (id int PRIMARY KEY, body text)", "mig_a")
    return tenant


@pytest.fixture
async def beta(at, server, schemas):
    """Its neighbour, with a secret."""
    tenant = await provision(at, server, schemas)
    tenant.sql("CREATE TABLE notes (id int PRIMARY KEY, body text)", "mig_a")
    tenant.sql("INSERT INTO notes VALUES (1, 'secret')")
    return tenant


@pytest.fixture
async def red(at, server, rows):
    """A tenant of the shared tables, with one customer and one order."""
    tenant = await provision(at, server, rows)
    tenant.sql("INSERT INTO customers (id, email) VALUES (1, 'red@example.org')")
    tenant.sql("INSERT INTO orders (id, customer_id) VALUES (1, 1)")
    return tenant


@pytest.fixture
async def blue(at, server, rows):
    """Its neighbour in the same tables."""
    tenant = await provision(at, server, rows)
    tenant.sql("INSERT INTO customers (id, email) VALUES (1001, 'blue@example.org')")
    tenant.sql("INSERT INTO orders (id, customer_id) VALUES (1001, 1001)")
    return tenant


_standing: dict[tuple, Scene] = {}


@contextlib.asynccontextmanager
async def _scene(at, server, where, level):
    """The same canaries for all attacks on a server: attacks leave nothing behind, and making tenants takes time."""
    async with server.session(where.name) as admin:
        key = (at.profile, at.version, level)
        if key not in _standing:
            _standing[key] = await settle(server, where, level, admin)
        known = _standing[key]
        yield replace(
            known,
            admin=admin,
            attacker=replace(known.attacker, server=server),
            victim=replace(known.victim, server=server),
        )


@pytest.fixture
async def schema_scene(at, server, schemas):
    """Two canaries in a pool of schemas."""
    async with _scene(at, server, schemas, "Schema") as scene:
        yield scene


@pytest.fixture
async def row_scene(at, server, rows):
    """Two canaries in a pool of rows."""
    async with _scene(at, server, rows, "Rows") as scene:
        yield scene


_kept: dict[tuple, Tenant] = {}


async def _keep(at, server, where, name: str) -> Tenant:
    """The same tenant for all changes that are put right again, because making tenants takes time."""
    key = (at.profile, at.version, name)
    if key not in _kept:
        tenant = _kept[key] = await provision(at, server, where)
        tenant.sql("CREATE TABLE notes (id int PRIMARY KEY, body text)", "mig_a")
        tenant.sql("INSERT INTO notes VALUES (1, 'secret')")
    return replace(_kept[key], server=server)


@pytest.fixture
async def attacker(at, server, schemas):
    """A tenant with a schema, which others change."""
    return await _keep(at, server, schemas, "attacker")


@pytest.fixture
async def victim(at, server, schemas):
    """Its neighbour, with a secret."""
    return await _keep(at, server, schemas, "victim")


@pytest.fixture
async def home(server):
    """The database of the server that its tenants' own ones are looked at from."""
    where = replace(pool("Databases"), holds="Schemas")
    await ensure_pool(server, where)
    return where


@pytest.fixture
async def crowded(red):
    """The tenant of the shared tables with some hundred rows."""
    red.sql("INSERT INTO customers (id, email) SELECT g, 'c' || g FROM generate_series(2, 300) g")
    red.sql("INSERT INTO orders (id, customer_id, previous) SELECT g, g, g - 1 FROM generate_series(2, 300) g")
    return red
