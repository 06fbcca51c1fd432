"""What Paybill adds to every table that a migration made, in that migration's own transaction.

Where tables are shared: row security, forced, with the two policies of the research (section 2). Where a tenant has its
own: a check that no row is another tenant's, so that nothing foreign can be put there to travel into shared tables with
a move. Neither is the provider's to write, so neither can be forgotten.
"""

from __future__ import annotations

from typing import Final

from psycopg.sql import SQL, Composed, Identifier, Literal

from paybill.api.failures import Blocked
from paybill.databases.server import Session
from paybill.desired import sql_names as names
from paybill.migrations.rules import TENANT_COLUMN_MISSING

_SAME: Final = "tenant_id = (SELECT paybill.tenant())"

_UNFENCED_ROWS: Final = """
SELECT c.relname::text,
       EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
  FROM pg_class c
 WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind IN ('r', 'p')
   AND NOT (c.relrowsecurity AND c.relforcerowsecurity
            AND EXISTS (SELECT 1 FROM pg_policy p
                         WHERE p.polrelid = c.oid AND p.polname = 'pb_allow' AND p.polpermissive)
            AND EXISTS (SELECT 1 FROM pg_policy p
                         WHERE p.polrelid = c.oid AND p.polname = 'pb_fence' AND NOT p.polpermissive))
 ORDER BY 1
"""

_UNFENCED_OWN: Final = """
SELECT c.relname::text,
       EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
  FROM pg_class c
 WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind IN ('r', 'p')
   AND NOT EXISTS (SELECT 1 FROM pg_constraint k
                    WHERE k.conrelid = c.oid AND k.conname = 'pb_fence' AND k.contype = 'c' AND k.convalidated)
 ORDER BY c.relispartition, 1
"""


async def fence_shared(session: Session) -> tuple[str, ...]:
    """Put row security on every shared table that lacks it, and look again; returns the tables."""
    fenced = await _unfenced(session, _UNFENCED_ROWS, names.ROWS_SCHEMA)
    for table in fenced:
        for part in _shared(Identifier(names.ROWS_SCHEMA, table)):
            await session.execute(part)
    _refuse(await _unfenced(session, _UNFENCED_ROWS, names.ROWS_SCHEMA))
    return fenced


async def fence_own(session: Session, tenant: str) -> tuple[str, ...]:
    """Put the check on every table of the tenant's schema that lacks it, and look again; returns the tables."""
    schema = names.schema(tenant)
    fenced: tuple[str, ...] = ()
    # A check of a partitioned table is its partitions' too, so each is looked for when its turn comes.
    while (left := await _unfenced(session, _UNFENCED_OWN, schema)) and left[0] not in fenced:
        check = SQL("ALTER TABLE {} ADD CONSTRAINT {} CHECK (tenant_id = {})")
        await session.execute(
            check.format(Identifier(schema, left[0]), Identifier(names.FENCE), Literal(names.tenant_id(tenant)))
        )
        fenced = (*fenced, left[0])
    _refuse(left)
    return fenced


def _shared(table: Identifier) -> tuple[Composed, ...]:
    same = SQL(_SAME)
    return (
        SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table),
        SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(table),
        SQL("DROP POLICY IF EXISTS pb_allow ON {}").format(table),
        SQL("DROP POLICY IF EXISTS pb_fence ON {}").format(table),
        SQL("CREATE POLICY pb_allow ON {} AS PERMISSIVE FOR ALL TO {} USING ({}) WITH CHECK ({})").format(
            table, Identifier(names.TENANTS), same, same
        ),
        SQL("CREATE POLICY pb_fence ON {} AS RESTRICTIVE FOR ALL TO PUBLIC USING ({}) WITH CHECK ({})").format(
            table, same, same
        ),
    )


async def _unfenced(session: Session, query: str, schema: str) -> tuple[str, ...]:
    rows = await (await session.execute(query.encode(), [schema])).fetchall()
    without = [name for name, has_tenant in rows if not has_tenant]
    if without:
        raise Blocked(
            "FenceMissing",
            f"{TENANT_COLUMN_MISSING.name}: {', '.join(without)}: {TENANT_COLUMN_MISSING.wrong}; the file was undone",
        )
    return tuple(name for name, _ in rows)


def _refuse(left: tuple[str, ...]) -> None:
    if left:
        raise Blocked(
            "FenceMissing", f"{', '.join(left)}: nothing keeps tenants' rows apart in it; the file was undone"
        )
