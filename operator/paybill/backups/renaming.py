"""Makes restored tables another tenant's: they name the one that they were taken of in a column and in a check.

The provider's tables carry ``tenant_id``, and Paybill's fence allows one value of it (migrations/fences.py). References
between tables go by that column too, so they are taken off while it changes and put back as they were, which compares
every row with them again. All of it is one transaction of the new tenant's own login.
"""

from __future__ import annotations

from typing import Any, Final

from psycopg.sql import SQL, Composable, Identifier, Literal

from paybill.backups import ledger
from paybill.databases.places import Session
from paybill.desired import sql_names as names

_FENCED: Final = """
SELECT c.relname::text, k.conislocal FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
 WHERE k.connamespace = to_regnamespace(%s) AND k.contype = 'c' AND k.conname = %s ORDER BY 1
"""
_REFERENCES: Final = """
SELECT c.relname::text, k.conname::text, pg_get_constraintdef(k.oid)
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
 WHERE k.connamespace = to_regnamespace(%s) AND k.contype = 'f' AND k.conparentid = 0 ORDER BY 1, 2
"""
_TRIGGERS: Final = """
SELECT c.relname::text, t.tgname::text, t.tgenabled::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE c.relnamespace = to_regnamespace(%s) AND NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled <> 'D'
 ORDER BY 1, 2
"""
_ENABLED: Final = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


async def become(session: Session, schema: str, before: str, after: str) -> None:
    """Change what names tenant ``before`` into ``after`` in ``schema``; nothing where they are the same."""
    if before == after:
        return
    fenced = await _rows(session, _FENCED, [schema, names.FENCE])
    if not fenced:
        return
    with session.patiently(ledger.LONGEST):
        async with session.transaction():
            triggers = await _rows(session, _TRIGGERS, [schema])
            references = await _rows(session, _REFERENCES, [schema])
            for table, name, _ in triggers:
                await _alter(session, schema, table, SQL("DISABLE TRIGGER {}").format(Identifier(name)))
            for table, name, _ in references:
                await _alter(session, schema, table, SQL("DROP CONSTRAINT {}").format(Identifier(name)))
            local = [table for table, own in fenced if own]
            for table in local:
                await _alter(session, schema, table, SQL("DROP CONSTRAINT {}").format(Identifier(names.FENCE)))
            for table, _ in fenced:
                await _change(session, schema, table, before, after)
            for table in local:
                await _alter(session, schema, table, _fence(after))
            # A reference's own words come from the catalog, which names its tables by the pinned search path.
            for table, name, definition in references:
                added = SQL("ADD CONSTRAINT {} ").format(Identifier(name)) + SQL(definition)
                await _alter(session, schema, table, added)
            for table, name, enabled in triggers:
                again = SQL(f"{_ENABLED[enabled]} TRIGGER {{}}")
                await _alter(session, schema, table, again.format(Identifier(name)))


def _fence(tenant: str) -> Composable:
    check = SQL("ADD CONSTRAINT {} CHECK (tenant_id = {})")
    return check.format(Identifier(names.FENCE), Literal(names.tenant_id(tenant)))


async def _change(session: Session, schema: str, table: str, before: str, after: str) -> None:
    update = SQL("UPDATE ONLY {} SET tenant_id = %s WHERE tenant_id = %s").format(Identifier(schema, table))
    await session.execute(update, [after, before])


async def _alter(session: Session, schema: str, table: str, how: Composable) -> None:
    await session.execute(SQL("ALTER TABLE {} ").format(Identifier(schema, table)) + how)


async def _rows(session: Session, query: str, values: list[Any]) -> list[tuple[Any, ...]]:
    cursor = await session.execute(query.encode(), values)
    return await cursor.fetchall()
