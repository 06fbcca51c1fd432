"""Where what only a scratch server may suffer is tried: two canaries, and beside them what Paybill does about it.

An attack of this kind goes through, and what counts is what comes of it. So each is tried while the parts of the
operator that answer it are at work, here in the small: the watchdog, the look for drift, the measuring of storage. Each
such part can be left out, which is how the tests show that nothing else would have stopped the attack.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import psycopg

from paybill.databases.server import Session
from paybill.isolation.canaries import Canary, Scene
from paybill.isolation.results import Ending, Result
from paybill.isolation.watchdog import Bounds, Watchdog
from paybill.lifecycle.watchdog import Breach, Limits

PATIENCE: Final = 4.0
"""Seconds within which the watchdog has to have ended an attack that is beyond every limit here."""
PAUSE: Final = 0.1
LIMITS: Final = Limits(statement=0.1, transaction=0.1, idle_in_transaction=0.1)
BOUNDS: Final = Bounds(lock_wait=0.2, grace=0.5)
FREE: Final = "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0"
"""What an attacker sets first: all of it is a login's own to set."""
NOT_THERE: Final = (
    psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName,
)  # fmt: skip
"""How a server says that the neighbour's objects are not this login's business, or in no database of its."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A scene on a scratch server. Without ``watchdog`` nobody looks at what sessions do."""

    scene: Scene
    watchdog: Watchdog | None

    @property
    def alone(self) -> bool:
        """Whether the attacker's server is nobody else's, so that the victim is on another one."""
        return self.scene.attacker.server is not self.scene.victim.server

    @property
    def table(self) -> str:
        """The victim's table with its secret."""
        return f"{self.scene.victim.desired.schema}.notes" if self.scene.level != "Rows" else "pb_canary.customers"

    def ended(self, number: int, name: str, ending: Ending, evidence: str) -> Result:
        """How one attack ended."""
        return Result(level=self.scene.level, number=number, name=name, result=ending, evidence=evidence)

    async def watch(self, over: Callable[[], bool] | None = None) -> tuple[Breach, ...]:
        """Wait until an attack is over, with the watchdog looking if there is one; what it did meanwhile.

        It is ``over``, or where that is not said, as soon as anything was done.
        """
        limits = replace(LIMITS, shares_tables=self.scene.level == "Rows")
        attacker, loop = self.scene.attacker.id, asyncio.get_running_loop()
        ends, done = loop.time() + PATIENCE, list[Breach]()
        while loop.time() < ends and not (over() if over is not None else done):
            if self.watchdog is not None:
                for found in await self.watchdog.look(lambda one: limits if one == attacker else None, BOUNDS):
                    if await self.watchdog.end(found, limits, BOUNDS):
                        done.append(found)
            await asyncio.sleep(PAUSE)
        return tuple(done)


Attempt = Callable[[Ground], Awaitable[Result]]


@contextlib.asynccontextmanager
async def session(canary: Canary, suffix: str = "app_a") -> AsyncIterator[Session]:
    """A session of a canary's own, which nothing of this attack outlives."""
    opened = await canary.connect(suffix)
    try:
        yield opened
    finally:
        await opened.close()


@contextlib.asynccontextmanager
async def running(ground: Ground, attacker: Session, statement: str) -> AsyncIterator[int]:
    """A statement of the attacker that is at work, with all limits that it may lift lifted; its process id."""

    async def run() -> None:
        with contextlib.suppress(psycopg.Error):  # that it is ended is what is waited for
            await attacker.execute(statement.encode())

    await attacker.execute(FREE)
    pid, task = attacker.info.backend_pid, asyncio.create_task(run())
    try:
        yield pid
    finally:
        await ground.scene.admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        await task


async def powers(ground: Ground) -> bool:
    """Whether the attacker is a superuser by now; takes it back."""
    login = ground.scene.attacker.login("app_a")
    admin = ground.scene.admin
    found = await (await admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [login])).fetchone()
    if found != (True,):
        return False
    await admin.execute(f"ALTER ROLE {login} NOSUPERUSER".encode())
    return True
