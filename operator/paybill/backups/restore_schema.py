"""Puts a tenant's schema back: staged beside the one that is there, and renamed in one transaction with it.

The scratch database's schema is copied by the tenant's own login, so that whatever the backup runs has no rights but
the tenant's. What the rename puts aside stays until the tenant is open again; its comment says which restore did it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from typing import Final

from psycopg.sql import SQL, Composed, Identifier, Literal

from paybill.api.failures import Blocked
from paybill.backups import ledger, logins, programs, tools
from paybill.backups.logins import PINNED
from paybill.backups.manifest import Ledger
from paybill.backups.programs import Login
from paybill.backups.proof import refuse_different
from paybill.backups.renaming import become
from paybill.backups.restoring import Restore, Target, scrubbed, writer
from paybill.databases.borrowed import borrowed, join, leave
from paybill.databases.drop import LONGEST as DROPPING
from paybill.databases.drop import Fence
from paybill.databases.grant_statements import schemas
from paybill.databases.places import Session
from paybill.databases.statement import Statement
from paybill.databases.transactions import run
from paybill.desired import sql_names as names
from paybill.desired.database_facts import Schema

REPLACED: Final = "paybill-replaced:"
"""What the comment of a schema begins with that a restore has put aside; after it comes the restore."""


def staging(target: Target) -> str:
    """Where a restore is prepared."""
    return names.staging_schema(target.tenant)


def aside(target: Target) -> str:
    """Where what was replaced is kept."""
    return names.aside_schema(target.tenant)


async def stage(restore: Restore, scratch: Login) -> None:
    """Copy the scratch database's schema beside the tenant's own, as its owner; compare; make it its own; scrub."""
    target, name = restore.target, staging(restore.target)
    restore.reached("rename")
    async with logins.session(target.server, scratch, read_only=False) as session:
        old = Identifier(restore.known.schema_name)
        await session.execute(SQL("ALTER SCHEMA {} RENAME TO {}").format(old, Identifier(name)))
    restore.reached("create")
    await _create(restore, name)
    async with writer(restore, "owner") as login:
        restore.reached("copy")
        await _copy(restore, scratch, login, name)
        restore.reached("compare")
        await _compare(restore, login, name)
        restore.reached("scrub")
        options = f"{PINNED} -c role={target.owner}"
        async with logins.session(target.server, login, options=options, read_only=False) as session:
            await become(session, name, restore.known.tenant, target.tenant)
            await scrubbed(session, restore, name)


async def switch(restore: Restore) -> None:
    """Rename the tenant's schema aside and the staged one in its place; raises ``Blocked("RestoreUnfit")``."""
    target = restore.target
    live, staged, old = names.schema(target.tenant), staging(target), aside(target)
    statements = (
        _says(SQL("ALTER SCHEMA {} RENAME TO {}").format(Identifier(live), Identifier(old))),
        _says(SQL("COMMENT ON SCHEMA {} IS {}").format(Identifier(old), Literal(f"{REPLACED}{restore.job}"))),
        _says(SQL("ALTER SCHEMA {} RENAME TO {}").format(Identifier(staged), Identifier(live))),
    )
    async with target.server.session(target.pool.name) as session:
        if await _comment(session, staged) is None:
            raise Blocked("RestoreUnfit", f"restore {restore.job} has prepared nothing for tenant {target.tenant}")
        kept = await _has_ledger(session, staged)
    await drop(target, restore.fence, old)  # of a restore before this one
    # Not before: what its groups have outside of its schema is taken from them by the next look at the tenant.
    granted = _grants(target.tenant, live, ledger=kept)
    async with target.server.session(target.pool.name) as session, session.transaction():
        await restore.fence(session)
        for statement in _as_owner((*statements, *granted), target):
            await session.execute(statement.sql)


async def switched(target: Target, job: str) -> bool:
    """Whether the mark of the exchange that restore ``job`` made is there."""
    if target.rows:
        return False
    async with target.server.session(target.pool.name) as session:
        return await _comment(session, aside(target)) == f"{REPLACED}{job}"


async def drop(target: Target, fence: Fence, name: str) -> None:
    """Drop a schema of a restore's; nothing when it is not there, and nothing of anybody else's."""
    if target.rows:
        return
    async with target.server.session(target.pool.name) as session:
        found = await _comment(session, name)
        if found is None:
            return
        if found != target.mark and not found.startswith(REPLACED):
            raise Blocked("NameConflict", f"schema {name} is marked {found!r}: it is not Paybill's")
        with session.patiently(DROPPING + 60):
            async with session.transaction():
                await session.execute(SQL("SET LOCAL statement_timeout = {}").format(f"{DROPPING}s"))
                await fence(session)
                statement = _says(SQL("DROP SCHEMA {} CASCADE").format(Identifier(name)))
                for part in _as_owner((statement,), target):
                    await session.execute(part.sql)


async def _create(restore: Restore, name: str) -> None:
    target = restore.target
    wanted = frozenset({Schema(name, target.owner)})
    async with target.server.session(target.pool.name) as session:
        await run(session, borrowed(schemas(wanted, frozenset(), target.mark), target.server.traits))


async def _copy(restore: Restore, scratch: Login, login: Login, schema: str) -> None:
    client = await tools.for_server(restore.target.server.traits.version)
    seconds = restore.longest.total_seconds()
    dump = [client.program("pg_dump"), "--format=custom", "--no-password", "--compress=0", f"--schema={schema}"]
    into = [
        client.program("pg_restore"),
        "--no-password",
        "--no-owner",
        "--no-privileges",
        "--exit-on-error",
        f"--schema={schema}",
        f"--role={restore.target.owner}",
        f"--dbname={login.database}",
    ]
    size = 0

    async def told() -> AsyncIterator[bytes]:
        nonlocal size
        async with aclosing(programs.output(dump, scratch.environment(), seconds)) as pieces:
            async for piece in pieces:
                size += len(piece)
                restore.progress("Copying", size)
                yield piece

    await programs.fed(into, login.environment(), seconds, told())


async def _compare(restore: Restore, login: Login, schema: str) -> None:
    restore.progress("Comparing", 0)
    options = f"{PINNED} -c role={restore.target.owner}"
    async with logins.session(restore.target.server, login, options=options) as session, session.transaction():
        found = await ledger.read(session, schema)
    expected = restore.known.ledger
    refuse_different(restore.known, Ledger(tables=expected.tables, sequences=expected.sequences), found)


def _grants(tenant: str, schema: str, *, ledger: bool) -> Iterable[Statement]:
    """What the tenant's groups have on what is in its schema; what comes later has it by default."""
    space, rw, r = Identifier(schema), Identifier(names.role(tenant, "rw")), Identifier(names.role(tenant, "r"))
    yield _says(SQL("GRANT USAGE ON SCHEMA {} TO {}, {}").format(space, rw, r))
    yield _says(SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {} TO {}").format(space, rw))
    yield _says(SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(space, r))
    yield _says(SQL("GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA {} TO {}").format(space, rw))
    yield _says(SQL("GRANT SELECT ON ALL SEQUENCES IN SCHEMA {} TO {}").format(space, r))
    yield _says(SQL("GRANT EXECUTE ON ALL ROUTINES IN SCHEMA {} TO {}, {}").format(space, rw, r))
    if ledger:  # which migrations have run is not the app's to say
        table = Identifier(schema, names.LEDGER)
        yield _says(SQL("REVOKE INSERT, UPDATE, DELETE ON {} FROM {}").format(table, rw))


async def _has_ledger(session: Session, schema: str) -> bool:
    # Not by to_regclass: a managed administrator may not look into a tenant's schema.
    query = (
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'r'"
    )
    cursor = await session.execute(query, [schema, names.LEDGER])
    return await cursor.fetchone() is not None


def _as_owner(statements: Iterable[Statement], target: Target) -> tuple[Statement, ...]:
    """A managed administrator owns no tenant's schema: it is the owner's member for this transaction."""
    traits = target.server.traits
    if traits.superuser:
        return tuple(statements)
    return (join(target.owner, traits, inherit=True), *statements, leave(target.owner, traits))


def _says(sql: Composed) -> Statement:
    return Statement("", sql)


async def _comment(session: Session, schema: str) -> str | None:
    """The comment of a schema, "" without one; None when there is no such schema."""
    query = "SELECT COALESCE(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = %s"
    cursor = await session.execute(query, [schema])
    found = await cursor.fetchone()
    return None if found is None else str(found[0])
