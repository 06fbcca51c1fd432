"""What became of each checkout that signs a customer up: refused and why, begun under which name, made, or dismissed.

A session is carried out once, however many events tell of it and however often the operator ends in the middle of it:
this is the memory of that, and it outlives the Tenant. What was begun keeps its name, whatever is written at Stripe
afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.rows import class_row

from paybill.control.database import ControlDatabase
from paybill.control.epoch import fenced_write
from paybill.lifecycle.signup import Order

State = Literal["Refused", "Begun", "Made", "Dismissed"]

_GET = """
SELECT session, state, subscription, tenant, plan, reason, message FROM paybill.signups
WHERE installation = %s AND session = %s
"""
_BEGIN = """
INSERT INTO paybill.signups (installation, session, state, subscription, tenant, plan, first_time, begun_time)
VALUES (%s, %s, 'Begun', %s, %s, %s, %s, %s)
ON CONFLICT (installation, session) DO UPDATE SET state = 'Begun', subscription = excluded.subscription,
  tenant = excluded.tenant, plan = excluded.plan, begun_time = excluded.begun_time, reason = '', message = ''
WHERE signups.state = 'Refused'
"""
_REFUSE = """
INSERT INTO paybill.signups (installation, session, state, subscription, reason, message, first_time)
VALUES (%s, %s, 'Refused', %s, %s, %s, %s)
ON CONFLICT (installation, session) DO UPDATE SET reason = excluded.reason, message = excluded.message,
  state = CASE WHEN signups.begun_time IS NULL THEN 'Refused' ELSE signups.state END
WHERE signups.state IN ('Refused', 'Begun')
"""
_SETTLE = """
UPDATE paybill.signups SET state = 'Made', settled_time = %s, reason = '', message = ''
WHERE installation = %s AND session = %s AND state IN ('Refused', 'Begun')
"""
_BEGUN_SINCE = """
SELECT count(*) FROM paybill.signups WHERE installation = %s AND begun_time > %s AND state IN ('Begun', 'Made')
"""
_UNSETTLED = """
SELECT count(*) FROM paybill.signups WHERE installation = %s AND state IN ('Refused', 'Begun') AND reason <> ''
"""


@dataclass(frozen=True, kw_only=True)
class SignedUp:
    """One session, as far as it came; ``reason`` and ``message``: why it goes no further, empty where it does."""

    session: str
    state: State
    subscription: str
    tenant: str
    plan: str
    reason: str
    message: str

    @property
    def settled(self) -> bool:
        """Whether nothing is to be done for it any more."""
        return self.state in ("Made", "Dismissed")


class SignupStore:
    """One installation's checkouts."""

    def __init__(self, db: ControlDatabase, installation: str, *, shard: str = "") -> None:
        self._db = db
        self._installation = installation
        self._shard = shard

    async def get(self, session: str) -> SignedUp | None:
        """What became of a session; None where nothing did yet."""
        async with self._db.session() as connection:
            cursor = connection.cursor(row_factory=class_row(SignedUp))
            return await (await cursor.execute(_GET, (self._installation, session))).fetchone()

    async def begun_since(self, moment: datetime) -> int:
        """How many were begun after a moment."""
        return await self._count(_BEGUN_SINCE, (self._installation, moment))

    async def unsettled(self) -> int:
        """How many wait for somebody, or for their time."""
        return await self._count(_UNSETTLED, (self._installation,))

    async def begin(self, order: Order, now: datetime, *, epoch: int) -> None:
        """Note under which name a session is carried out, before anything is made; what was begun stays as it is."""
        values = (self._installation, order.session, order.subscription, order.name, order.plan, now, now)
        await self._write(_BEGIN, values, epoch)

    async def refuse(
        self, session: str, subscription: str, reason: str, message: str, now: datetime, *, epoch: int
    ) -> None:
        """Note why a session goes no further; one that was begun stays begun."""
        await self._write(_REFUSE, (self._installation, session, subscription, reason, message, now), epoch)

    async def settle(self, session: str, now: datetime, *, epoch: int) -> None:
        """Note that its Tenant and its Subscription are made, by whomever."""
        await self._write(_SETTLE, (now, self._installation, session), epoch)

    async def _count(self, query: str, values: tuple[object, ...]) -> int:
        async with self._db.session() as connection:
            row: Any = await (await connection.execute(query.encode(), values)).fetchone()
        return int(row[0])

    async def _write(self, statement: str, values: tuple[object, ...], epoch: int) -> None:
        await fenced_write(self._db, statement, values, epoch, self._shard)
