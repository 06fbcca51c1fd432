"""The outbox: messages for other systems, each written with what it tells of, and kept until it is acknowledged.

A message is in the transaction of the facts that it tells of, so there is none without the transition and no transition
without its message, whenever the process ends. One that nobody takes for days is a dead letter: it stays, is shown, and
goes out again when a person says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.types.json import Jsonb

from paybill.control.database import Connection, ControlDatabase
from paybill.control.epoch import assert_epoch, fenced_write
from paybill.lifecycle.announcement import Message

KEPT: Final = timedelta(days=35)
"""How long an acknowledged message is kept."""
_PRUNED_AT_ONCE: Final = 10_000

_ADD = """
INSERT INTO paybill.outbox (installation, id, type, subject, about, time, data) VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (installation, id) DO NOTHING
"""
_DUE = """
SELECT seq, attempts, created_time, id, type, subject, about, time, data FROM paybill.outbox
WHERE installation = %s AND state = 'Waiting' AND due_time <= %s ORDER BY due_time, seq LIMIT %s
"""
_ANSWERED = """
UPDATE paybill.outbox SET state = %s, attempts = attempts + 1, due_time = %s, answer = %s,
  settled_time = CASE WHEN %s = 'Waiting' THEN NULL ELSE now() END
WHERE seq = %s AND state = 'Waiting'
"""
_STANDING = """
SELECT count(*) FILTER (WHERE state = 'Waiting'), count(*) FILTER (WHERE state = 'Dead'),
  min(created_time) FILTER (WHERE state = 'Waiting')
FROM paybill.outbox WHERE installation = %s AND state <> 'Acknowledged'
"""
_DEAD = "SELECT about, count(*) FROM paybill.outbox WHERE installation = %s AND state = 'Dead' GROUP BY about"
_SETTLED = "SELECT state, settled_time FROM paybill.outbox WHERE installation = %s AND id = %s"
_PRUNE = """
DELETE FROM paybill.outbox WHERE seq IN
  (SELECT seq FROM paybill.outbox WHERE state = 'Acknowledged' AND settled_time < %s ORDER BY seq LIMIT %s)
"""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A message that is to be sent; ``seq`` orders all that were ever written."""

    seq: int
    attempts: int
    created: datetime
    message: Message


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How many messages wait and how many are dead, and since when the oldest waits."""

    waiting: int
    dead: int
    oldest: datetime | None


async def add(connection: Connection, installation: str, message: Message) -> None:
    """Write a message in the transaction that ``connection`` is in."""
    values = (message.id, message.type, message.subject, message.about, message.time, Jsonb(message.data))
    await connection.execute(_ADD, (installation, *values))


def _message(row: Sequence[Any]) -> Message:
    names = ("id", "type", "subject", "about", "time", "data")
    return Message(**dict(zip(names, row, strict=True)))


class Outbox:
    """One installation's messages, for whoever sends them."""

    def __init__(self, db: ControlDatabase, installation: str, *, shard: str = "") -> None:
        self._db = db
        self._installation = installation
        self._shard = shard

    async def due(self, now: datetime, most: int) -> list[Waiting]:
        """What is to be sent now, the longest due first."""
        async with self._db.session() as connection:
            rows = await (await connection.execute(_DUE, (self._installation, now, most))).fetchall()
        return [Waiting(seq=row[0], attempts=row[1], created=row[2], message=_message(row[3:])) for row in rows]

    async def acknowledged(self, one: Waiting, answer: str, *, epoch: int) -> None:
        """Note that a message was taken."""
        await self._answered(one, "Acknowledged", one.created, answer, epoch)

    async def put_off(self, one: Waiting, due: datetime, answer: str, *, epoch: int) -> None:
        """Note that it was not, and when it goes out again."""
        await self._answered(one, "Waiting", due, answer, epoch)

    async def died(self, one: Waiting, answer: str, *, epoch: int) -> None:
        """Note that it is not sent any more."""
        await self._answered(one, "Dead", one.created, answer, epoch)

    async def write(self, message: Message, *, epoch: int) -> None:
        """Write a message that tells of no change of facts; one that is there already stays as it is."""
        async with self._db.transaction() as connection:
            await assert_epoch(connection, epoch, self._shard)
            await add(connection, self._installation, message)

    async def settled(self, message_id: str) -> tuple[str, datetime | None] | None:
        """How a message stands (Waiting, Acknowledged, Dead) and since when; None when it was never written."""
        async with self._db.session() as connection:
            row: Any = await (await connection.execute(_SETTLED, (self._installation, message_id))).fetchone()
        return None if row is None else (row[0], row[1])

    async def standing(self) -> Standing:
        """How much waits."""
        async with self._db.session() as connection:
            row: Any = await (await connection.execute(_STANDING, (self._installation,))).fetchone()
        return Standing(waiting=row[0], dead=row[1], oldest=row[2])

    async def dead(self) -> dict[str, int]:
        """How many dead letters each Subscription has, by its UID."""
        async with self._db.session() as connection:
            rows: Sequence[Any] = await (await connection.execute(_DEAD, (self._installation,))).fetchall()
        return dict(rows)

    async def prune(self, now: datetime, *, epoch: int) -> None:
        """Let the oldest that were acknowledged go."""
        await fenced_write(self._db, _PRUNE, (now - KEPT, _PRUNED_AT_ONCE), epoch, self._shard)

    async def _answered(self, one: Waiting, state: str, due: datetime, answer: str, epoch: int) -> None:
        await fenced_write(self._db, _ANSWERED, (state, due, answer, state, one.seq), epoch, self._shard)
