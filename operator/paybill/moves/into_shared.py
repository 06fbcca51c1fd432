"""Puts one tenant into shared tables, while its logins are closed.

Its rows are inserted by a login that row security binds as it binds the tenant, so none can become a neighbour's; what
replicates would pass by these policies, and copying in bulk is refused behind them. All tables are one transaction.
They must be there already, and be as the tenant's own to the last column: their definition is every tenant's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from psycopg.sql import SQL, Identifier

from paybill.api.failures import Blocked
from paybill.backups import ledger as counts
from paybill.backups import restore_rows
from paybill.backups.logins import session as login_session
from paybill.backups.manifest import Table
from paybill.databases.borrowed import borrowed
from paybill.databases.credentials import new_password
from paybill.databases.job_login import close_login, of_tenant, open_login
from paybill.databases.leader import asserting
from paybill.databases.rows import erase
from paybill.databases.server import Session
from paybill.databases.statement import Statement
from paybill.databases.transactions import run
from paybill.desired import sql_names as names
from paybill.migrations import ledger
from paybill.moves import logins
from paybill.moves.job import Job, Place

MOST: Final = 512 * 1024 * 1024
"""Bytes of a tenant that is put into shared tables: its rows are held in memory, because keys say in which order."""

_TABLES: Final = """
SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r' AND relname <> %s
 ORDER BY 1
"""
_NUMBERED: Final = """
SELECT s.relname::text, t.relname::text, a.attname::text
  FROM pg_class s JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass
   AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  JOIN pg_class t ON t.oid = d.refobjid JOIN pg_attribute a ON (a.attrelid, a.attnum) = (t.oid, d.refobjsubid)
 WHERE s.relkind = 'S' AND s.relnamespace = to_regnamespace(%s) ORDER BY 1
"""
_OURS: Final = (f" {names.LEDGER}", f".{names.LEDGER}", f"constraint {names.FENCE} ")
_COMPARED: Final = ("column ", "constraint ", "index ", "function ", "type ", "trigger ", "rule ")


def refusals(job: Job, theirs: tuple[str, ...], ours: tuple[str, ...], size: int) -> list[str]:
    """Why the tables of one schema (in lines) cannot become part of the shared ones."""
    own = {
        line.replace(f"{names.schema(job.tenant)}.", f"{names.ROWS_SCHEMA}.")
        for line in theirs
        if line.startswith(_COMPARED) and not any(one in line for one in _OURS)
    }
    shared = {line for line in ours if line.startswith(_COMPARED)}
    tables = {line.split()[1].split(".")[0] for line in own if line.startswith("column ")}
    columns = {line for line in shared if line.startswith("column ") and line.split()[1].split(".")[0] in tables}
    said = [f"what the shared tables have not: {line}" for line in sorted(own - shared)[:3]]
    said += [f"not what the shared tables have: {line}" for line in sorted(columns - own)[:3]]
    if size > MOST:
        said.append(f"{size / 1e6:.0f} MB, where {MOST / 1e6:.0f} are put into shared tables at most")
    return said


async def clear(job: Job) -> None:
    """Remove the tenant's rows from the shared tables, as an earlier attempt left them."""
    target, (login, group) = job.target, of_tenant(job.tenant)

    async def held(session: Session) -> None:
        await job.fence(target.server, session)

    async with target.server.session(target.pool.name) as admin:
        await erase(target.server, target.pool, admin, job.tenant, job.mark, held, groups=_groups(target))
        async with admin.transaction():
            await held(admin)
            await close_login(admin, login, group)
            await _leave(admin, target, login)


async def put(job: Job) -> None:
    """Insert all rows, or none."""
    async with _both(job) as (source, session):
        tables = [name for (name,) in await _rows(source, _TABLES, [job.schema, names.LEDGER])]
        async with session.transaction():
            await restore_rows.exchange_tables(source, session, job.schema, tables, job.tenant)


async def verify(job: Job) -> tuple[Table, ...]:
    """Compare both sides to the last row; returns what there is, or raises ``Blocked("MoveDiffers")``."""
    async with _both(job) as (source, session):
        tables = [name for (name,) in await _rows(source, _TABLES, [job.schema, names.LEDGER])]
        wanted = [await restore_rows.expected(source, session, job.schema, name, job.tenant) for name in tables]
        found = {one.name: one for one in (await counts.read(session, names.ROWS_SCHEMA, tenant=job.tenant)).tables}
    differing = [one.name for one in wanted if found.get(one.name) != one]
    if differing:
        said = f"the target of the move of tenant {job.tenant} is not as the source: {', '.join(differing[:5])}"
        raise Blocked("MoveDiffers", said)
    return tuple(wanted)


async def settle(job: Job) -> None:
    """Have the shared sequences go on behind the tenant's numbers, and the ledger say what migrations it has run."""
    target = job.target
    async with _both(job) as (source, session):
        known = await _rows(source, "SELECT to_regclass(%s)", [f"{job.schema}.{names.LEDGER}"]) != [(None,)]
        own = SQL("SELECT version, name, checksum, applied_time FROM {} ORDER BY 1").format(
            ledger.of_tenant(job.tenant).table
        )
        ran = await _rows(source, own, []) if known else []
        highest = {}
        for sequence, table, column in await _rows(session, _NUMBERED, [names.ROWS_SCHEMA]):
            most = SQL("SELECT max({}) FROM {} WHERE tenant_id = %s")
            query = most.format(Identifier(column), Identifier(names.ROWS_SCHEMA, table))
            ((highest[sequence],),) = await _rows(session, query, [job.tenant])
    if ran:
        await ledger.ensure_of_rows(target.server, target.pool)
    async with target.server.session(target.pool.name) as admin:
        await run(admin, (*asserting(target.server.epoch), *borrowed(_numbers(target, highest), target.server.traits)))
        insert = (
            "INSERT INTO paybill.migrations (tenant_id, version, name, checksum, applied_time)"
            " SELECT %s, %s, %s, %s, %s WHERE NOT EXISTS (SELECT 1 FROM paybill.migrations"
            " WHERE tenant_id = %s AND version = %s) ON CONFLICT DO NOTHING"
        )
        for version, *rest in ran:
            await admin.execute(insert, [job.tenant, version, *rest, ledger.POOL, version])


def _numbers(target: Place, highest: dict[str, int | None]) -> list[Statement]:
    owner = names.pool_owner(target.pool.name)
    statements = []
    for sequence, last in sorted(highest.items()):
        if last is not None:
            whole = SQL("{}").format(Identifier(names.ROWS_SCHEMA, sequence)).as_string()
            # Neighbours take numbers meanwhile: what it stands at is only ever raised.
            move = SQL("SELECT setval({0}::regclass, greatest({1}, nextval({0}::regclass)))").format(whole, last)
            statements.append(Statement(f"raise sequence {sequence}", move, owner=owner))
    return statements


@asynccontextmanager
async def _both(job: Job) -> AsyncIterator[tuple[Session, Session]]:
    """A session that reads the source in one transaction, and one of the tenant's own in the shared tables."""
    target, (login, group), password = job.target, of_tenant(job.tenant), new_password()
    async with target.server.session(target.pool.name) as admin, admin.transaction():
        await job.fence(target.server, admin)
        await open_login(admin, login, group, job.mark, password)
        for name in _groups(target):
            await admin.execute(SQL("GRANT {} TO {}").format(Identifier(name), Identifier(login)))
    try:
        async with (
            logins.opened(job, job.source, "read") as reading,
            login_session(job.source.server, reading) as source,
            source.transaction(),
            target.server.login(target.pool.name, login, password) as session,
        ):
            yield source, session
    finally:
        async with target.server.session(target.pool.name) as admin, admin.transaction():
            await close_login(admin, login, group)
            await _leave(admin, target, login)


def _groups(target: Place) -> tuple[str, ...]:
    """What reaches the shared tables: the tenant's own groups do so only once it is there."""
    return target.pool.name, names.TENANTS, names.ROWS_WRITE


async def _leave(admin: Session, target: Place, login: str) -> None:
    for name in _groups(target):
        await admin.execute(SQL("REVOKE {} FROM {}").format(Identifier(name), Identifier(login)))


async def _rows(session: Session, query: Any, values: list[Any]) -> list[tuple[Any, ...]]:
    cursor = await session.execute(query.encode() if isinstance(query, str) else query, values or None)
    return await cursor.fetchall()
