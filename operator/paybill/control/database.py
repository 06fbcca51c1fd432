"""The connection to the control database: one small pool, one way to run a transaction, one way to fail.

Sessions pin their search path in the startup packet, so that no object that somebody left in ``public`` is ever
called by our SQL. Whatever goes wrong with the connection leaves as ``Retry`` with words that name the server and never
the password, because they end up in conditions and logs.
"""

import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self, TypeAlias

import psycopg
from psycopg import conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from paybill.api.failures import Blocked, Invalid, Retry
from paybill.breaker import Breaker, Pauses
from paybill.control import schema
from paybill.postgres import PatientConnection

logger = logging.getLogger(__name__)

MINIMUM_VERSION = 150000
"""Postgres 15, as ``server_version_num`` writes it."""

SESSION_OPTIONS = (
    "-c search_path=pg_catalog,paybill -c TimeZone=UTC -c statement_timeout=30s"
    " -c idle_in_transaction_session_timeout=10s -c lock_timeout=15s"
)
"""A frozen leader may hold a lock for ten seconds; its successor waits longer than that."""

UNREACHABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
)
"""What trouble with the server looks like; a demoted primary is read-only, a frozen session finds itself ended."""

_AWAY_CLASSES = ("25006", "53", "58")
PAUSES = Pauses(first=0.5, longest=4.0)
"""Everything depends on it, so it is looked for often; all but one are told at once that it is away."""

SESSIONS = 4
"""The most that one process holds open, the audit log's included."""
SESSION_SECONDS = 3.0
"""How long one is waited for: an outage is said within seconds, and over within seconds."""

LONGEST_MIGRATION = 660.0
"""Seconds that one statement of a migration may take, or waiting for another process that migrates."""

Connection: TypeAlias = PatientConnection[TupleRow]


class ControlDatabase:
    """A pool of at most ``SESSIONS`` on the control database; made by ``open``, ended by ``close``."""

    def __init__(self, pool: AsyncConnectionPool[Connection], place: str) -> None:
        self.pool = pool
        self.place = place
        self.came_back: Callable[[], None] = lambda: None
        """Called when it can be used again after it could not: for whoever wakes those who wait."""
        self._breaker = Breaker(PAUSES, random.random)
        self._why = ""

    @property
    def away(self) -> bool:
        """Whether the last that was heard of it is that it cannot be used."""
        return self._breaker.open

    @classmethod
    async def open(
        cls, dsn: str, *, application_name: str, connection: type[PatientConnection[TupleRow]] = PatientConnection
    ) -> Self:
        """Connect to ``dsn`` (a URI or keyword string) and check that the server is one we can work with.

        ``connection`` is what its sessions are made of.
        Raises ``Invalid`` for a string that is no connection string, ``Retry("ControlDatabaseUnreachable")`` when
        the server does not answer or refuses us, ``Blocked("ControlDatabaseTooOld")`` below Postgres 15.
        """
        parameters = _parameters(dsn, application_name)
        place = _place(parameters)
        with _said_plainly(place):
            async with await connection.connect(**parameters) as probe:
                version = probe.info.server_version
        if version < MINIMUM_VERSION:
            raise Blocked(
                "ControlDatabaseTooOld",
                f"the control database {place} is Postgres {version // 10000}; Paybill needs 15 or newer",
            )
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            kwargs={**parameters, "autocommit": True},
            connection_class=connection,
            check=_refuse_dead,
            min_size=1,
            max_size=SESSIONS,
            timeout=SESSION_SECONDS,
            reconnect_timeout=4,  # the pool's own pauses double up to this
            name=f"control {place}",
            open=False,
        )
        with _said_plainly(place):
            await pool.open(wait=True, timeout=10)
        return cls(pool, place)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction on a session of the pool; connection trouble leaves as ``Retry``, ours is rolled back."""
        async with self.session() as connection, connection.transaction():
            yield connection

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A session of the pool on which each statement is a transaction of its own.

        While the database is away one finds out for everybody, the others get ``Retry`` at once.
        """
        ticket = self._breaker.enter(time.monotonic())
        if ticket is None:
            raise Retry("ControlDatabaseUnreachable", self._why or f"the control database {self.place} is being tried")
        try:
            with _said_plainly(self.place):
                async with self.pool.connection() as connection:
                    yield connection
        except Retry as failure:
            if _is_away(failure.__cause__):
                self._why = failure.message
                if self._breaker.failed(ticket, time.monotonic()):
                    logger.warning("%s", failure)
            else:
                self._answered(ticket)
            raise
        except Exception:
            self._answered(ticket)
            raise
        else:
            self._answered(ticket)
        finally:
            self._breaker.left(ticket)

    def _answered(self, ticket: int) -> None:
        if self._breaker.succeeded(ticket, time.monotonic()):
            logger.warning("the control database %s can be used again", self.place)
            self.came_back()

    async def migrate(self) -> None:
        """Bring the schema to what this release knows; safe to run from many processes at once."""
        async with self.transaction() as connection:
            with connection.patiently(LONGEST_MIGRATION):
                await schema.migrate(connection)

    async def close(self) -> None:
        """End all sessions."""
        await self.pool.close()


async def _refuse_dead(session: Connection) -> None:
    """Keep the pool from handing out what the server has ended meanwhile: after a restart that is all it holds."""
    if not session.alive:
        await session.close()  # else the pool would take it back
        raise psycopg.OperationalError("the server has ended this session")


def _parameters(dsn: str, application_name: str) -> dict[str, Any]:
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # libpq quotes what it could not read, and that may be the password: neither its words nor its chain go on.
        raise Invalid(
            "ControlDatabaseInvalid",
            "the control database's connection string cannot be read; give a URI such as"
            " postgresql://paybill@db.example.com:5432/paybill",
        ) from None
    parameters: dict[str, Any] = {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        **{key: value for key, value in given.items() if value is not None},
        "application_name": application_name,
    }
    parameters["options"] = f"{given.get('options') or ''} {SESSION_OPTIONS}".strip()
    return parameters


def _place(parameters: dict[str, Any]) -> str:
    host = parameters.get("host") or parameters.get("hostaddr") or "local socket"
    return f"{parameters.get('dbname') or 'default'} at {host}:{parameters.get('port') or 5432}"


def _is_away(error: BaseException | None) -> bool:
    """Whether an error is about the server: no session to be had, or refusals of any write. One that broke is not."""
    code = error.sqlstate if isinstance(error, psycopg.Error) else None
    return isinstance(error, PoolTimeout) or (code or "").startswith(_AWAY_CLASSES)


@contextlib.contextmanager
def _said_plainly(place: str) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise Blocked(
            "ControlDatabaseForbidden",
            f"the control database {place} refuses our role: {error.diag.message_primary}; the operator's role must own"
            " schema paybill or may create it (GRANT CREATE ON DATABASE)",
        ) from error
    except UNREACHABLE as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise Retry("ControlDatabaseUnreachable", f"the control database {place} cannot be used: {detail}") from error
