"""Takes one tenant out of shared tables: what of a move is other there than between places of a tenant's own.

The tables are made anew as the shared ones are, but for what fences tenants from each other. For the time of the move
their schema is called as the shared one, because replication finds a table by its name; it gets the tenant's name right
before the switch, together with the ledger of what migrations have run and the check that no row is anybody else's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from psycopg.sql import SQL, Composable, Identifier, Literal

from paybill.api.failures import Retry
from paybill.backups import logins as backup_logins
from paybill.backups.logins import session as login_session
from paybill.backups.programs import Login
from paybill.databases.borrowed import join, leave
from paybill.databases.job_login import close_login, of_tenant
from paybill.databases.leader import asserting
from paybill.databases.rows import erase
from paybill.databases.server import Session
from paybill.databases.statement import Statement
from paybill.databases.transactions import run
from paybill.desired import sql_names as names
from paybill.migrations import fences, ledger
from paybill.moves import logins
from paybill.moves.job import Job

_EVERYBODYS: Final = """
SELECT c.relname::text FROM pg_class c
 WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind IN ('r', 'p')
   AND NOT EXISTS (SELECT 1 FROM pg_attribute a
                    WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped) ORDER BY 1
"""
# Whoever publishes a part of a table needs the columns that say which part in what identifies a row: without them an
# update or a delete of the whole table is refused, to every tenant.
_UNTOLD: Final = """
SELECT c.relname::text FROM pg_class c
 WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' AND c.relreplident <> 'f' AND NOT EXISTS (
   SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
    WHERE i.indrelid = c.oid AND a.attname = 'tenant_id'
      AND CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END) ORDER BY 1
"""
_MARKS: Final = """
SELECT nspname::text, COALESCE(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = ANY(%s)
"""
_STANDS: Final = "SELECT sequencename::text, last_value FROM pg_sequences WHERE schemaname = %s ORDER BY 1"
_NUMBERED: Final = """
SELECT s.relname::text, t.relname::text, a.attname::text
  FROM pg_class s JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass
   AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  JOIN pg_class t ON t.oid = d.refobjid JOIN pg_attribute a ON (a.attrelid, a.attnum) = (t.oid, d.refobjsubid)
 WHERE s.relkind = 'S' AND s.relnamespace = to_regnamespace(%s) ORDER BY 1
"""
_RAN: Final = """
SELECT version, name, checksum, applied_time FROM paybill.migrations WHERE tenant_id = ANY(%s) ORDER BY version
"""
NEVER: Final = frozenset({"ACL", "POLICY", "ROW SECURITY"})
"""What of shared tables is not carried along: who may do what there is no question where nobody else is."""


async def look(session: Session) -> tuple[list[str], list[str]]:
    """Why rows cannot be taken out of the shared tables at all, and why not while they are used."""
    refusals, offline = [], []
    if everybodys := [name for (name,) in await _rows(session, _EVERYBODYS, [names.ROWS_SCHEMA])]:
        refusals.append(f"tables without tenant_id, which are everybody's: {', '.join(everybodys[:3])}")
    if untold := [name for (name,) in await _rows(session, _UNTOLD, [names.ROWS_SCHEMA])]:
        offline.append(f"tables whose key does not hold tenant_id: {', '.join(untold[:3])}")
    return refusals, offline


async def stage(job: Job) -> None:
    """Have the tenant's schema at the target be called as the shared one; nothing where it is, or was never made.

    Raises ``Retry("MoveQueued")`` while another tenant's is.
    """
    await _rename(job, names.schema(job.tenant), names.ROWS_SCHEMA)


async def settle(job: Job) -> None:
    """Give the schema its own name, and put into it what is Paybill's there."""
    await _rename(job, names.ROWS_SCHEMA, names.schema(job.tenant))
    source, target, owner = job.source, job.target, Identifier(names.role(job.tenant, "owner"))
    async with source.server.session(source.pool.name) as admin:
        kept = await _rows(admin, "SELECT to_regclass('paybill.migrations')", [])
        ran = await _rows(admin, _RAN, [[ledger.POOL, job.tenant]]) if kept != [(None,)] else []
    async with (
        logins.opened(job, target, "write") as login,
        login_session(target.server, login, read_only=False) as session,
        session.transaction(),
    ):
        await session.execute(SQL("SET LOCAL ROLE {}").format(owner))
        if ran:
            await ledger.ensure_of_tenant(session, job.tenant)
        insert = SQL(
            "INSERT INTO {} (tenant_id, version, name, checksum, applied_time) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING"
        ).format(ledger.of_tenant(job.tenant).table)
        for row in ran:
            await session.execute(insert, [job.tenant, *row])
        await fences.fence_own(session, job.tenant)


async def _rename(job: Job, old: str, new: str) -> None:
    target, owner = job.target, names.role(job.tenant, "owner")
    async with target.server.session(target.pool.name) as admin:
        marks = dict(await _rows(admin, _MARKS, [[old, new]]))
        if marks.get(new) == job.mark or marks.get(old) != job.mark:
            return
        if new in marks:
            raise Retry(
                "MoveQueued", f"schema {new} of database {target.pool.name} is another tenant's move", after=10.0
            )
        traits = target.server.traits
        around = () if traits.superuser else (join(owner, traits, inherit=True),)
        after = () if traits.superuser else (leave(owner, traits),)
        rename = SQL("ALTER SCHEMA {} RENAME TO {}").format(Identifier(old), Identifier(new))
        statements = (*around, Statement(f"rename schema {old} to {new}", rename), *after)
        await run(admin, (*asserting(target.server.epoch), *statements))


async def sequences(job: Job) -> None:
    """Let the target's sequences go on behind every number that the tenant has, and where the shared ones stand.

    What a shared sequence gave out is not shown to an administrator that is no superuser: there the tenant's own rows
    alone count.
    """
    async with job.source.server.session(job.source.pool.name) as admin:
        stands = dict(await _rows(admin, _STANDS, [names.ROWS_SCHEMA]))
    async with (
        logins.opened(job, job.target, "write") as login,
        login_session(job.target.server, login, read_only=False) as session,
        session.transaction(),
    ):
        await session.execute(SQL("SET LOCAL ROLE {}").format(Identifier(names.role(job.tenant, "owner"))))
        for sequence, table, column in await _rows(session, _NUMBERED, [names.ROWS_SCHEMA]):
            most = SQL("SELECT max({}) FROM {}").format(Identifier(column), Identifier(names.ROWS_SCHEMA, table))
            ((highest,),) = await _rows(session, most, [])
            stands[sequence] = max((one for one in (highest, stands.get(sequence)) if one is not None), default=None)
        for sequence, last in stands.items():
            if last is not None:
                whole = Identifier(names.ROWS_SCHEMA, sequence).as_string()
                await session.execute("SELECT setval(%s::regclass, %s)", [whole, last])


@asynccontextmanager
async def opened(job: Job, suffix: str) -> AsyncIterator[Login]:
    """One of the tenant's backup logins, to which row security shows what is the tenant's."""

    async def held(session: Session) -> None:
        await job.fence(job.source.server, session)

    source, until = job.source, datetime.now(UTC) + logins.LONGEST
    async with backup_logins.opened(
        source.server, source.pool, job.tenant, job.mark, suffix, until=until, fence=held
    ) as login:
        yield login


async def discard(job: Job) -> None:
    """Delete the tenant's rows from the shared tables of a server that it is still on, with other rights by now."""
    source, (login, group) = job.source, of_tenant(job.tenant)
    back = (source.pool.name, names.TENANTS, names.ROWS_WRITE)

    async def held(session: Session) -> None:
        await job.fence(source.server, session)

    async with source.server.session(source.pool.name) as admin:
        await erase(source.server, source.pool, admin, job.tenant, job.mark, held, groups=back)
        async with admin.transaction():
            await held(admin)
            await close_login(admin, login, group)
            for name in back:
                await admin.execute(SQL("REVOKE {} FROM {}").format(Identifier(name), Identifier(login)))


def only(job: Job) -> Composable:
    """What of a table is published."""
    return SQL(" WHERE (tenant_id = {})").format(Literal(job.tenant)) if job.rows else SQL("")


async def dumped(job: Job) -> tuple[str, ...]:
    """What pg_dump is told beside the schema.

    What a shared sequence has given out is the neighbours' business too: a tenant's login may not read it.
    """
    async with job.source.server.session(job.source.pool.name) as admin:
        found = await _rows(admin, _STANDS, [names.ROWS_SCHEMA])
    return ("--enable-row-security", *(f"--exclude-table-data={names.ROWS_SCHEMA}.{name}" for name, _ in found))


async def _rows(session: Session, query: Any, values: list[Any]) -> list[tuple[Any, ...]]:
    cursor = await session.execute(query.encode() if isinstance(query, str) else query, values or None)
    return await cursor.fetchall()
