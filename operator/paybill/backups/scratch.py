"""A database made to restore into, and dropped: where a backup is proved, and where a tenant's schema is renamed.

What is in a backup is the tenant's, functions and triggers included, and it runs when it is restored. So it is restored
by a login that can do nothing anywhere else, into a database that holds nothing else. Both are named after the job, so
the next attempt of the same job removes what a killed one left.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from paybill.api.failures import Blocked, Failure
from paybill.backups import logins
from paybill.backups.programs import Login
from paybill.databases.credentials import new_password, scram_verifier
from paybill.databases.places import Session
from paybill.databases.server import Server
from paybill.databases.sessions import end_sessions
from paybill.desired import sql_names as names

logger = logging.getLogger(__name__)

PREFIX = "pb_scratch_"
TENANT_STAND_IN = (
    "CREATE FUNCTION paybill.tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE"
    " SET search_path = pg_catalog, pg_temp AS $$SELECT NULL::text$$"
)
"""Tables of migrations have it as a default; nobody logs in here whom it could name."""


def scratch_name(job: str) -> str:
    """The scratch database (and its login) of a job: the same for the same job."""
    return f"{PREFIX}{hashlib.sha256(job.encode()).hexdigest()[:12]}"


@asynccontextmanager
async def scratch(
    server: Server, job: str, extensions: Iterable[tuple[str, str]], *, until: datetime
) -> AsyncIterator[Login]:
    """An empty database with ``extensions`` in schema ext, and the login that restores into it.

    ``until`` is when the login's password ends by itself. Raises ``Blocked("NameConflict")`` when something of that
    name is not ours, ``Blocked("ExtensionMissing")`` when the server does not have an extension or gives it to a
    superuser only.
    """
    name = scratch_name(job)
    await remove(server, name)
    login = Login(server.address(), name, name, new_password())
    try:
        await _make(server, login, until)
        await _furnish(server, login, extensions)
        yield login
    except Failure:
        await _empty(server, login)
        raise
    finally:
        await asyncio.shield(asyncio.create_task(remove(server, name)))


async def _empty(server: Server, login: Login) -> None:
    """Give back what is in it, as far as that goes.

    Dropping a database takes a checkpoint, which a disk without a free block turns into the end of the whole server;
    dropping tables takes none.
    """
    try:
        async with logins.session(server, login, read_only=False) as session:
            await session.execute("DROP OWNED BY CURRENT_USER CASCADE")
    except Failure as failure:  # the database is dropped all the same, or says why not
        logger.warning("scratch database %s was not emptied: %s", login.database, failure)


async def remove(server: Server, name: str) -> None:
    """Drop a scratch database and its login; raises ``Blocked("NameConflict")`` when they are not ours."""
    mark = names.mark(server.installation, "scratch")
    async with server.session() as admin:
        database = await _comment(admin, "pg_database", "datname", name)
        role = await _comment(admin, "pg_authid", "rolname", name)
        # A crash between CREATE DATABASE and its comment leaves one without; the login was made and marked before it.
        if role not in (None, mark) or database not in (None, "", mark) or (database == "" and role is None):
            raise Blocked("NameConflict", f"server {server.name}: {name} exists and is not Paybill's; remove it")
        if role is not None:
            await admin.execute(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(name)))
            await end_sessions(admin, server.traits, [name])
        if database is not None:
            await _drop(server, admin, name)
        if role is not None:
            await admin.execute(SQL("DROP ROLE {}").format(Identifier(name)))


async def _drop(server: Server, admin: Session, name: str) -> None:
    drop = SQL("DROP DATABASE IF EXISTS {}").format(Identifier(name))
    await server.forget(name)
    try:
        await admin.execute(drop + SQL(" WITH (FORCE)"))
    except psycopg.errors.InsufficientPrivilege:
        # Autovacuum is at work in it, which a managed administrator may not end; without FORCE Postgres ends it.
        await admin.execute(drop)


async def left_over(server: Server) -> list[str]:
    """The scratch databases and logins of this installation that are there now."""
    query = (
        "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'pb\\_scratch\\_%%'"
        " AND shobj_description(oid, 'pg_authid') = %s ORDER BY 1"
    )
    async with server.session() as admin:
        cursor = await admin.execute(query, [names.mark(server.installation, "scratch")])
        return [name for (name,) in await cursor.fetchall()]


async def _comment(admin: Session, catalog: str, column: str, name: str) -> str | None:
    """The mark of an object, "" without one; None when there is no object."""
    source = "pg_roles" if catalog == "pg_authid" else catalog
    query = SQL("SELECT COALESCE(shobj_description(oid, {}), '') FROM {} WHERE {} = %s").format(
        Literal(catalog), Identifier(source), Identifier(column)
    )
    cursor = await admin.execute(query, [name])
    found = await cursor.fetchone()
    return None if found is None else str(found[0])


async def _make(server: Server, login: Login, until: datetime) -> None:
    name, mark = Identifier(login.database), Literal(names.mark(server.installation, "scratch"))
    async with server.session() as admin:
        async with admin.transaction():
            await admin.execute(
                SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 4 PASSWORD {} VALID UNTIL {}").format(
                    name, Literal(scram_verifier(login.password)), Literal(until.isoformat())
                )
            )
            await admin.execute(SQL("COMMENT ON ROLE {} IS {}").format(name, mark))
        await admin.execute(SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(name))
        async with admin.transaction():
            await admin.execute(SQL("COMMENT ON DATABASE {} IS {}").format(name, mark))
            await admin.execute(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
            await admin.execute(SQL("GRANT CONNECT, CREATE ON DATABASE {} TO {}").format(name, name))


async def _furnish(server: Server, login: Login, extensions: Iterable[tuple[str, str]]) -> None:
    user = Identifier(login.user)
    async with server.session(login.database) as admin:
        try:
            await admin.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            await admin.execute(SQL("CREATE SCHEMA {}").format(Identifier(names.EXTENSIONS_SCHEMA)))
            await admin.execute(SQL("GRANT USAGE ON SCHEMA {} TO {}").format(Identifier(names.EXTENSIONS_SCHEMA), user))
            for extension, version in extensions:
                await _extension(admin, extension, version)
            await admin.execute(SQL("CREATE SCHEMA {}").format(Identifier(names.TENANCY_SCHEMA)))
            await admin.execute(SQL(TENANT_STAND_IN))
            await admin.execute(SQL("GRANT USAGE ON SCHEMA {} TO {}").format(Identifier(names.TENANCY_SCHEMA), user))
        finally:
            # An idle session of ours would keep the database from being dropped.
            await admin.close()


async def _extension(admin: Session, extension: str, version: str) -> None:
    cursor = await admin.execute(
        "SELECT 1 FROM pg_available_extension_versions WHERE name = %s AND version = %s", [extension, version]
    )
    if await cursor.fetchone() is None:
        raise Blocked("ExtensionMissing", f"the server has no extension {extension} {version}, which the data uses")
    await admin.execute(
        SQL("CREATE EXTENSION {} SCHEMA {} VERSION {} CASCADE").format(
            Identifier(extension), Identifier(names.EXTENSIONS_SCHEMA), Literal(version)
        )
    )
