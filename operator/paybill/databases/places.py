"""The few sessions of one server: who may have one, and when nobody tries to get one.

There are so many places; at work or kept for reuse, there are never more sessions than that, and one that nobody used
for a while is closed: a thousand tenants with servers of their own would else be thousands of sessions for ever. When
the server gives none (down, out of connections, the login refused), one attempt finds out for everybody: until the
pause after it is over, whoever would need a new session is told at once, because a thousand tenants that each wait for
a time-out keep the workers from the tenants of every other server. The same holds while all places are taken by
sessions that get no answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

from paybill.api.failures import Failure, Retry
from paybill.breaker import Breaker, Pauses
from paybill.databases.failures import as_failure, translated
from paybill.postgres import PatientConnection

logger = logging.getLogger(__name__)

Session: TypeAlias = PatientConnection[tuple[Any, ...]]

PAUSES = Pauses(first=0.5)
PATIENCE = 5.0
"""Seconds to wait for a place, and for the first answer of a session that lay idle for as long."""
IDLE = 300.0
"""Seconds for which a session is kept that nobody uses."""
NOT_THE_SERVERS = {"DatabaseMissing"}
"""Failures to connect that say nothing of the server as a whole."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """An idle session: of which database, and since when."""

    database: str
    session: Session
    since: float


class Places:
    """The places of one server. ``opened`` opens a session on a database, as the administrator.

    ``idle``: seconds for which a session is kept that nobody uses.
    """

    def __init__(
        self, server: str, limit: int, opened: Callable[[str], Awaitable[Session]], idle: float = IDLE
    ) -> None:
        self._server = server
        self._limit = limit
        self._opened = opened
        self._idle = idle
        self._resting: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._free = asyncio.Semaphore(limit)
        self._working = 0
        self._moved = 0.0
        self._kept: list[_Kept] = []
        self._breaker = Breaker(PAUSES, random.random)
        self._failure: Failure | None = None
        self._closed = False

    @property
    def paused(self) -> bool:
        """Whether the server gave no session when it was last asked for one."""
        return self._breaker.open

    @asynccontextmanager
    async def session(self, database: str) -> AsyncIterator[Session]:
        """A session on ``database``, kept for reuse afterwards if it is idle then; database errors become failures."""
        async with self._place():
            with as_failure(self._server):
                session = await self._take(database)
                try:
                    yield session
                finally:
                    await self._give_back(database, session)

    async def keep(self, database: str, session: Session) -> None:
        """Take a session over that was opened before there were places."""
        await self._give_back(database, session)

    async def close(self) -> None:
        """Close the idle sessions; one that is at work closes when its work ends."""
        self._closed = True
        if self._resting is not None:
            self._resting.cancel()
        await self._forget_kept()

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        stuck = time.monotonic() - self._moved
        if self._free.locked() and stuck > PATIENCE:
            raise Retry("DatabaseBusy", f"server {self._server}: its {self._limit} sessions get no answers")
        try:
            async with asyncio.timeout(PATIENCE):
                await self._free.acquire()
        except TimeoutError:
            said = f"server {self._server}: none of its {self._limit} sessions became free within {PATIENCE:.0f} s"
            raise Retry("DatabaseBusy", said) from None
        self._working += 1
        self._moved = time.monotonic()
        try:
            yield
        finally:
            self._working -= 1
            self._moved = time.monotonic()
            self._free.release()

    async def _take(self, database: str) -> Session:
        while (kept := self._pop(database)) is not None:
            if await self._answers(kept):
                return kept.session
            await kept.session.close()
        # Sessions on other databases make room: the server is promised a number of sessions, not of busy ones.
        while self._kept and len(self._kept) + self._working > self._limit:
            await self._kept.pop(0).session.close()
        return await self._open(database)

    def _pop(self, database: str) -> _Kept | None:
        for index in range(len(self._kept) - 1, -1, -1):
            if self._kept[index].database == database:
                return self._kept.pop(index)
        return None

    async def _answers(self, kept: _Kept) -> bool:
        """Whether an idle session can be used: after a while it is asked, as a frozen server leaves sockets open."""
        session = kept.session
        if not session.alive:
            return False
        if time.monotonic() - kept.since < PATIENCE:
            return True
        with contextlib.suppress(psycopg.Error), session.patiently(min(PATIENCE, session.patience)):
            await session.execute("SELECT 1")
            return True
        await self._forget_kept()  # the others are no better
        return False

    async def _open(self, database: str) -> Session:
        ticket = self._breaker.enter(time.monotonic())
        if ticket is None and self._failure is not None:
            raise type(self._failure)(self._failure.reason, self._failure.message)
        if ticket is None:
            raise Retry("DatabaseUnreachable", f"server {self._server} is being tried by another")
        try:
            session = await self._opened(database)
        except psycopg.Error as error:
            self._heard(ticket, translated(self._server, error))
            raise
        except BaseException:
            self._breaker.left(ticket)
            raise
        self._heard(ticket, None)
        return session

    def _heard(self, ticket: int, failure: Failure | None) -> None:
        """What one attempt found, for everybody; said once per change."""
        now = time.monotonic()
        if failure is None or failure.reason in NOT_THE_SERVERS:
            if self._breaker.succeeded(ticket, now):
                logger.warning("server %s: gives sessions again", self._server)
            return
        self._failure = failure
        if self._breaker.failed(ticket, now):
            logger.warning("%s; nobody tries for %.1f s", failure.message, self._breaker.wait(now))

    async def _give_back(self, database: str, session: Session) -> None:
        if session.closed or session.info.transaction_status is not TransactionStatus.IDLE or self._closed:
            await session.close()
            return
        self._kept.append(_Kept(database, session, time.monotonic()))
        while len(self._kept) > self._limit:
            await self._kept.pop(0).session.close()
        if self._resting is None and not self._closed:
            self._resting = asyncio.get_running_loop().call_later(self._idle, self._rest)

    def _rest(self) -> None:
        """Close what nobody used for a while, and come back for the others."""
        now, self._resting = time.monotonic(), None
        idle = [one for one in self._kept if one.since + self._idle <= now]
        self._kept = [one for one in self._kept if one not in idle]
        if idle:
            closing = asyncio.create_task(_close(idle))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        if self._kept:
            wait = min(one.since for one in self._kept) + self._idle - now
            self._resting = asyncio.get_running_loop().call_later(wait, self._rest)

    async def forget(self, database: str) -> None:
        """Close the idle sessions on a database, which is about to go."""
        mine = [one for one in self._kept if one.database == database]
        self._kept = [one for one in self._kept if one.database != database]
        for one in mine:
            await one.session.close()

    async def _forget_kept(self) -> None:
        kept, self._kept = self._kept, []
        await _close(kept)


async def _close(kept: list[_Kept]) -> None:
    for one in kept:
        await one.session.close()
