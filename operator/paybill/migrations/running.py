"""Runs one file for one subject: a tenant with its own schema, a pool of shared tables, or one of its tenants.

Always by a login that is no administrator and owns nothing but what it migrates. A file is one transaction with its row
in the ledger and with what Paybill adds to its tables: a crash leaves all of it or nothing. The one kind that cannot be
in a transaction (an index that is built beside the running app) is built while the ledger's row is held uncommitted by
a second session, and counts when the index is seen to be valid.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from paybill.api.failures import Blocked, Failure, Retry
from paybill.databases.failures import translated
from paybill.databases.server import Server, Session
from paybill.desired import sql_names as names
from paybill.migrations.files import File
from paybill.migrations.ledger import Ledger
from paybill.migrations.syntax import statements

_TOLD: Final = ("0A", "23", "2B", "42", "55")
"""Classes of errors whose message names objects; those of others may hold a tenant's data."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a file may take. In seconds: one statement, and waiting for a lock that the running app holds."""

    statement: float = 900.0
    lock: float = 5.0


@dataclass(frozen=True, kw_only=True)
class Login:
    """By whom a subject is migrated, and where its tables are."""

    server: Server
    database: str
    schema: str
    user: str
    password: str

    @asynccontextmanager
    async def session(self, limits: Limits) -> AsyncIterator[Session]:
        """A session of this login with its search path pinned; connection trouble leaves as a failure."""
        options = (
            f"-c search_path={self.schema},{names.EXTENSIONS_SCHEMA},pg_temp -c TimeZone=UTC -c DateStyle=ISO"
            f" -c statement_timeout={round(limits.statement * 1000)} -c lock_timeout={round(limits.lock * 1000)}"
            " -c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off"
            " -c default_transaction_isolation=read\\ committed"
        )
        parameters = {"options": options, "application_name": "paybill migrations"}
        async with self.server.login(self.database, self.user, self.password, **parameters) as session:
            session.patience = limits.statement + 30.0
            yield session


Fence = Callable[[Session], Awaitable[tuple[str, ...]]]
"""Adds what is Paybill's to the tables that a file made, in its transaction."""


async def apply(login: Login, session: Session, ledger: Ledger, file: File, fence: Fence, limits: Limits) -> bool:
    """Run ``file`` once; whether it was run now. Nothing of it lasts when this raises.

    Raises ``Blocked("MigrationFailed")`` when the file itself fails, ``Retry`` when something else was in its way.
    """
    try:
        if not file.transactional:
            return await _apart(login, session, ledger, file, limits)
        async with session.transaction():
            if not await _claimed(session, ledger, file):
                return False
            await session.execute(file.sql.encode())
            if session.info.transaction_status is not TransactionStatus.INTRANS:
                raise Blocked("MigrationFailed", f"{file.file_name} ended the transaction that it ran in")
            await fence(session)
        return True
    except psycopg.Error as error:
        raise failed(login.server.name, file, error) from error


async def _claimed(session: Session, ledger: Ledger, file: File) -> bool:
    """Whether this transaction is the one that runs the file; waits for another one that does."""
    try:
        async with session.transaction():
            await ledger.record(session, file)
    except errors.UniqueViolation:
        return False
    return True


async def _apart(login: Login, session: Session, ledger: Ledger, file: File, limits: Limits) -> bool:
    (statement,) = statements(file.sql)
    index = statement.node.get("idxname") if statement.kind == "IndexStmt" else None
    async with login.session(limits) as other, other.transaction():
        if not await _claimed(other, ledger, file):
            return False
        if index is not None and await _valid(session, login.schema, index) is False:
            # Left over by a build that was cut short.
            drop = SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(Identifier(login.schema, index))
            await session.execute(drop)
        await session.execute(file.sql.encode())
        if index is not None and not await _valid(session, login.schema, index):
            raise Blocked("MigrationFailed", f"{file.file_name}: index {index} is not valid after it was built")
    return True


async def _valid(session: Session, schema: str, index: str) -> bool | None:
    """Whether the index is valid; None when there is none of that name."""
    cursor = await session.execute(
        "SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE c.relnamespace = to_regnamespace(%s) AND c.relname = %s",
        [schema, index],
    )
    row = await cursor.fetchone()
    return None if row is None else bool(row[0])


def failed(server: str, file: File, error: psycopg.Error) -> Failure:
    """What stopped a file: its own mistake, or something that passes."""
    failure = translated(server, error)
    code = error.sqlstate or ""
    own = code in ("57014", "42710", "42P06", "42P07", "42704", "23505")
    if isinstance(failure, Retry) and not own:
        return Retry(failure.reason, f"{file.file_name}: {failure.message}")
    if not code:
        return failure
    if code == "57014":
        what = "a statement took longer than spec.migrations.statementTimeout"
    elif code[:2] in _TOLD:
        what = f"{error.diag.message_primary} ({code})"
    else:
        what = f"error {code} ({type(error).__name__}); the server's log has its message, which may hold tenants' data"
    position = error.diag.statement_position
    line = f", line {file.sql.count(chr(10), 0, int(position) - 1) + 1}" if position else ""
    return Blocked("MigrationFailed", f"{file.file_name}{line}: {what}; nothing of the file was kept")
