"""Reads the journal of a tenant's database."""

from __future__ import annotations

from collections.abc import AsyncIterator
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


async def heads(session: Session) -> tuple[Head, ...]:
    """The newest entry of every run, as its row says: to be kept elsewhere."""
    rows = await (await session.execute("SELECT id, seq, head FROM pb.run WHERE seq > 0 ORDER BY id")).fetchall()
    return tuple(Head(run, seq, bytes(head)) for run, seq, head in rows)
