"""Every test here runs on four servers: both profiles, on Postgres 18 and on 15."""

import pytest
from tests.databases.servers import kinds, start
from tests.databases.tenancy import pool, provision, share_tables

from paybill.databases.pools import ensure_pool
from paybill.databases.server import Server


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


@pytest.fixture
async def schemas(server):
    """A pool database of schemas."""
    where = pool("Schemas")
    await ensure_pool(server, where)
    return where


@pytest.fixture
async def rows(at, server):
    """A pool database of rows with two shared tables."""
    where = pool("Rows")
    await ensure_pool(server, where)
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
