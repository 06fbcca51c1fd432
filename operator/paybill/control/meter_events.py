"""The meter events of one installation: written once, hour by hour, and kept until a payment provider has them.

An hour becomes events in the transaction that moves its cursor on, so each hour is counted once, whenever the process
ends. That an event is about to be sent is written before it is, so that nobody takes one that may have arrived for one
that was never sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from paybill.control.database import ControlDatabase
from paybill.control.epoch import assert_epoch, fenced_write
from paybill.lifecycle.meters import Fate, Measured, MeterEvent

KEPT: Final = timedelta(days=40)
"""How long an event is kept after it was sent or given up."""
_PRUNED_AT_ONCE: Final = 10_000

_CURSORS = "SELECT subscription_uid, meter, until_time FROM paybill.meter_cursors WHERE installation = %s"
_MOVE = """
INSERT INTO paybill.meter_cursors (installation, subscription_uid, meter, until_time)
SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::timestamptz[])
ON CONFLICT (installation, subscription_uid, meter)
DO UPDATE SET until_time = greatest(meter_cursors.until_time, excluded.until_time)
"""
_FORGET = """
DELETE FROM paybill.meter_cursors WHERE installation = %s
  AND (subscription_uid, meter) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_ADD = """
INSERT INTO paybill.meter_events
  (installation, id, subscription_uid, tenant_id, meter, customer, hour, value, due_time)
SELECT %s, one.*, %s::timestamptz FROM unnest
  (%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::bigint[]) AS one
ON CONFLICT (installation, id) DO NOTHING
"""
_MEASURED = """
SELECT u.tenant_id, u.hour, u.bytes, u.rows, u.connections
FROM unnest(%s::text[], %s::timestamptz[]) AS one (id, since)
JOIN paybill.usage AS u ON u.tenant_id = one.id AND u.hour >= one.since AND u.hour < %s
"""
_DUE = """
SELECT attempts, tried_time, id, subscription_uid, tenant_id, meter, customer, hour, value FROM paybill.meter_events
WHERE installation = %s AND state = 'Waiting' AND due_time <= %s ORDER BY due_time, hour, id LIMIT %s
"""
_TRY = """
UPDATE paybill.meter_events SET tried_time = coalesce(tried_time, %s)
WHERE installation = %s AND id = ANY(%s) AND state = 'Waiting'
"""
_SENT = """
UPDATE paybill.meter_events SET state = 'Sent', refused = false, attempts = attempts + 1, answer = NULL,
  settled_time = %s
WHERE installation = %s AND id = ANY(%s) AND state = 'Waiting'
"""
_UNTRIED = """
UPDATE paybill.meter_events SET tried_time = NULL WHERE installation = %s AND id = ANY(%s) AND state = 'Waiting'
"""
_PUT_OFF = """
UPDATE paybill.meter_events SET attempts = attempts + 1, due_time = %s, answer = %s
WHERE installation = %s AND id = %s AND state = 'Waiting'
"""
_REFUSED = """
UPDATE paybill.meter_events SET refused = true, due_time = greatest(due_time, %s), answer = %s,
  attempts = attempts + (id = %s)::int
WHERE installation = %s AND customer = %s AND meter = %s AND state = 'Waiting'
"""
_GIVE_UP = """
UPDATE paybill.meter_events SET state = %s, settled_time = %s
WHERE installation = %s AND id = %s AND state = 'Waiting'
"""
_STANDING = """
SELECT count(*) FILTER (WHERE state = 'Waiting'), count(*) FILTER (WHERE state = 'Waiting' AND refused),
  count(*) FILTER (WHERE state <> 'Waiting'), min(hour) FILTER (WHERE state = 'Waiting')
FROM paybill.meter_events WHERE installation = %s AND state <> 'Sent'
"""
_UNTOLD = """
SELECT subscription_uid, count(*) FILTER (WHERE state = 'Waiting'), count(*) FILTER (WHERE state <> 'Waiting'),
  max(answer) FILTER (WHERE state = 'Waiting')
FROM paybill.meter_events WHERE installation = %s AND state <> 'Sent' AND (refused OR state <> 'Waiting')
GROUP BY subscription_uid
"""
_PRUNE = """
DELETE FROM paybill.meter_events WHERE (installation, id) IN
  (SELECT installation, id FROM paybill.meter_events WHERE settled_time < %s ORDER BY settled_time LIMIT %s)
"""


@dataclass(frozen=True, kw_only=True)
class WaitingEvent:
    """An event that is to be sent; ``tried``: since when it may have arrived without an answer."""

    attempts: int
    tried: datetime | None
    event: MeterEvent


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How many events wait, how many of them were refused, how many were given up; the oldest hour that waits."""

    waiting: int
    refused: int
    lost: int
    oldest: datetime | None


@dataclass(frozen=True, kw_only=True)
class Untold:
    """Of one contract: hours that a provider refuses, with its last words, and hours that it is told no more."""

    refused: int
    lost: int
    words: str


class MeterStore:
    """One installation's cursors and events; ``shard`` as in ``assert_epoch``."""

    def __init__(self, db: ControlDatabase, installation: str, *, shard: str = "") -> None:
        self._db = db
        self._installation = installation
        self._shard = shard

    @property
    def installation(self) -> str:
        """Whose events they are."""
        return self._installation

    async def cursors(self) -> dict[tuple[str, str], datetime]:
        """(Subscription UID, meter) → the hour from which on it was not counted yet."""
        return {(uid, meter): until for uid, meter, until in await self._rows(_CURSORS, (self._installation,))}

    async def measured(self, since: Mapping[str, datetime], until: datetime) -> dict[str, list[Measured]]:
        """What tenants (by id) used in the hours from ``since`` on that began before ``until``."""
        found: dict[str, list[Measured]] = {}
        for one, hour, size, rows, connections in await self._rows(
            _MEASURED, (list(since), list(since.values()), until)
        ):
            found.setdefault(one, []).append(Measured(hour=hour, bytes=size, rows=rows, connections=connections))
        return found

    async def count(
        self, events: Sequence[MeterEvent], cursors: Mapping[tuple[str, str], datetime], now: datetime, *, epoch: int
    ) -> None:
        """Write events and move the cursors on, both or neither; an event that is there already stays as it is."""
        columns = list(zip(*map(astuple, events), strict=True)) if events else []
        async with self._db.transaction() as connection:
            await assert_epoch(connection, epoch, self._shard)
            if columns:
                await connection.execute(_ADD, (self._installation, now, *map(list, columns)))
            uids, meters = [uid for uid, _ in cursors], [meter for _, meter in cursors]
            await connection.execute(_MOVE, (self._installation, uids, meters, list(cursors.values())))

    async def forget(self, cursors: Iterable[tuple[str, str]], *, epoch: int) -> None:
        """Let cursors go: what is counted then starts anew."""
        found = list(cursors)
        await self._write(_FORGET, (self._installation, [one for one, _ in found], [one for _, one in found]), epoch)

    async def due(self, now: datetime, most: int) -> list[WaitingEvent]:
        """What is to be sent now, the longest due first."""
        rows = await self._rows(_DUE, (self._installation, now, most))
        names = ("id", "subscription_uid", "tenant_id", "meter", "customer", "hour", "value")
        return [
            WaitingEvent(attempts=row[0], tried=row[1], event=MeterEvent(**dict(zip(names, row[2:], strict=True))))
            for row in rows
        ]

    async def trying(self, ids: Sequence[str], now: datetime, *, epoch: int) -> None:
        """Note that events are about to be sent."""
        await self._write(_TRY, (now, self._installation, list(ids)), epoch)

    async def untried(self, ids: Sequence[str], *, epoch: int) -> None:
        """Note that events were not sent after all."""
        await self._write(_UNTRIED, (self._installation, list(ids)), epoch)

    async def sent(self, ids: Sequence[str], now: datetime, *, epoch: int) -> None:
        """Note that the provider has them."""
        await self._write(_SENT, (now, self._installation, list(ids)), epoch)

    async def put_off(self, event: MeterEvent, due: datetime, words: str, *, epoch: int) -> None:
        """Note that nobody knows whether an event arrived, and when it goes out again."""
        await self._write(_PUT_OFF, (due, words, self._installation, event.id), epoch)

    async def refused(self, event: MeterEvent, due: datetime, words: str, *, epoch: int) -> None:
        """Note that the provider took it not; the other hours of that customer and meter wait with it."""
        values = (due, words, event.id, self._installation, event.customer, event.meter)
        await self._write(_REFUSED, values, epoch)

    async def give_up(self, event: MeterEvent, fate: Fate, now: datetime, *, epoch: int) -> None:
        """Note that an event is not sent any more."""
        await self._write(_GIVE_UP, (fate, now, self._installation, event.id), epoch)

    async def standing(self) -> Standing:
        """How much waits."""
        (row,) = await self._rows(_STANDING, (self._installation,))
        return Standing(waiting=row[0], refused=row[1], lost=row[2], oldest=row[3])

    async def untold(self) -> dict[str, Untold]:
        """What each Subscription's provider was not told, by its UID."""
        rows = await self._rows(_UNTOLD, (self._installation,))
        return {row[0]: Untold(refused=row[1], lost=row[2], words=row[3] or "") for row in rows}

    async def prune(self, now: datetime, *, epoch: int) -> None:
        """Let the oldest go."""
        await self._write(_PRUNE, (now - KEPT, _PRUNED_AT_ONCE), epoch)

    async def _rows(self, statement: str, values: tuple[object, ...]) -> Sequence[Any]:
        async with self._db.session() as connection:
            return await (await connection.execute(statement.encode(), values)).fetchall()

    async def _write(self, statement: str, values: tuple[object, ...], epoch: int) -> None:
        await fenced_write(self._db, statement, values, epoch, self._shard)
