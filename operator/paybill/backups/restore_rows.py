"""Exchanges one tenant's rows of shared tables for those of a backup, within a transaction of the tenant's own login.

Row security stands between this login and everybody else's rows, so a mistake here is the tenant's alone. Foreign keys
say in which order rows can go and come; where they go in a circle, what is refused waits for the next turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from psycopg import errors
from psycopg.sql import SQL, Composable, Identifier, Literal

from paybill.api.failures import Blocked
from paybill.backups import ledger, logins
from paybill.backups.manifest import Ledger, Manifest, Table
from paybill.backups.programs import Login
from paybill.backups.proof import refuse_different
from paybill.backups.restoring import Restore, scratch_of, scrubbed, writer
from paybill.databases.places import Session
from paybill.desired.sql_names import ROWS_SCHEMA

BATCH: Final = 5_000
"""Rows per statement."""

_COLUMNS: Final = """
SELECT a.attname::text FROM pg_attribute a
 WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum
"""
_KEY: Final = """
SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
 WHERE i.indrelid = to_regclass(%s) AND i.indisprimary ORDER BY a.attnum
"""

_REFERENCES: Final = """
SELECT c.relname::text, t.relname::text FROM pg_constraint k
  JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class t ON t.oid = k.confrelid
 WHERE k.connamespace = to_regnamespace(%s) AND k.contype = 'f' AND k.conrelid <> k.confrelid
"""

Turn = Callable[[], Awaitable[Any]]


async def switch(restore: Restore, close: Callable[[], Awaitable[None]]) -> None:
    """Exchange the tenant's rows, compare and scrub them, and commit all of it or nothing.

    ``close`` shuts the tenant out; it comes when the backup lies beside, so that nobody waits for that.
    """
    async with scratch_of(restore) as scratch:
        await close()
        await _exchanged(restore, scratch)


async def _exchanged(restore: Restore, scratch: Login) -> None:
    target = restore.target
    async with (
        writer(restore, "rw") as login,
        logins.session(target.server, scratch) as source,
        logins.session(target.server, login, read_only=False) as session,
        target.server.session(target.pool.name) as admin,
        source.transaction(),
        session.transaction(),
    ):
        restore.progress("Exchanging", 0)
        await _refuse_altered(source, session, restore.known)
        expected = await exchange(source, session, restore.known, target.tenant)
        found = await ledger.read(session, ROWS_SCHEMA, tenant=target.tenant)
        refuse_different(restore.known, Ledger(tables=expected), Ledger(tables=found.tables))
        await scrubbed(session, restore, ROWS_SCHEMA)
        async with admin.transaction():
            await restore.fence(admin)


async def _refuse_altered(source: Session, session: Session, known: Manifest) -> None:
    """Raise ``Blocked("RestoreUnfit")`` when the shared tables are others now than the backup was taken of."""
    for table in known.ledger.tables:
        before = {name for (name,) in await _rows(source, _COLUMNS, [f'"{known.schema_name}"."{table.name}"'])}
        now = {name for (name,) in await _rows(session, _COLUMNS, [f'"{ROWS_SCHEMA}"."{table.name}"'])}
        if before != now:
            differing = ", ".join(sorted(before ^ now)) if now else "all of it"
            raise Blocked(
                "RestoreUnfit",
                f"shared table {table.name} was altered since backup {known.id} ({differing}): its rows do not fit it"
                " any more; restore it into a scratch server, and load what is needed of it by hand",
            )


async def exchange(source: Session, session: Session, known: Manifest, tenant: str) -> tuple[Table, ...]:
    """Delete all rows of ``tenant`` and insert those of the backup; returns what must be counted then.

    Both sessions are in transactions; nothing is committed here. Raises ``Blocked("RestoreUnfit")`` when foreign keys
    let no order work.
    """
    tables = [table.name for table in known.ledger.tables]
    return await exchange_tables(source, session, known.schema_name, tables, tenant)


async def exchange_tables(
    source: Session, session: Session, schema: str, tables: Sequence[str], tenant: str
) -> tuple[Table, ...]:
    """The same with the rows of ``tables`` in a schema of ``source``."""
    tables = await _referenced_first(session, list(tables))
    with session.patiently(ledger.LONGEST), source.patiently(ledger.LONGEST):
        await _in_turns(session, [_deleting(session, name, tenant) for name in reversed(tables)], tenant)
        turns: list[Turn] = []
        for name in tables:
            turns += [_inserting(session, name, columns, text, tenant)
                      for columns, text in await _batches(source, schema, name)]  # fmt: skip
        await _in_turns(session, turns, tenant)
        return tuple([await expected(source, session, schema, name, tenant) for name in sorted(tables)])


async def _referenced_first(session: Session, tables: list[str]) -> list[str]:
    """The tables with those that others refer to before these, as far as there is such an order."""
    found = await _rows(session, _REFERENCES, [ROWS_SCHEMA])
    needs = {table: {to for of, to in found if of == table and to in tables} for table in sorted(tables)}
    ordered: list[str] = []
    while len(ordered) < len(tables):
        left = [table for table in needs if table not in ordered]
        free = [table for table in left if needs[table] <= set(ordered)]
        ordered += free or left  # of those in a circle each waits for its turn
    return ordered


async def _in_turns(session: Session, turns: Sequence[Turn], tenant: str) -> None:
    """Take every turn; what a foreign key refuses comes again after the others, as long as any of them works."""
    waiting = list(turns)
    while waiting:
        held: list[Turn] = []
        for turn in waiting:
            try:
                async with session.transaction():
                    await turn()
            except errors.ForeignKeyViolation:
                held.append(turn)
        if len(held) == len(waiting):
            raise Blocked("RestoreUnfit", f"tenant {tenant}: rows refer to each other in no order that works")
        waiting = held


def _deleting(session: Session, table: str, tenant: str) -> Turn:
    async def turn() -> None:
        query = SQL("DELETE FROM {} WHERE tenant_id = %s").format(Identifier(ROWS_SCHEMA, table))
        await session.execute(query, [tenant])

    return turn


def _inserting(session: Session, table: str, columns: list[str], rows: str, tenant: str) -> Turn:
    target = Identifier(ROWS_SCHEMA, table)
    listed = SQL(", ").join(map(Identifier, columns))
    values = SQL(", ").join(Literal(tenant) if name == "tenant_id" else Identifier(name) for name in columns)
    query = SQL(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM json_populate_recordset(NULL::{}, %s::json)"
    ).format(target, listed, values, target)

    async def turn() -> None:
        await session.execute(query, [rows])

    return turn


async def _batches(source: Session, schema: str, table: str) -> list[tuple[list[str], str]]:
    """The rows as JSON texts, in the order of the primary key: rows that refer to older ones come after them."""
    where = f'"{schema}"."{table}"'
    columns = [name for (name,) in await _rows(source, _COLUMNS, [where])]
    key = [name for (name,) in await _rows(source, _KEY, [where])] or columns[:1]
    order: Composable = SQL(", ").join(map(Identifier, key))
    listed = SQL(", ").join(map(Identifier, columns))
    query = SQL(
        "SELECT json_agg(row_to_json(part) ORDER BY number)::text"
        " FROM (SELECT row_number() OVER (ORDER BY {}) AS number, {} FROM {}) part"
        " GROUP BY (number - 1) / {} ORDER BY min(number)"
    ).format(order, listed, Identifier(schema, table), Literal(BATCH))
    found = await _rows(source, query, [])
    return [(columns, text) for (text,) in found]


async def expected(source: Session, session: Session, schema: str, table: str, tenant: str) -> Table:
    """The count and the sum of the source's rows, as they are when they are ``tenant``'s in the shared table."""
    columns = await _rows(session, _COLUMNS.replace("AND a.attgenerated = ''", ""), [f'"{ROWS_SCHEMA}"."{table}"'])
    listed = SQL(", ").join(Literal(tenant) if name == "tenant_id" else Identifier(name) for (name,) in columns)
    query = SQL("SELECT count(*), COALESCE(sum(hashtextextended(ROW({})::text, 0)::numeric), 0)::text FROM {}").format(
        listed, Identifier(schema, table)
    )
    ((rows, checksum),) = await _rows(source, query, [])
    return Table(name=table, rows=rows, checksum=checksum)


async def _rows(session: Session, query: Any, values: list[Any]) -> list[tuple[Any, ...]]:
    cursor = await session.execute(query, values or None)
    return await cursor.fetchall()
