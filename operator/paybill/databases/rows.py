"""Erases one tenant's rows from the shared tables of a pool.

They are deleted by a login of that tenant, never by the administrator: row security is forced even on the tables'
owner, who would delete nothing and be told it went well (research, section 2), and a login behind the policies cannot
touch a neighbour's row whatever a table's triggers do. The login is made for this and goes with the tenant.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from psycopg import errors
from psycopg.sql import SQL, Identifier

from paybill.api.failures import Blocked
from paybill.databases.credentials import new_password
from paybill.databases.job_login import of_tenant, open_login
from paybill.databases.server import Server, Session
from paybill.desired import sql_names as names
from paybill.desired.database_tenant import PoolDatabase

LONGEST: Final = 900.0
"""Seconds that a statement of the eraser may take: a table that refers to itself goes in one."""

BATCH: Final = 5_000
"""Rows per transaction: short enough that neighbours' queries never wait for it."""

_TABLES: Final = """
SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
 WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
"""

Table = str


async def erase(
    server: Server,
    pool: PoolDatabase,
    admin: Session,
    tenant: str,
    mark: str,
    fence: Callable[[Session], Awaitable[None]],
    *,
    groups: Sequence[str] = (),
) -> tuple[str, ...]:
    """Delete all rows of ``tenant`` in batches, each while ``fence`` holds in an open transaction of ``admin``.

    ``mark`` is the tenant's; ``groups`` are what the eraser needs to be in beside the tenant's writers, where these are
    elsewhere by now. Raises ``Blocked("RowsRemain")`` when a table does not let go of the tenant's rows.
    """
    cursor = await admin.execute(_TABLES, [names.ROWS_SCHEMA])
    tables = [name for (name,) in await cursor.fetchall()]
    (login, group), password = of_tenant(tenant), new_password()
    async with admin.transaction():
        await fence(admin)
        await open_login(admin, login, group, mark, password)
        for name in groups:
            await admin.execute(SQL("GRANT {} TO {}").format(Identifier(name), Identifier(login)))
    async with server.login(pool.name, login, password) as session:
        session.patience = LONGEST
        deleted = await _empty(admin, session, tables, tenant, fence)
    return tuple(f"deleted {count} rows of {names.ROWS_SCHEMA}.{table}" for table, count in deleted.items() if count)


async def _empty(
    admin: Session,
    session: Session,
    tables: list[Table],
    tenant: str,
    fence: Callable[[Session], Awaitable[None]],
) -> dict[Table, int]:
    """Pass over the tables until all are empty; one that others refer to has its turn after them.

    When nothing moves, a table may refer to itself: then it is emptied in one statement, which is checked at its end.
    """
    deleted = dict.fromkeys(tables, 0)
    waiting = tables
    limit: int | None = BATCH
    while waiting:
        held: list[Table] = []
        for table in waiting:
            try:
                while count := await _batch(admin, session, table, tenant, limit, fence):
                    deleted[table] += count
            except errors.ForeignKeyViolation:
                held.append(table)
        if len(held) == len(waiting):
            if limit is None:
                raise Blocked("RowsRemain", f"tenant {tenant}: rows of {', '.join(held)} refer to each other")
            limit = None
        waiting = held
    return deleted


async def _batch(
    admin: Session,
    session: Session,
    table: Table,
    tenant: str,
    limit: int | None,
    fence: Callable[[Session], Awaitable[None]],
) -> int:
    target = Identifier(names.ROWS_SCHEMA, table)
    batch = SQL(
        "DELETE FROM {0} WHERE tenant_id = %(id)s"
        " AND ctid = ANY(ARRAY(SELECT ctid FROM {0} WHERE tenant_id = %(id)s LIMIT %(limit)s))"
    )
    left = SQL("SELECT 1 FROM {} WHERE tenant_id = %s LIMIT 1")
    async with admin.transaction():
        await fence(admin)
        cursor = await session.execute(batch.format(target), {"id": tenant, "limit": limit})
        if cursor.rowcount:
            return cursor.rowcount
        remaining = await session.execute(left.format(target), [tenant])
        if await remaining.fetchone() is not None:
            raise Blocked("RowsRemain", f"tenant {tenant}: table {table} does not let go of its rows")
        return 0
