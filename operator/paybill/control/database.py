"""The connection to the control database: one small pool, one way to run a transaction, one way to fail.

Sessions pin their search path in the startup packet, so that no object that somebody left in ``public`` is ever
called by our SQL. Whatever goes wrong with the connection leaves as ``Retry`` with words that name the server and never
the password, because they end up in conditions and logs.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self, TypeAlias

import psycopg
from psycopg import AsyncConnection, conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from paybill.api.failures import Blocked, Invalid, Retry
from paybill.control import schema

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

Connection: TypeAlias = AsyncConnection[TupleRow]


class ControlDatabase:
    """A pool of at most four sessions on the control database; made by ``open``, ended by ``close``."""

    def __init__(self, pool: AsyncConnectionPool[Connection], place: str) -> None:
        self.pool = pool
        self.place = place

    @classmethod
    async def open(cls, dsn: str, *, application_name: str) -> Self:
        """Connect to ``dsn`` (a URI or keyword string) and check that the server is one we can work with.

        Raises ``Invalid`` for a string that is no connection string, ``Retry("ControlDatabaseUnreachable")`` when
        the server does not answer or refuses us, ``Blocked("ControlDatabaseTooOld")`` below Postgres 15.
        """
        parameters = _parameters(dsn, application_name)
        place = _place(parameters)
        with _said_plainly(place):
            async with await AsyncConnection.connect(**parameters) as probe:
                version = probe.info.server_version
        if version < MINIMUM_VERSION:
            raise Blocked(
                "ControlDatabaseTooOld",
                f"the control database {place} is Postgres {version // 10000}; Paybill needs 15 or newer",
            )
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            kwargs={**parameters, "autocommit": True},
            min_size=1,
            max_size=4,
            # An outage is said within seconds, and over within seconds: the pool's own pauses double up to this.
            timeout=3,
            reconnect_timeout=4,
            name=f"control {place}",
            open=False,
        )
        with _said_plainly(place):
            await pool.open(wait=True, timeout=10)
        return cls(pool, place)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction on a session of the pool; connection trouble leaves as ``Retry``, ours is rolled back."""
        with _said_plainly(self.place):
            async with self.pool.connection() as connection, connection.transaction():
                yield connection

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A session of the pool on which each statement is a transaction of its own."""
        with _said_plainly(self.place):
            async with self.pool.connection() as connection:
                yield connection

    async def migrate(self) -> None:
        """Bring the schema to what this release knows; safe to run from many processes at once."""
        async with self.transaction() as connection:
            await schema.migrate(connection)

    async def close(self) -> None:
        """End all sessions."""
        await self.pool.close()


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
