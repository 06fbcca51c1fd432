"""Sends statements as one transaction in one round trip, so nothing of them lasts unless all do."""

from collections.abc import Iterable

from psycopg.sql import SQL

from paybill.databases.server import Session
from paybill.databases.statement import Statement


async def run(session: Session, statements: Iterable[Statement]) -> tuple[str, ...]:
    """Run ``statements`` together and return what each says (some are silent); nothing is sent when there are none."""
    listed = tuple(statements)
    if listed:
        # No values are bound, so the simple protocol carries them all at once.
        parts = (SQL("BEGIN"), *(statement.sql for statement in listed), SQL("COMMIT"))
        await session.execute(SQL("; ").join(parts))
    return tuple(statement.says for statement in listed if statement.says)
