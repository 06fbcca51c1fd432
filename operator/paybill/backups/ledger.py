"""Counts what a dump must contain, and what a restore of it contains: the same questions, asked of both.

Per table the number of rows and the sum of their hashes: the order of rows does not matter and a doubled one does (an
exclusive-or would not see it). Asked only by logins that are no superuser, with everything pinned that decides how a
value is written, so that the same values have the same sum on every server.
"""

from __future__ import annotations

from typing import Any, Final

from psycopg.sql import SQL, Composable, Identifier

from paybill.backups.manifest import Ledger, Sequence, Table
from paybill.databases.places import Session

LONGEST: Final = 6 * 3600.0
"""Seconds that the tables of one query may take to be summed."""
TOGETHER: Final = 100
"""Tables that one query sums: of many small ones most of the time is the way there and back."""

_TABLES: Final = """
SELECT c.relname::text, ARRAY(SELECT a.attname::text FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
  FROM pg_class c WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' ORDER BY 1
"""
# The order of conditions is the server's to choose, and the privilege of what is no sequence cannot be asked for.
_SEQUENCES: Final = """
SELECT c.relname::text FROM pg_class c
 WHERE c.relnamespace = to_regnamespace(%s)
   AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT') END ORDER BY 1
"""
_DIRECTION: Final = """
SELECT s.seqincrement > 0 FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
 WHERE c.relnamespace = to_regnamespace(%s) AND c.relname = %s
"""
# What a dump recreates besides rows. Row policies are left out: they name roles of the server, not the tenant's data;
# and so are the triggers of agents (agentless.py).
_OBJECTS: Final = """
WITH space AS (SELECT to_regnamespace(%s)::oid AS oid)
SELECT 'relation ' || c.relkind::text || ' ' || c.relname FROM pg_class c, space WHERE c.relnamespace = space.oid
UNION ALL
SELECT 'constraint ' || c.conname || ' of ' || COALESCE(r.relname, '') FROM pg_constraint c
  LEFT JOIN pg_class r ON r.oid = c.conrelid, space WHERE c.connamespace = space.oid AND c.contype <> 'n'
UNION ALL
SELECT 'function ' || p.proname || ' of ' || p.pronargs::text FROM pg_proc p, space WHERE p.pronamespace = space.oid
UNION ALL
SELECT 'type ' || t.typtype::text || ' ' || t.typname FROM pg_type t, space
 WHERE t.typnamespace = space.oid AND t.typtype IN ('d', 'e', 'r')
UNION ALL
SELECT 'trigger ' || t.tgname || ' of ' || c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid, space
 WHERE c.relnamespace = space.oid AND NOT t.tgisinternal AND t.tgname !~ '^pba_write_'
ORDER BY 1
"""
_EXTENSIONS: Final = "SELECT extname::text, extversion FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"


async def read(session: Session, schema: str, *, tenant: str = "") -> Ledger:
    """What ``schema`` holds, as ``session``'s login sees it in its transaction; only rows of ``tenant`` when named."""
    cursor = await session.execute(_TABLES, [schema])
    found = await cursor.fetchall()
    wanted = [(name, columns) for name, columns in found if not tenant or "tenant_id" in columns]
    tables: list[Table] = []
    with session.patiently(LONGEST):
        for first in range(0, len(wanted), TOGETHER):
            tables += await _tables(session, schema, wanted[first : first + TOGETHER], tenant)
    names = [name for (name,) in await _rows(session, _SEQUENCES, [schema])]
    return Ledger(
        tables=tuple(tables),
        sequences=tuple([await _sequence(session, schema, name) for name in names]),
        objects=tuple(text for (text,) in await _rows(session, _OBJECTS, [schema])),
        extensions=tuple((name, version) for name, version in await _rows(session, _EXTENSIONS, [])),
    )


async def _tables(session: Session, schema: str, wanted: list[tuple[str, list[str]]], tenant: str) -> list[Table]:
    where: Composable = SQL(" WHERE tenant_id = {}").format(tenant) if tenant else SQL("")
    query = SQL("SELECT count(*), COALESCE(sum(hashtextextended(ROW({})::text, 0)::numeric), 0)::text FROM ONLY {}{}")
    each = [
        query.format(SQL(", ").join(map(Identifier, columns)), Identifier(schema, name), where)
        for name, columns in wanted
    ]
    numbered = [SQL("SELECT {}, * FROM ({}) AS one").format(number, one) for number, one in enumerate(each)]
    found = await _rows(session, SQL(" UNION ALL ").join(numbered), [])
    sums = {number: (count, checksum) for number, count, checksum in found}
    return [Table(name=name, rows=sums[number][0], checksum=sums[number][1]) for number, (name, _) in enumerate(wanted)]


async def _sequence(session: Session, schema: str, name: str) -> Sequence:
    query = SQL("SELECT CASE WHEN is_called THEN last_value END FROM {}").format(Identifier(schema, name))
    ((last,),) = await _rows(session, query, [])
    ((up,),) = await _rows(session, _DIRECTION, [schema, name])
    return Sequence(name=name, last=last, up=up)


async def _rows(session: Session, query: Any, values: list[Any]) -> list[tuple[Any, ...]]:
    cursor = await session.execute(query, values or None)
    return await cursor.fetchall()


def differences(expected: Ledger, found: Ledger) -> tuple[str, ...]:
    """What is not the same, in words; empty when ``found`` holds all that was counted, and nothing else.

    A sequence may have gone on while the dump was made: it stands outside of every transaction.
    """
    said: list[str] = []
    ours, theirs = {one.name: one for one in expected.tables}, {one.name: one for one in found.tables}
    for name in sorted(ours.keys() | theirs.keys()):
        before, after = ours.get(name), theirs.get(name)
        if before is None or after is None:
            said.append(f"table {name} is {'not in the backup' if after is None else 'in the backup only'}")
        elif before.rows != after.rows:
            said.append(f"table {name} had {before.rows} rows, the backup has {after.rows}")
        elif before.checksum != after.checksum:
            said.append(f"table {name} has {before.rows} rows whose checksum is another one")
    stands = {one.name: one for one in found.sequences}
    for sequence in expected.sequences:
        after_it = stands.get(sequence.name)
        if after_it is None:
            said.append(f"sequence {sequence.name} is not in the backup")
        elif not after_it.reaches(sequence):
            said.append(f"sequence {sequence.name} stood at {sequence.last}, in the backup at {after_it.last}")
    said += [f"{what} is not in the backup" for what in sorted(set(expected.objects) - set(found.objects))]
    return tuple(said)
