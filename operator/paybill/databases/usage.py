"""What tenants use of a server, by its catalogs and statistics: nobody's table is read.

Of shared tables the statistics of ANALYZE tell which tenants have most of the rows, and what part. Whoever has too
little of a table to be among them is not told of: what such a tenant uses is unknown, and it is not much.

The size of a table is that of its files, which takes a lock that a tenant's own ALTER TABLE holds back. So sizes are
asked for with a short patience, and where that runs out once more tenant by tenant: whoever cannot be measured now is
left out, and nobody else is.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from psycopg import errors

from paybill.databases.server import Server, Session
from paybill.desired import sql_names as names
from paybill.desired.database_tenant import PoolDatabase

PATIENCE_MS: Final = 200

_SCHEMAS: Final = r"""
SELECT substr(n.nspname, 3), COALESCE(sum(pg_total_relation_size(c.oid)), 0)::bigint,
       COALESCE(sum(pg_stat_get_live_tuples(c.oid)), 0)::bigint
  FROM pg_namespace n
  LEFT JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
   AND d.classid = 'pg_class'::regclass AND d.deptype = 'n'
  LEFT JOIN pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'm')
 WHERE n.nspname ~ '^t_[0-9a-z]{8}$' AND (%(schemas)s::text[] IS NULL OR n.nspname = ANY(%(schemas)s))
 GROUP BY 1
"""
_NAMES: Final = r"""
SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^t_[0-9a-z]{8}$'
   AND (%(only)s::text[] IS NULL OR nspname = ANY(%(only)s)) ORDER BY 1
"""
_DATABASES: Final = """
SELECT substr(d.datname, 6), pg_database_size(d.oid), s.xact_commit + s.xact_rollback
  FROM pg_database d JOIN pg_stat_database s ON s.datid = d.oid
 WHERE d.datname ~ %(own)s AND d.datallowconn
   AND (%(only)s::text[] IS NULL OR substr(d.datname, 6) = ANY(%(only)s))
"""


# The view shows a column's statistics to who may read the table: a managed administrator may not.
_SHARES: Final = """
SELECT one.tenant, sum(one.share * pg_total_relation_size(c.oid))::bigint, sum(one.share * c.reltuples)::bigint
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = 'tenant_id'
 CROSS JOIN LATERAL unnest(s.most_common_vals::text::text[], s.most_common_freqs) AS one (tenant, share)
 WHERE n.nspname = %(schema)s AND c.relkind = 'r' AND c.reltuples > 0 AND NOT s.inherited
   AND (%(only)s::text[] IS NULL OR one.tenant = ANY(%(only)s))
 GROUP BY 1
"""


@dataclass(frozen=True)
class Usage:
    """What one tenant uses now. ``rows`` is the server's estimate; ``transactions`` count since its statistics began.

    None is what the server cannot tell of this tenant.
    """

    bytes: int | None = None
    rows: int | None = None
    transactions: int | None = None


async def usage(
    server: Server, pool: PoolDatabase, *, databases: bool = False, only: frozenset[str] | None = None
) -> dict[str, Usage]:
    """Tenant id → what it uses in ``pool``; with ``databases`` of those that have one of their own on the server.

    ``only``: nobody else is measured.

    Of a pool of rows bytes are estimates like the rows, of those that the statistics tell of. Raises what
    ``Server.session`` raises.
    """
    async with server.session(pool.name) as session:
        if databases:
            rows = await _rows(session, _DATABASES, {"own": names.TENANT_DATABASE, "only": _listed(only)})
            return {row[0]: Usage(bytes=row[1], transactions=row[2]) for row in rows}
        if pool.holds == "Rows":
            return {row[0]: Usage(bytes=row[1], rows=row[2]) for row in await _shares(session, _listed(only))}
        return {row[0]: Usage(bytes=row[1], rows=row[2]) for row in await _schemas(session, _listed(only, "t_"))}


def _listed(only: frozenset[str] | None, prefix: str = "") -> list[str] | None:
    return None if only is None else sorted(prefix + one for one in only)


async def _schemas(session: Session, only: list[str] | None) -> list[tuple[Any, ...]]:
    with suppress(errors.LockNotAvailable):
        return await _sized(session, only)
    found: list[tuple[Any, ...]] = []
    for (schema,) in await _rows(session, _NAMES, {"only": only}):
        with suppress(errors.LockNotAvailable):
            found += await _sized(session, [schema])
    return found


async def _sized(session: Session, schemas: list[str] | None) -> list[tuple[Any, ...]]:
    return await _impatient(session, _SCHEMAS, {"schemas": schemas})


async def _shares(session: Session, only: list[str] | None) -> list[tuple[Any, ...]]:
    with suppress(errors.LockNotAvailable):
        return await _impatient(session, _SHARES, {"schema": names.ROWS_SCHEMA, "only": only})
    return []


async def _impatient(session: Session, query: str, values: dict[str, object]) -> list[tuple[Any, ...]]:
    async with session.transaction():
        await session.execute(f"SET LOCAL lock_timeout = {PATIENCE_MS}".encode())
        return await _rows(session, query, values)


async def _rows(session: Session, query: str, values: dict[str, object]) -> list[tuple[Any, ...]]:
    return await (await session.execute(query.encode(), values)).fetchall()
