"""A shop on Postgres 18 and on 15, laid out as Paybill lays out a tenant with a database of its own."""

import contextlib
import secrets

import psycopg
import pytest

from tests.agents import shop
from tests.databases.servers import SYSTEM_15, start

ROLES = f"""
DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{shop.OWNER}') THEN
  CREATE ROLE {shop.OWNER}; CREATE ROLE {shop.WRITERS}; CREATE ROLE {shop.APP} LOGIN PASSWORD 'app';
  GRANT {shop.WRITERS} TO {shop.APP};
END IF; END $$
"""


@pytest.fixture(scope="module", params=[18, *([15] if SYSTEM_15.is_dir() else [])], ids="postgres-{}".format)
def at(request):
    """A server as its superuser sees it."""
    return start("Superuser", request.param)


@contextlib.contextmanager
def new_shop(at):
    """The name of a new database with the shop's tables in it."""
    name = f"shop_{secrets.token_hex(4)}"
    at.run(ROLES)
    at.run(f"CREATE DATABASE {name}")
    try:
        at.run(
            f"CREATE SCHEMA {shop.SCHEMA} AUTHORIZATION {shop.OWNER};"
            f" GRANT CONNECT ON DATABASE {name} TO {shop.WRITERS};"
            f" GRANT USAGE ON SCHEMA {shop.SCHEMA} TO {shop.WRITERS}; SET ROLE {shop.OWNER};"
            f" SET search_path = {shop.SCHEMA};"
            f" ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {shop.WRITERS};"
            f" ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO {shop.WRITERS};" + shop.TABLES,
            name,
        )
        yield name
    finally:
        at.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def database(at):
    """A shop that no agent has been let into."""
    with new_shop(at) as name:
        yield name


@contextlib.asynccontextmanager
async def administrator(at, database):
    """An administrator's session on a database."""
    async with await psycopg.AsyncConnection.connect(
        host="127.0.0.1", port=at.port, user="postgres", dbname=database, autocommit=True
    ) as session:
        yield session
