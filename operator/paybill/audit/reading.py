"""Reading the log back: row by row from the server, so that a log of any length can be listed and verified.

Read by people's tools, not by the operator, and therefore over a plain blocking connection of its own. A repeatable
snapshot is taken, so that rows written meanwhile look neither lost nor out of order.
"""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from psycopg import Connection, IsolationLevel, sql
from psycopg.rows import class_row

from paybill.audit.chain import COLUMNS, Row

CHUNK = 2000
OVERLAP = 5000
"""How far behind the newest row ``follow`` looks again: a lower seq of another writer may be committed later."""

_SELECT = sql.SQL("SELECT {} FROM paybill.audit_log").format(sql.SQL(", ").join(map(sql.Identifier, COLUMNS)))


@dataclass(frozen=True)
class Filter:
    """Which rows are wanted; what is ``None`` or false does not restrict. ``tenant`` is an id or a Tenant's name."""

    tenant: str | None = None
    since: datetime | None = None
    action: str | None = None
    destructive: bool = False

    def conditions(self) -> tuple[list[sql.SQL], list[object]]:
        """The SQL conditions and the values bound in them."""
        found: list[tuple[sql.SQL, list[object]]] = []
        if self.tenant is not None:
            named = "(tenant_id = %s OR tenant_id IN (SELECT id FROM paybill.tenants WHERE tenant_name = %s))"
            found.append((sql.SQL(named), [self.tenant, self.tenant]))
        if self.since is not None:
            found.append((sql.SQL("time >= %s"), [self.since]))
        if self.action is not None:
            found.append((sql.SQL("action = %s"), [self.action]))
        if self.destructive:
            found.append((sql.SQL("destructive"), []))
        return [condition for condition, _ in found], [value for _, values in found for value in values]


def rows(connection: Connection[object], wanted: Filter | None = None) -> Iterator[Row]:
    """The wanted rows in the order of ``seq``, through a cursor on the server."""
    conditions, values = (wanted or Filter()).conditions()
    query = _SELECT
    if conditions:
        query += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions)
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    with connection.transaction(), connection.cursor("audit", row_factory=class_row(Row)) as cursor:
        cursor.itersize = CHUNK
        cursor.execute(query + sql.SQL(" ORDER BY seq"), values)
        yield from cursor


def follow(connection: Connection[object], wanted: Filter, *, every: float = 1.0) -> Iterator[Row]:
    """The wanted rows as ``rows`` gives them, then each new one as it comes, for ever."""
    seen: deque[int] = deque(maxlen=2 * OVERLAP)
    newest = 0
    for row in rows(connection, wanted):
        seen.append(row.seq)
        newest = row.seq
        yield row
    conditions, values = wanted.conditions()
    query = _SELECT + sql.SQL(" WHERE ") + sql.SQL(" AND ").join([*conditions, sql.SQL("seq > %s")])
    while True:
        time.sleep(every)
        with connection.transaction(), connection.cursor(row_factory=class_row(Row)) as cursor:
            cursor.execute(query + sql.SQL(" ORDER BY seq"), [*values, newest - OVERLAP])
            fresh = [row for row in cursor if row.seq not in seen]
        for row in fresh:
            seen.append(row.seq)
            newest = max(newest, row.seq)
            yield row
