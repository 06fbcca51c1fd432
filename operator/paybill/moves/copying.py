"""Copies all rows of a tenant as of one moment, under one snapshot, before what was written since is replicated.

A subscription's own first copy begins a worker, a slot and a transaction for each table, which makes many small tables
slow, and it knows no pace, so that whoever shares the processors feels it. Here many tables are one transaction, with a
rest after each burst of work. What it cannot do is outlive its process: cut short, it begins anew. So a tenant that
would take hours is left to the subscription (decision 0022).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg.sql import SQL, Composed, Identifier

from paybill.backups import logins as backup_logins
from paybill.backups.logins import session as login_session
from paybill.databases.places import Session
from paybill.desired import sql_names as names
from paybill.moves import archive, logins, shared, snapshot
from paybill.moves.job import Job
from paybill.moves.streams import Carried, Pace, carry

MOST: Final = 64 * 1024**3
"""Bytes on the source's disk that are copied so: about an hour's work, which an operator's end costs once more."""
TOGETHER: Final = 200
"""Tables that one transaction copies at most: it holds a lock on each until its end."""
LARGE: Final = 64 * 1024**2
"""Bytes that one transaction copies of several tables; who alters a table waits for it."""

_SIZES: Final = """
SELECT c.relname::text, pg_relation_size(c.oid),
       ARRAY(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
              ORDER BY a.attnum)
  FROM pg_class c WHERE c.relnamespace = to_regnamespace(%s) AND c.relname = ANY(%s) AND c.relkind = 'r'
 ORDER BY 2 DESC, 1
"""


@dataclass(frozen=True)
class Table:
    """A table at the source: its bytes there, and the columns that hold something of their own."""

    name: str
    size: int
    columns: tuple[str, ...]


def suits(size: int) -> bool:
    """Whether a tenant of so many bytes is copied here."""
    return size <= MOST


def together(tables: Iterable[Table]) -> list[list[Table]]:
    """The tables in the order given, in groups that are one transaction each."""
    groups: list[list[Table]] = []
    size = 0
    for table in tables:
        if not groups or len(groups[-1]) >= TOGETHER or size + table.size > LARGE:
            groups.append([])
            size = 0
        groups[-1].append(table)
        size += table.size
    return groups


async def copy(job: Job, tables: Sequence[str], definition: bytes, carried: Carried) -> None:
    """Make the slot, copy all rows as of then into the tables of the target, and build their keys and indexes.

    The target's tables are there without either, and empty. ``carried`` is told of what has come over. Raises a failure
    when it is not all there; nothing of it can be used then.
    """
    async with snapshot.taken(job) as moment, _both(job) as (source, target):
        async with job.source.server.session(job.source.pool.name) as admin:
            found = await (await admin.execute(_SIZES, [job.schema, list(tables)])).fetchall()
        pace, owner = Pace(), Identifier(names.role(job.tenant, "owner"))
        for group in together(Table(name, size, tuple(columns)) for name, size, columns in found):
            async with source.transaction(), target.transaction():
                await source.execute(SQL("SET TRANSACTION SNAPSHOT {}").format(moment))
                await target.execute(SQL("SET LOCAL ROLE {}").format(owner))
                for table in group:
                    await carry(source, target, *_statements(job, table), carried, pace)
    await archive.put_keys(job, definition)


def _statements(job: Job, table: Table) -> tuple[Composed, Composed]:
    name = Identifier(job.schema, table.name)
    columns = SQL(", ").join(map(Identifier, table.columns))
    part = SQL("SELECT {} FROM ONLY {}{}").format(columns, name, shared.only(job))
    listed = SQL("({})").format(columns) if table.columns else SQL("")
    return SQL("COPY ({}) TO STDOUT").format(part), SQL("COPY {} {} FROM STDIN").format(name, listed)


@contextlib.asynccontextmanager
async def _both(job: Job) -> AsyncIterator[tuple[Session, Session]]:
    """A session that reads what is the tenant's and one that writes as the tenant, both of the move's own logins."""
    opened = shared.opened(job, backup_logins.DUMPS) if job.rows else logins.opened(job, job.source, "read")
    async with (
        opened as reading,
        logins.opened(job, job.target, "write") as writing,
        login_session(job.source.server, reading) as source,
        login_session(job.target.server, writing, read_only=False) as target,
    ):
        yield source, target
