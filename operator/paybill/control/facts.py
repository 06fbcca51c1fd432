"""What has happened to a subscription: the true copy of the times that its phase is computed from.

``Subscription.status`` shows these facts, but a status can be edited or lost with its object; a deadline that decides
over a customer's data may not hang on it. A time is written once per episode (until it is cleared): what comes later
with another value does not move it, so that a crash between this write and the status cannot shift a deadline.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, LiteralString
from weakref import WeakValueDictionary

from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from paybill.api.failures import Retry
from paybill.control import outbox
from paybill.control.database import ControlDatabase
from paybill.control.epoch import FENCED, assert_epoch
from paybill.lifecycle.announcement import Message


@dataclass(frozen=True)
class Facts:
    """One subscription's facts; ``None`` in a time means that it has not happened (or is over).

    ``requested_end_time`` is when the Subscription's deletion was requested, which is a cancellation. ``start_time``
    is when the contract began where its spec does not say so: its object may be made anew, the contract is not.
    ``past_due_time`` is when debt was first seen. ``noticed_time`` is when its people were told that its data goes,
    ``deleted_time`` when the last backup went.
    ``failed_time`` is since when its tenant, which never was Ready, cannot be made.
    ``agreed`` is what is sold, where what is billed says it (lifecycle/sale.py).
    ``change_plan``: another Plan that was asked for at ``change_asked_time``, paid until ``change_period_time`` then.
    """

    subscription_uid: str
    tenant_uid: str | None
    phase: str
    trial_start_time: datetime | None = None
    past_due_time: datetime | None = None
    suspended_time: datetime | None = None
    ended_time: datetime | None = None
    archived_time: datetime | None = None
    abandoned_time: datetime | None = None
    requested_end_time: datetime | None = None
    last_known: Mapping[str, Any] | None = None
    holds: tuple[Mapping[str, Any], ...] = ()
    start_time: datetime | None = None
    noticed_time: datetime | None = None
    deleted_time: datetime | None = None
    change_plan: str | None = None
    change_asked_time: datetime | None = None
    change_period_time: datetime | None = None
    failed_time: datetime | None = None
    agreed: Mapping[str, Any] | None = None
    updated_time: datetime | None = None


Tell = Callable[[Facts | None, Facts], Message]
"""Makes the message of a transition, of the facts before and after."""

EPISODES = (
    "past_due_time", "suspended_time", "ended_time", "archived_time", "abandoned_time", "requested_end_time",
    "noticed_time", "deleted_time", "failed_time",
)  # fmt: skip
_COLUMNS = tuple(field.name for field in fields(Facts) if field.name != "updated_time")
_ALL = sql.SQL("SELECT {}, updated_time FROM paybill.subscription_facts WHERE installation = %s").format(
    sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
)


def _type(column: str) -> LiteralString:
    """The type a value is sent as: what comes from a SELECT is not guessed from its column."""
    if column.endswith("_time"):
        return "timestamptz"
    return "jsonb" if column in {"last_known", "holds", "agreed"} else "text"


_PUT = sql.SQL(
    "INSERT INTO paybill.subscription_facts (installation, {}) SELECT %s, {} FROM fence"
    " ON CONFLICT (subscription_uid) DO UPDATE SET {}, updated_time = now() RETURNING updated_time"
).format(
    sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    sql.SQL(", ").join(sql.SQL("%s::{}").format(sql.SQL(_type(c))) for c in _COLUMNS),
    sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(c)) for c in _COLUMNS[1:]),
)


class FactStore:
    """The facts of one installation's subscriptions; reads come from memory, writes go to the database first."""

    def __init__(self, db: ControlDatabase, installation: str, *, shard: str = "") -> None:
        self._db = db
        self._installation = installation
        self._shard = shard
        self._facts: dict[str, Facts] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def load(self) -> None:
        """Read all facts, in one query, in place of what was in memory."""
        async with self._db.transaction() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            rows = await (await cursor.execute(_ALL, (self._installation,))).fetchall()
        self._facts = {row["subscription_uid"]: Facts(**{**row, "holds": tuple(row["holds"])}) for row in rows}

    def get(self, subscription_uid: str) -> Facts | None:
        """The facts of this subscription, or ``None`` if nothing ever happened to it."""
        return self._facts.get(subscription_uid)

    def all(self) -> tuple[Facts, ...]:
        """The facts of every subscription."""
        return tuple(self._facts.values())

    def know(self, facts: Facts) -> None:
        """Take up what was written elsewhere in this package, in a transaction with more than the facts."""
        self._facts[facts.subscription_uid] = facts

    def forget(self, subscription_uid: str) -> None:
        """Leave out facts that are another Subscription's now."""
        self._facts.pop(subscription_uid, None)

    async def put(self, facts: Facts, *, epoch: int, tell: Tell | None = None) -> Facts:
        """Keep ``facts`` and return what stands now; writes nothing when it stands already.

        The contract's start and the trial's never change; the other times do not change while they are set, only by
        being cleared. What the provider said stays as it is known: ``note`` alone changes that. ``tell`` makes the
        message of another phase, which is written with it.
        """
        async with self._lock(facts.subscription_uid):
            stored = self._facts.get(facts.subscription_uid)
            if stored is not None:
                facts = replace(facts, last_known=stored.last_known, holds=stored.holds)
            return await self._put(facts, epoch, tell)

    async def note(self, unknown: Facts, change: Callable[[Facts], Facts], *, epoch: int) -> Facts:
        """Change what is known of a subscription by what its provider said; ``unknown``: where nothing is known yet.

        One at a time with ``put``, so that neither undoes the other.
        """
        async with self._lock(unknown.subscription_uid):
            return await self._put(change(self._facts.get(unknown.subscription_uid) or unknown), epoch)

    def _lock(self, subscription_uid: str) -> asyncio.Lock:
        """One per subscription, for as long as somebody uses it."""
        return self._locks.setdefault(subscription_uid, asyncio.Lock())

    async def _put(self, facts: Facts, epoch: int, tell: Tell | None = None) -> Facts:
        stored = self._facts.get(facts.subscription_uid)
        standing = replace(_settled(stored, facts), updated_time=stored.updated_time if stored else None)
        if standing == stored:
            return standing
        values = [getattr(standing, column) for column in _COLUMNS]
        for column in ("last_known", "agreed"):
            said = getattr(standing, column)
            values[_COLUMNS.index(column)] = None if said is None else Jsonb(dict(said))
        values[_COLUMNS.index("holds")] = Jsonb([dict(hold) for hold in standing.holds])
        turned = stored is None or stored.phase != standing.phase
        message = tell(stored, standing) if tell is not None and turned else None
        # A statement of its own is one round trip; with a message there are two, and both count or none.
        async with self._db.session() if message is None else self._db.transaction() as connection:
            cursor = await connection.execute(FENCED + _PUT, (self._shard, epoch, self._installation, *values))
            row = await cursor.fetchone()
            if row is None:
                await assert_epoch(connection, epoch, self._shard)
                raise Retry("RegistryConflict", "the epoch was taken, and given back, while facts were written")
            if message is not None:
                await outbox.add(connection, self._installation, message)
        written = replace(standing, updated_time=row[0])
        self._facts[written.subscription_uid] = written
        return written


def _settled(stored: Facts | None, given: Facts) -> Facts:
    if stored is None:
        return given
    kept = {name: getattr(stored, name) for name in EPISODES if getattr(stored, name) and getattr(given, name)}
    starts = {name: getattr(stored, name) or getattr(given, name) for name in ("start_time", "trial_start_time")}
    return replace(given, **starts, **kept)
