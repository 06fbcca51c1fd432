"""Reads the journal of a tenant's database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.sql import SQL, Identifier

from paybill.agents.journal import COLUMNS, Entry
from paybill.audit.links import Head
from paybill.databases.server import Session

_ENTRIES: Final = SQL(
    "SELECT {} FROM pb.journal WHERE (%(run)s::uuid IS NULL OR run = %(run)s) ORDER BY run, seq"
).format(SQL(", ").join(map(Identifier, COLUMNS)))


async def entries(session: Session, run: UUID | None = None) -> AsyncIterator[Entry]:
    """The entries of one run, or of all, each run's in their order."""
    async with session.cursor() as cursor:
        async for row in cursor.stream(_ENTRIES, {"run": run}):
            yield Entry(**dict(zip(COLUMNS, row, strict=True)))


_RUNS: Final = """
SELECT r.id, r.role, r.opened_time, r.deadline, r.closed_time,
       (SELECT j.digest FROM pb.journal j WHERE j.run = r.id AND j.kind = 'closed'),
       r.calls, r.max_calls, r.rows_read, r.max_rows_read, r.rows_written, r.max_rows_written, r.workflow_hash
  FROM pb.run r WHERE (%(open)s IS FALSE OR (r.closed_time IS NULL AND r.deadline > clock_timestamp()))
 ORDER BY r.opened_time, r.id
"""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run as its row says it; ``role`` is the agent's login, ``ending`` why it was closed."""

    id: UUID
    role: str
    opened: datetime
    deadline: datetime
    closed: datetime | None
    ending: str | None
    calls: int
    max_calls: int
    rows_read: int
    max_rows_read: int
    rows_written: int
    max_rows_written: int
    workflow: str


async def all_runs(session: Session, *, only_open: bool) -> tuple[RunRow, ...]:
    """The runs of a tenant's database, the oldest first."""
    rows = await (await session.execute(_RUNS, {"open": only_open})).fetchall()
    return tuple(RunRow(*row) for row in rows)


async def heads(session: Session) -> tuple[Head, ...]:
    """The newest entry of every run, as its row says: to be kept elsewhere."""
    rows = await (await session.execute("SELECT id, seq, head FROM pb.run WHERE seq > 0 ORDER BY id")).fetchall()
    return tuple(Head(run, seq, bytes(head)) for run, seq, head in rows)
