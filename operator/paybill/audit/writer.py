"""The one task that writes a process's chain: it takes what has gathered, commits it, and tells those who wait.

While the database is away, whoever wants to begin a step is refused, and what has been done is kept in order until it
can be written. After a failure the writer first asks the database where its chain ends: the last batch may have landed
although its answer was lost, and writing it twice would tell a false story.
"""

import asyncio
import contextlib
import logging
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from paybill.api.failures import Blocked, Failure, Retry
from paybill.audit import store
from paybill.audit.chain import GENESIS, Head
from paybill.audit.publication import HeadPublication
from paybill.audit.store import Draft

logger = logging.getLogger(__name__)

BATCH = 1000
"""Rows per transaction, unless one call alone brings more."""
PATIENCE = 5.0
"""Seconds to wait for a session of the pool."""
LONGEST_COMMIT = 20.0
"""Seconds after which a database that says nothing counts as away."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
LINGER = 0.02
"""Seconds that rows nobody waits for wait for company: most outcomes go with the next intents, for no commit more."""


@dataclass(eq=False, slots=True)
class _Group:
    """The rows of one call, all in one transaction; ``future`` is for whoever waits for that."""

    drafts: tuple[Draft, ...]
    future: asyncio.Future[None]
    lingers: bool = False

    @property
    def begins(self) -> bool:
        return self.drafts[0].kind == "intent"

    @property
    def given_up(self) -> bool:
        return self.begins and self.future.cancelled()

    def settle(self, failure: Failure | None = None) -> None:
        if self.future.done():
            return
        if failure is None or self.lingers:
            self.future.set_result(None)
        else:
            self.future.set_exception(failure)


class ChainWriter:
    """Writes one chain after another (a new one only if the database lost the end of the old one)."""

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        head: Head,
        *,
        epoch: int,
        shard: str,
        clock: Callable[[], datetime],
    ) -> None:
        self.head = head
        self.lost: Blocked | None = None
        self._pool = pool
        self._epoch = epoch
        self._shard = shard
        self._clock = clock
        self._publication = HeadPublication(clock)
        self._waiting: deque[_Group] = deque()
        self._batch: list[_Group] = []
        self._doubt: tuple[Head, list[_Group]] | None = None
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pause = 0.0
        self._resumes = 0.0
        self._closed = False
        self._lingering: asyncio.TimerHandle | None = None

    @property
    def away(self) -> float:
        """Seconds until the next attempt after a failure; 0 when writing is possible as far as known."""
        return max(0.0, self._resumes - asyncio.get_running_loop().time())

    @property
    def backlog(self) -> int:
        """Calls whose rows wait to be written."""
        return len(self._batch) + len(self._waiting)

    @property
    def _writes(self) -> bool:
        """Whether the task goes on: nobody else leads, and nobody has closed the log."""
        return self.lost is None and not self._closed

    async def write(self, drafts: Sequence[Draft]) -> None:
        """Write ``drafts`` in one transaction; raises for intents that could not be written, keeps outcomes."""
        group = _Group(tuple(drafts), asyncio.get_running_loop().create_future())
        self._add(group)
        if group.begins or not self.away:
            await group.future

    def note(self, drafts: Sequence[Draft]) -> None:
        """Write ``drafts``, outcomes, soon: with the next rows somebody waits for, or after LINGER."""
        self._add(_Group(tuple(drafts), asyncio.get_running_loop().create_future(), lingers=True))

    async def close(self, patience: float) -> None:
        """Write what waits for at most ``patience`` seconds, publish the head, stop."""
        if self._task is None:
            return
        self._hurry()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), patience)
        left = sum(len(group.drafts) for group in (*self._batch, *self._waiting))
        # Python 3.11's wait_for (in psycopg's pool) loses a cancellation that comes together with the result.
        self._closed = True
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if left:
            logger.error("audit log closed with %d rows unwritten; their steps stay unfinished in it", left)
        self._publication.publish(self.head)

    def _add(self, group: _Group) -> None:
        self._waiting.append(group)
        self._idle.clear()
        if not group.lingers:
            self._hurry()
        elif self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(LINGER, self._hurry)
        self.start()

    def start(self) -> None:
        """Begin to write, unless begun; else the first rows begin it."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="audit log writer")

    def _hurry(self) -> None:
        """Write now: somebody waits, or what nobody waits for has lingered long enough."""
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        self._wake.set()

    async def _run(self) -> None:
        try:
            while self._writes:
                if not self._waiting:
                    self._idle.set()
                await self._wake.wait()
                self._wake.clear()
                while self._waiting and self._writes and not self._only_lingering():
                    await self._advance()
                    await asyncio.sleep(self.away)
        finally:
            stopped = self.lost or Retry("AuditUnavailable", "the audit log's writer has stopped")
            for group in (*self._batch, *self._waiting):
                group.settle(stopped)
            self._idle.set()

    def _only_lingering(self) -> bool:
        """Whether all that waits came in just now and may wait for company."""
        return self._lingering is not None and all(group.lingers for group in self._waiting)

    async def _advance(self) -> None:
        try:
            async with asyncio.timeout(LONGEST_COMMIT):
                await self._resolve_doubt()
                self._take()
                await self._commit()
        except Blocked as failure:
            logger.error("audit log: %s", failure)
            self.lost = failure
        except (psycopg.Error, TimeoutError) as error:
            self._set_back(unavailable(error))
        else:
            if self._pause:
                logger.warning("audit log: can be written again")
            self._pause = self._resumes = 0.0
            self._publication.consider(self.head)

    def _take(self) -> None:
        rows = 0
        while self._waiting and (not self._batch or rows + len(self._waiting[0].drafts) <= BATCH):
            group = self._waiting.popleft()
            if not group.given_up:
                self._batch.append(group)
                rows += len(group.drafts)

    async def _commit(self) -> None:
        drafts = [draft for group in self._batch for draft in group.drafts]
        if not drafts:
            return
        async with self._pool.connection(PATIENCE) as connection, connection.transaction():
            seqs = await store.fenced_draw(connection, self._shard, self._epoch, len(drafts))
            rows = store.chained(drafts, seqs, self.head, self._shard, self._epoch)
            end = Head(self.head.writer, rows[-1].n, rows[-1].hash)
            self._doubt = (end, self._batch)
            await store.insert(connection, rows)
        self.head, self._doubt = end, None
        committed, self._batch = self._batch, []
        for group in committed:
            group.settle()
            if group.given_up:
                self._abandon(group)

    async def _resolve_doubt(self) -> None:
        """Ask where our chain ends, if the answer to the last commit was lost."""
        if self._doubt is None:
            return
        tried, groups = self._doubt
        async with self._pool.connection(PATIENCE) as connection:
            there = await store.newest(connection, self.head.writer)
        if there == tried:
            self.head = tried
            self._waiting = deque(group for group in self._waiting if group not in groups)
            for group in groups:
                if group.begins:
                    self._abandon(group)
        elif there != self.head:
            logger.error("audit log: the database's end of our chain is %s, ours is %s: a new chain", there, self.head)
            self._publication.publish(self.head)
            self.head = Head(uuid.uuid4(), 0, GENESIS)
        self._doubt = None

    def _abandon(self, group: _Group) -> None:
        """Conclude intents whose caller never got to know that they were logged, and so did not act on them."""
        now = self._clock()
        drafts = tuple(Draft("outcome", draft.step, now, draft.intent, "abandoned") for draft in group.drafts)
        self._add(_Group(drafts, asyncio.get_running_loop().create_future()))

    def _set_back(self, failure: Retry) -> None:
        """Refuse the steps that want to begin, keep the outcomes of those that were taken, try again later."""
        if not self._pause:
            logger.warning("audit log: %s; changes wait", failure.message)
        kept: deque[_Group] = deque()
        for group in (*self._batch, *self._waiting):
            if group.begins:
                group.settle(failure)
            else:
                group.settle()
                kept.append(group)
        self._batch, self._waiting = [], kept
        self._pause = min(max(FIRST_PAUSE, self._pause * 2), LONGEST_PAUSE)
        self._resumes = asyncio.get_running_loop().time() + self._pause


def unavailable(error: Exception) -> Retry:
    """The failure that callers see while the log cannot be used."""
    detail = " ".join(str(error).split()) or type(error).__name__
    return Retry("AuditUnavailable", f"the audit log cannot be used: {detail}")
