"""The log as its callers use it: say what you are about to do, do it, say what came of it.

One task writes for everybody in the process (``writer``): what came in while it wrote goes into its next transaction,
so a hundred concurrent steps cost a few commits. While the log cannot be written no new step may begin (``intend``
raises); a step that was begun may finish, its outcome waits in memory and lands, in order, when the database is back.
"""

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from paybill.api.failures import Invalid, Retry
from paybill.audit import store
from paybill.audit.chain import GENESIS, Head
from paybill.audit.entries import Intent, Outcome, StepToken
from paybill.audit.store import Draft
from paybill.audit.writer import PATIENCE, ChainWriter, unavailable

SPOOL = 20_000
"""Calls of ``conclude`` kept in memory at most while the database is away."""


def _now() -> datetime:
    return datetime.now(UTC)


class AuditLog:
    """One process's log; lives on one event loop, from the first ``intend`` until ``close``.

    ``pool`` leads to the control database, ``epoch`` is what ``take_epoch`` gave this process for ``shard``.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        *,
        epoch: int,
        shard: str = "",
        writer: uuid.UUID | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._open: set[uuid.UUID] = set()
        start = Head(writer or uuid.uuid4(), 0, GENESIS)
        self._writer = ChainWriter(pool, start, epoch=epoch, shard=shard, clock=clock)

    def start(self) -> None:
        """Begin to write. Call it before Kopf runs: on its way out Kopf cancels every task younger than itself."""
        self._writer.start()

    def head(self) -> Head:
        """The newest row of this process's chain that is known to be committed (n = 0: none yet)."""
        return self._writer.head

    @property
    def away(self) -> bool:
        """Whether steps that want to begin are refused at present."""
        return self._writer.away > 0

    async def intend(self, entries: Sequence[Intent]) -> tuple[StepToken, ...]:
        """Log what is about to be done; when this returns it is committed and may be done.

        Raises ``Retry("AuditUnavailable")`` when it cannot be written, ``Blocked("EpochLost")`` when another leads.
        """
        self._check()
        if not entries:
            return ()
        if away := self._writer.away:
            raise Retry("AuditUnavailable", "the audit log cannot be written at present; changes wait", after=away)
        now = self._clock()
        tokens = tuple(StepToken(uuid.uuid4(), entry) for entry in entries)
        await self._writer.write([Draft("intent", token.step, now, token.intent) for token in tokens])
        self._open.update(token.step for token in tokens)
        return tokens

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Log what came of steps, soon, without waiting: an intent is what must be there first, not an outcome.

        A crash before it is written leaves the step unfinished in the log. Raises what ``conclude`` raises.
        """
        if drafts := self._concluding(outcomes):
            self._writer.note(drafts)

    async def conclude(self, outcomes: Sequence[Outcome]) -> None:
        """Log what came of steps; returns when it is committed, or kept for later because the database is away.

        Raises ``Invalid`` for a step that was concluded before, ``Retry("AuditUnavailable")`` when too many wait
        already (the steps then stay unfinished in the log), ``Blocked("EpochLost")`` when another leads.
        """
        if drafts := self._concluding(outcomes):
            await self._writer.write(drafts)

    def _concluding(self, outcomes: Sequence[Outcome]) -> list[Draft]:
        """The rows of outcomes whose steps are open, which they close."""
        self._check()
        if not outcomes:
            return []
        steps = {outcome.token.step for outcome in outcomes}
        if len(steps) != len(outcomes) or not steps <= self._open:
            raise Invalid("AuditEntryInvalid", "a step is concluded twice, or was never begun by this process")
        if self._writer.backlog >= SPOOL:
            waiting = self._writer.backlog
            raise Retry("AuditUnavailable", f"the outcomes of {waiting} calls wait for the audit log already")
        self._open -= steps
        now = self._clock()
        return [Draft("outcome", o.token.step, now, o.token.intent, o.result, o.reason) for o in outcomes]

    async def begun(self, action: str, cell: str | None, since: datetime) -> dict[str, datetime]:
        """When the destructive ``action`` was first begun since ``since``, by the id of the tenant.

        ``cell`` None: in any cell.
        """
        try:
            async with self._pool.connection(PATIENCE) as connection:
                return await store.begun_destructive(connection, action, cell, since)
        except psycopg.Error as error:
            raise unavailable(error) from error

    async def destroyed_by(self, tenant_id: str, target: str, inputs_digest: str) -> datetime | None:
        """When a destructive step with these very inputs was first begun for a tenant on behalf of ``target``."""
        try:
            async with self._pool.connection(PATIENCE) as connection:
                return await store.destroyed_by(connection, tenant_id, target, inputs_digest)
        except psycopg.Error as error:
            raise unavailable(error) from error

    async def close(self, *, patience: float = 5.0) -> None:
        """Write what waits for at most ``patience`` seconds, publish the chain's head and stop."""
        await self._writer.close(patience)

    def _check(self) -> None:
        if self._writer.lost is not None:
            raise self._writer.lost
