"""What a move works with: where the data is, where it goes, and by which rules it must still hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from paybill.databases.server import Server, Session
from paybill.desired import sql_names as names
from paybill.desired.database_tenant import PoolDatabase, TenantDatabase
from paybill.lifecycle.move import Mode

__all__ = ["Copier", "Fence", "Job", "Mode", "Place", "are_one"]

_IDENTITY: Final = "SELECT (pg_control_system()).system_identifier::text, pg_postmaster_start_time()::text"

Copier = Literal["Paybill", "Workers"]
"""Who copies the rows of an online move: this process, or workers of the target's server."""

Fence = Callable[[Server, Session], Awaitable[None]]
"""Raises when this process may no longer act; called in the transaction that it guards."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A database on a server, and what the tenant should have there once it is there."""

    server: Server
    pool: PoolDatabase
    desired: TenantDatabase
    home: PoolDatabase
    """Where the leader is announced for the whole server: the pool itself, unless the database is the tenant's own."""

    @property
    def own(self) -> bool:
        """Whether the database is the tenant's alone."""
        return not self.pool.shared


@dataclass(frozen=True, kw_only=True)
class Job:
    """One tenant's way from one place to another. Both hold its schema; roles are shared where the server is one."""

    tenant: str
    source: Place
    target: Place
    same_server: bool
    fence: Fence

    @property
    def rows(self) -> bool:
        """Whether it comes out of shared tables."""
        return self.source.pool.holds == "Rows"

    @property
    def into_rows(self) -> bool:
        """Whether it goes into shared tables."""
        return self.target.pool.holds == "Rows"

    @property
    def schema(self) -> str:
        """Where its tables are, in both, as long as it moves."""
        return names.ROWS_SCHEMA if self.rows else names.schema(self.tenant)

    @property
    def mark(self) -> str:
        """The comment on what is the tenant's."""
        return self.source.desired.mark

    @property
    def name(self) -> str:
        """The name of the move's publication, slot and subscription."""
        return names.mover(self.tenant)


async def are_one(first: Server, second: Server) -> bool:
    """Whether two connections lead to one and the same running server, whose roles are then the same."""
    return first is second or await _identity(first) == await _identity(second)


async def _identity(server: Server) -> tuple[str, ...]:
    async with server.session() as session:
        row = await (await session.execute(_IDENTITY)).fetchone()
    return tuple(map(str, row or ()))
