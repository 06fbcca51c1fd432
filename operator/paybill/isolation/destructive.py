"""Attacks 31 to 47 at one level, on servers that are made for it and thrown away: nothing here is for a real one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from paybill.databases.pools import ensure_pool
from paybill.databases.server import Server, Session
from paybill.desired import sql_names as names
from paybill.desired.database_tenant import PoolDatabase
from paybill.isolation.attacks import Level
from paybill.isolation.canaries import canaries
from paybill.isolation.climbing import ON_OPERATOR
from paybill.isolation.ground import Attempt, Ground
from paybill.isolation.overloads import ON_SHARED
from paybill.isolation.results import Result
from paybill.isolation.undermining import ON_DECLARED, fill
from paybill.isolation.watchdog import Watchdog

LEVELS: Final[tuple[Level, ...]] = ("Rows", "Schema", "Database", "Server")
OPEN: Final[frozenset[tuple[int, Level]]] = frozenset({(32, "Rows"), (32, "Schema")})
"""What goes through at a level and cannot be closed or seen there: only another level helps."""


async def destroy(level: Level, server: Server, other: Server) -> tuple[Result, ...]:
    """Try every attack of 31 to 47 at a level, in the order of their numbers; ``other`` is the victim's own server."""
    async with ground(level, server, other) as where:
        results = [await attempt(where) for attempt in attempts_on(level)]
    return tuple(sorted(results, key=lambda one: one.number))


def attempts_on(level: Level) -> tuple[Attempt, ...]:
    """The attempts of one level. In shared tables a tenant's part is an estimate, which warns and is not tried here."""
    return (*ON_SHARED, *(() if level == "Rows" else (fill,)), *ON_DECLARED, *ON_OPERATOR)


def surprising(result: Result) -> bool:
    """Whether an attack succeeded that is not known to at its level."""
    return result.result == "succeeded" and (result.number, result.level) not in OPEN


@contextlib.asynccontextmanager
async def ground(level: Level, server: Server, other: Server) -> AsyncIterator[Ground]:
    """Two canaries at a level: in one pool, in databases of their own, or each on its own server."""
    pool = await _pool(server, level)
    async with canaries(server, pool, level, fence=_alone) as scene:
        watchdog = Watchdog(server=server, database=pool.name)
        if level != "Server":
            yield Ground(scene=scene, watchdog=watchdog)
            return
        theirs = await _pool(other, level)
        async with canaries(other, theirs, level, fence=_alone) as elsewhere:
            yield Ground(scene=replace(scene, victim=elsewhere.victim), watchdog=watchdog)


async def _pool(server: Server, level: Level) -> PoolDatabase:
    pool = PoolDatabase(
        server="scratch",
        cell=f"scratch-{level}",
        name=names.pool_database_name(f"scratch-{level}", server.name),
        holds="Rows" if level == "Rows" else "Schemas",
        installation=server.installation,
    )
    await ensure_pool(server, pool)
    return pool


async def _alone(session: Session) -> None:
    """Nobody leads on a scratch server."""
