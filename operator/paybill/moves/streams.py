"""Carries the rows of one table from one session to another as they are, in blocks, and leaves others room to work.

psycopg hands out a row at a time, each by a wait of its own; a table has millions. So rows are taken off libpq until a
block is full, which costs the operator's one thread a microsecond for each.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from psycopg import errors
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from psycopg.sql import Composed
from psycopg.waiting import Wait

from paybill.databases.places import Session

BLOCK: Final = 64 * 1024
"""Bytes that are taken from one side and given to the other at a time."""
BURST: Final = 0.005
"""Seconds of work without a rest: longer ones show in the slowest of the tenant's own transactions."""
SHARE: Final = 0.5
"""How much of the time is work. Work that takes longer, because the servers are busy, is followed by longer rests."""


@dataclass(kw_only=True)
class Pace:
    """Rests after each burst of work, for as long as that took."""

    share: float = SHARE
    begun: float = 0.0

    async def rest(self) -> None:
        """Rest, if there was a burst of work since the last time."""
        loop = asyncio.get_running_loop()
        worked = loop.time() - self.begun
        if worked >= BURST:
            if self.begun:
                await asyncio.sleep(min(1.0, worked * (1 - self.share) / self.share))
            self.begun = loop.time()


@dataclass(kw_only=True)
class Carried:
    """How much has come over: tables, rows, and bytes of their text."""

    tables: int = 0
    rows: int = 0
    size: int = 0


async def carry(source: Session, target: Session, out: Composed, into: Composed, carried: Carried, pace: Pace) -> None:
    """Let the target read, by ``into`` (COPY … FROM STDIN), what the source writes by ``out`` (COPY … TO STDOUT).

    Both in text, and both in a transaction of their session. Raises psycopg's errors of either side.
    """
    async with target.cursor().copy(into) as sink, source.cursor().copy(out):
        ended = False
        while not ended:
            rows, ended = await source.wait(_block(source.pgconn))
            if rows:
                block = b"".join(rows)
                await sink.write(block)
                carried.rows += len(rows)
                carried.size += len(block)
            await pace.rest()
    carried.tables += 1


def _block(pgconn: PGconn) -> PQGen[tuple[list[bytes], bool]]:
    """Rows of about one block, and whether they are the last ones."""
    rows: list[bytes] = []
    size = 0
    while size < BLOCK:
        length, row = pgconn.get_copy_data(1)
        if length > 0:
            rows.append(bytes(row))
            size += length
        elif length == 0:
            while not (yield Wait.R):
                continue
            pgconn.consume_input()
        else:
            yield from _end(pgconn)
            return rows, True
    return rows, False


def _end(pgconn: PGconn) -> PQGen[None]:
    """What the server says behind the last row."""
    while True:
        while pgconn.is_busy():
            while not (yield Wait.R):
                continue
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            return
        if result.status != ExecStatus.COMMAND_OK:
            raise errors.error_from_result(result)
