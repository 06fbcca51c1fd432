"""The console of a Cell's PgBouncer: what it shows, and the four words that Paybill says to it.

The console speaks the simple query protocol only and knows no parameters, so an alias stands in the command itself; it
is a tenant's schema name, which holds letters, digits and one underscore.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from paybill.api.failures import Invalid, Retry
from paybill.desired import sql_names as names
from paybill.desired.pooler import Alias
from paybill.postgres import PatientConnection

PATIENCE: Final = 5.0
"""Seconds for a word of the console; a pause ends sooner or is given up."""


Word = Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An alias as the console shows it."""

    host: str
    port: int
    database: str
    mode: str
    most: int
    paused: bool

    def agrees(self, alias: Alias) -> bool:
        """Whether it is what was declared."""
        said = (self.host, self.port, self.database, self.mode, self.most)
        return said == (alias.host, alias.port, alias.database, alias.mode.lower(), alias.most)


def login_of(dsn: str) -> tuple[str, str]:
    """The console's user and password, as its URI says them; empty where it says none. Raises Invalid for no URI."""
    try:
        told = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # whose words would show the URI
        raise Invalid(
            "BadDsn", "the URI of a pooler's console is none: postgresql://user:password@host/pgbouncer"
        ) from None
    return str(told.get("user") or ""), str(told.get("password") or "")


async def shown(dsn: str) -> dict[str, Shown]:
    """Every alias by its name; raises Retry("PoolerUnreachable")."""
    async with _console(dsn) as console:
        rows = await (await console.execute("SHOW DATABASES")).fetchall()
    return {
        row["name"]: Shown(
            host=row["host"] or "", port=int(row["port"]), database=row["database"], mode=row["pool_mode"] or "",
            most=int(row["max_connections"]), paused=bool(int(row["paused"])),
        )
        for row in rows
    }  # fmt: skip


async def reload(dsn: str) -> None:
    """Have it read its files again, without a restart; sessions of an alias that changed are closed when idle."""
    async with _console(dsn) as console:
        await console.execute("RELOAD")


async def pause(dsn: str, tenant_id: str) -> bool:
    """Let the tenant's clients wait, once their transactions have ended; False when one takes too long for that."""
    try:
        async with _console(dsn) as console:
            await console.execute(f"PAUSE {names.schema(tenant_id)}".encode())
    except Retry:
        return False
    return True


async def resume(dsn: str, tenant_id: str) -> None:
    """Let the tenant's clients go on."""
    async with _console(dsn) as console:
        await console.execute(f"RESUME {names.schema(tenant_id)}".encode())


@asynccontextmanager
async def _console(dsn: str) -> AsyncIterator[psycopg.AsyncConnection[dict[str, Any]]]:
    try:
        connection = await PatientConnection.connect(
            dsn, autocommit=True, connect_timeout=5, row_factory=dict_row, prepare_threshold=None
        )
        connection.patience = PATIENCE
        async with connection:
            yield connection
    except psycopg.Error as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Retry("PoolerUnreachable", f"the console of PgBouncer does not answer: {said}") from error
