"""The inbox: hints of payment providers, each kept once, until the operator has looked where they point.

The webhook receiver adds rows and can do nothing else, not even read them: its role is granted the columns of a hint.
The operator takes what is due, oldest first. A hint that points to what is not there yet is put off, each time longer,
because an event may be faster than the object that names its subscription.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Final

import psycopg
from psycopg import sql

from paybill.api.failures import Blocked, Retry
from paybill.control.database import ControlDatabase
from paybill.control.epoch import fenced_write
from paybill.lifecycle.hints import Hint

KEPT: Final = timedelta(days=35)
"""How long a row is kept, so that an event that comes again is known: Stripe repeats one for 3 days, people for 30."""
_PRUNED_AT_ONCE: Final = 10_000

_HINT = tuple(field.name for field in fields(Hint))
_NAMES = ("installation", *("created_time" if name == "created" else name for name in _HINT))
_KEEP = sql.SQL("INSERT INTO paybill.inbox ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
    sql.SQL(", ").join(map(sql.Identifier, _NAMES)), sql.SQL(", ").join([sql.Placeholder()] * len(_NAMES))
)
# Without a target: to name one would need the right to read it.
_DUE = """
SELECT source, id, type, object, subscription, customer, created_time, attempts FROM paybill.inbox
WHERE installation = %s AND done_time IS NULL AND due_time <= %s ORDER BY due_time LIMIT %s
"""
_DONE = """
UPDATE paybill.inbox SET done_time = now(), outcome = %s
WHERE installation = %s AND source = %s AND id = ANY(%s) AND done_time IS NULL
"""
_PARK = """
UPDATE paybill.inbox SET attempts = attempts + 1, due_time = %s, outcome = %s
WHERE installation = %s AND source = %s AND id = ANY(%s) AND done_time IS NULL
"""
_PRUNE = """
DELETE FROM paybill.inbox WHERE (installation, source, id) IN
  (SELECT installation, source, id FROM paybill.inbox WHERE received_time < %s AND done_time IS NOT NULL LIMIT %s)
"""
_CURSOR = "SELECT until_time FROM paybill.inbox_cursors WHERE installation = %s AND source = %s"
_MOVE = """
INSERT INTO paybill.inbox_cursors (installation, source, until_time) VALUES (%s, %s, %s)
ON CONFLICT (installation, source) DO UPDATE SET until_time = greatest(inbox_cursors.until_time, excluded.until_time)
"""
_WAITING = """
SELECT count(*), min(received_time) FROM paybill.inbox WHERE installation = %s AND done_time IS NULL
"""
_MAY = """
SELECT has_database_privilege(current_database(), 'CREATE') OR coalesce(bool_or(
    has_table_privilege(c.oid, 'SELECT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(c.oid, 'SELECT, UPDATE')
    OR c.relname <> 'inbox' AND has_any_column_privilege(c.oid, 'INSERT')), false),
  coalesce(bool_or(c.relname = 'inbox' AND has_any_column_privilege(c.oid, 'INSERT')
    AND has_schema_privilege(n.oid, 'USAGE')), false)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'paybill' AND c.relkind IN ('r', 'p', 'v', 'm')
"""
"""Whether a role may do more than it should, and whether it may do that."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A hint in the inbox, and how often it was put off."""

    hint: Hint
    attempts: int


class Mailbox:
    """The receiver's side: hints go in, nothing comes out."""

    def __init__(self, db: ControlDatabase, installation: str) -> None:
        self._db = db
        self._installation = installation

    async def refuse_other_rights(self) -> None:
        """Raise unless our role can add hints and nothing else: it is what strangers can talk to.

        Raises Blocked where it may do more, Retry where it may not yet do that.
        """
        async with self._db.session() as connection:
            row = await (await connection.execute(_MAY)).fetchone()
        more, enough = row or (True, False)
        if more:
            raise Blocked(
                "WebhookRoleTooMighty",
                f"the role that the webhook receiver uses in {self._db.place} may do more than add to the inbox: give "
                "it a role of its own, and name that one to the operator (PAYBILL_WEBHOOK_ROLE)",
            )
        if not enough:
            raise Retry(
                "InboxNotReady",
                f"the receiver's role may not add to the inbox in {self._db.place}: the operator grants it that at its "
                "start, where PAYBILL_WEBHOOK_ROLE names it",
            )

    async def keep(self, hint: Hint) -> bool:
        """Keep a hint; True once it is committed, False when it was there before."""
        values = [getattr(hint, name) for name in _HINT]
        async with self._db.session() as connection:
            return (await connection.execute(_KEEP, (self._installation, *values))).rowcount == 1


class Inbox(Mailbox):
    """The operator's side: it adds what the receiver missed, and takes what is due."""

    def __init__(self, db: ControlDatabase, installation: str, *, shard: str = "") -> None:
        super().__init__(db, installation)
        self._shard = shard

    async def cursor(self, source: str) -> datetime | None:
        """Up to when a source's events were asked for; None where it never was."""
        async with self._db.session() as connection:
            row = await (await connection.execute(_CURSOR, (self._installation, source))).fetchone()
        return row[0] if row is not None else None

    async def move_cursor(self, source: str, to: datetime, *, epoch: int) -> None:
        """Note that all events of a source before a moment are in the inbox."""
        await self._write(_MOVE, (self._installation, source, to), epoch)

    async def waiting(self) -> tuple[int, datetime | None]:
        """How many hints were not followed yet, and since when the oldest of them waits."""
        async with self._db.session() as connection:
            row = await (await connection.execute(_WAITING, (self._installation,))).fetchone()
        return (row[0], row[1]) if row is not None else (0, None)

    async def due(self, now: datetime, most: int) -> list[Kept]:
        """What is to be looked at, the longest due first."""
        async with self._db.session() as connection:
            rows = await (await connection.execute(_DUE, (self._installation, now, most))).fetchall()
        return [Kept(hint=Hint(**dict(zip(_HINT, row[:-1], strict=True))), attempts=row[-1]) for row in rows]

    async def done(self, hints: Sequence[Hint], outcome: str, *, epoch: int) -> None:
        """Note that hints were followed, and what came of it."""
        for source in {hint.source for hint in hints}:
            ids = [hint.id for hint in hints if hint.source == source]
            await self._write(_DONE, (outcome, self._installation, source, ids), epoch)

    async def park(self, hint: Hint, due: datetime, why: str, *, epoch: int) -> None:
        """Put a hint off."""
        await self._write(_PARK, (due, why, self._installation, hint.source, [hint.id]), epoch)

    async def prune(self, now: datetime, *, epoch: int) -> None:
        """Let the oldest go."""
        await self._write(_PRUNE, (now - KEPT, _PRUNED_AT_ONCE), epoch)

    async def _write(self, statement: str, values: tuple[object, ...], epoch: int) -> None:
        await fenced_write(self._db, statement, values, epoch, self._shard)


async def let_in(db: ControlDatabase, role: str) -> None:
    """Grant the webhook receiver's role what it needs, and nothing else; raises Blocked when there is no such role."""
    columns = sql.SQL(", ").join(map(sql.Identifier, _NAMES))
    name = sql.Identifier(role)
    try:
        async with db.transaction() as connection:
            await connection.execute(sql.SQL("GRANT USAGE ON SCHEMA paybill TO {}").format(name))
            await connection.execute(sql.SQL("REVOKE ALL ON paybill.inbox FROM {}").format(name))
            await connection.execute(sql.SQL("GRANT INSERT ({}) ON paybill.inbox TO {}").format(columns, name))
    except psycopg.errors.UndefinedObject:
        raise Blocked(
            "WebhookRoleMissing",
            f"the control database {db.place} has no role {role}, which PAYBILL_WEBHOOK_ROLE names: create it "
            "(CREATE ROLE … LOGIN PASSWORD …; GRANT CONNECT ON DATABASE …)",
        ) from None
