"""A shop on Postgres 18 and on 15, laid out as Paybill lays out a tenant with a database of its own."""

import contextlib
import secrets
import uuid
from datetime import timedelta

import psycopg
import pytest

from paybill.agents import names
from paybill.agents.carrying_out import carry_out
from paybill.agents.introspection import introspect
from paybill.agents.runs import Budget, Grant, open_day, open_run
from paybill.databases.credentials import scram_verifier
from tests.agents import shop
from tests.databases.servers import SYSTEM_15, start

VERSIONS = [18, *([pytest.param(15, marks=pytest.mark.exhaustive)] if SYSTEM_15.is_dir() else [])]
"""Where all of it would take minutes on a small machine: what is refused and how is the same on both."""
PASSWORD = "the-agents-own"
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
    for (other,) in at.run("SELECT datname FROM pg_database WHERE datallowconn"):
        at.run(f'REVOKE CONNECT ON DATABASE "{other}" FROM PUBLIC')
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


class Scene:
    """A shop that an agent was let into, and what a test does with it."""

    def __init__(self, at, database):
        self.at, self.database = at, database
        self.role = names.login(shop.TENANT, "support")

    def admin(self, statement, values=None):
        return self.at.run(statement, self.database, values)

    def owner(self, statement):
        """What the tenant's owner does, in its schema."""
        with self.at.superuser(self.database) as session:
            session.execute(f"SET search_path = {shop.SCHEMA}")
            cursor = session.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def login(self, role="", password=PASSWORD, **more):
        """A session with a stolen password: whatever SQL one likes."""
        return psycopg.connect(
            host="127.0.0.1", port=self.at.port, dbname=self.database, user=role or self.role, password=password,
            autocommit=True, connect_timeout=60, **more,
        )  # fmt: skip

    async def carry_out(self, policy, accepted=None):
        async with administrator(self.at, self.database) as session:
            facts = await new_facts(session, self.database)
            return await carry_out(
                session,
                policy,
                shop.TENANT,
                facts,
                verifier=scram_verifier(PASSWORD, iterations=16),
                accepted=accepted,
            )

    async def run(self, *grants, calls=1000, rows_read=1000, rows_written=1000, time=600):
        """The id of a new open run whose step ``work`` may do ``grants``."""
        run = uuid.uuid4()
        budget = Budget(calls=calls, rows_read=rows_read, rows_written=rows_written, time=timedelta(seconds=time))
        async with administrator(self.at, self.database) as session:
            await open_day(session, self.role)
            await open_run(session, run, self.role, "sha256:workflow", budget, grants)
        return run

    def agent(self, run, step="work", **more):
        """A session of the agent in a run, as its gateway makes one."""
        session = self.login(**more)
        session.execute("SELECT set_config('pb.run', %s, false), set_config('pb.step', %s, false)", [str(run), step])
        return session


def may(operation, rows=5, calls=1000, collection="orders", step="work"):
    return Grant(step=step, collection=collection, operation=operation, calls=calls, rows=rows)


async def new_facts(session, database):
    """The facts, with the version that the gate wants: distributions' own Postgres 15 lags behind it."""
    facts = await introspect(session, database, shop.SCHEMA, shop.TENANT)
    version = max(facts.surroundings.version, 150019)
    return facts.model_copy(update={"surroundings": facts.surroundings.model_copy(update={"version": version})})


async def scene_of(at, database, **changes):
    scene = Scene(at, database)
    await scene.carry_out(shop.policy(**changes))
    return scene


@contextlib.asynccontextmanager
async def without(scene, policy, function, parts):
    """The shop with parts of one function of ours exchanged; afterwards the plan makes it whole."""
    [(made,)] = scene.admin("SELECT pg_get_functiondef(%s::regprocedure)", [function])
    for protection, instead in parts.items():
        assert protection in made, f"{function} is held by something else"
        made = made.replace(protection, instead)
    scene.admin(made)
    try:
        yield
    finally:
        assert await scene.carry_out(policy) != ()
