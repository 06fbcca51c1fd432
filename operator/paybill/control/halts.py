"""What a restart must not forget of halts: the mode last seen, and each cell's mass change until somebody allowed it.

Kept in the control database, fenced like all that a leader writes: a breaker that a restart resets would be none, and
an operator that no longer leads must not end what the new one holds.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, fields, replace
from datetime import datetime

from psycopg import sql
from psycopg.rows import class_row

from paybill.api.failures import Retry
from paybill.control.database import ControlDatabase
from paybill.control.epoch import FENCED, assert_epoch
from paybill.lifecycle.mass_change import Cause
from paybill.lifecycle.mode import Halt, Mode

BY_PERSON, NOTHING_LEFT = "Person", "Nothing left"
"""How a mass change can end."""


@dataclass(frozen=True, kw_only=True)
class MassChange:
    """One trip of a cell's breaker: ``counted`` tenants of ``tenants``, where ``allowed`` would have been none.

    ``saved``: whether the control database has it.
    """

    id: str
    cell: str
    cause: Cause
    counted: int
    allowed: int
    tenants: int
    tripped_time: datetime
    saved: bool = False

    def as_saved(self) -> MassChange:
        """The same, once the control database has it."""
        return replace(self, saved=True)


def new_id() -> str:
    """A name for one trip that no other one has, short enough to be read out."""
    return secrets.token_hex(4)


_COLUMNS = tuple(field.name for field in fields(MassChange) if field.name != "saved")
_OPEN = sql.SQL(
    "SELECT {}, true AS saved FROM paybill.mass_changes WHERE installation = %s AND ended_time IS NULL"
).format(sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)))
_WATERMARKS = (
    "SELECT cell, max(watermark_time) FROM paybill.mass_changes"
    " WHERE installation = %s AND ended_time IS NOT NULL GROUP BY cell"
)
_TYPES = {"counted": "integer", "allowed": "integer", "tenants": "integer", "tripped_time": "timestamptz"}
_TRIP = sql.SQL(
    "INSERT INTO paybill.mass_changes (installation, {}) SELECT %s, {} FROM fence"
    " ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING id"
).format(
    sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    sql.SQL(", ").join(sql.SQL("%s::{}").format(sql.SQL(_TYPES.get(name, "text"))) for name in _COLUMNS),
)
_END = sql.SQL(
    "UPDATE paybill.mass_changes SET ended_time = %s, ended_by = %s, watermark_time = %s FROM fence"
    " WHERE id = %s RETURNING id"
)
_MODE = "SELECT mode, reason, set_by, set_time FROM paybill.modes WHERE installation = %s"
_REMEMBER = sql.SQL(
    "INSERT INTO paybill.modes (installation, mode, reason, set_by, set_time) SELECT %s, %s, %s, %s, %s FROM fence"
    " ON CONFLICT (installation) DO UPDATE SET mode = excluded.mode, reason = excluded.reason,"
    " set_by = excluded.set_by, set_time = excluded.set_time, updated_time = now() RETURNING installation"
)


class HaltStore:
    """One installation's halts; read once by ``load``, written to the database before anybody relies on it."""

    def __init__(self, db: ControlDatabase, installation: str, *, shard: str = "") -> None:
        self._db = db
        self._installation = installation
        self._shard = shard
        self.mode: Halt | None = None
        """The mode that the installation was last in; None when none was ever set."""

    async def load(self) -> tuple[list[MassChange], dict[str, datetime]]:
        """The mass changes that are not ended, and per cell until when all that fell due was looked at."""
        async with self._db.transaction() as connection:
            row = await (await connection.execute(_MODE, (self._installation,))).fetchone()
            cursor = connection.cursor(row_factory=class_row(MassChange))
            opened = await (await cursor.execute(_OPEN, (self._installation,))).fetchall()
            watermarks = await (await connection.execute(_WATERMARKS, (self._installation,))).fetchall()
        self.mode = Halt(mode=Mode(row[0]), reason=row[1], by=row[2], time=row[3]) if row is not None else None
        trips = [replace(trip, cause=Cause(trip.cause)) for trip in opened]
        return trips, {str(cell): time for cell, time in watermarks}

    async def remember(self, halt: Halt, *, epoch: int) -> None:
        """Keep the mode that holds now."""
        await self._write(_REMEMBER, (self._installation, str(halt.mode), halt.reason, halt.by, halt.time), epoch)
        self.mode = halt

    async def keep(self, trip: MassChange, *, epoch: int) -> None:
        """Keep a trip; again changes nothing."""
        await self._write(_TRIP, (self._installation, *(getattr(trip, name) for name in _COLUMNS)), epoch)

    async def end(self, trip: MassChange, by: str, now: datetime, watermark: datetime, *, epoch: int) -> None:
        """Note that a trip is over, by a person's word or because nothing is left; what it counted is done with."""
        await self._write(_END, (now, by, watermark, trip.id), epoch)

    async def _write(self, statement: sql.Composable, values: tuple[object, ...], epoch: int) -> None:
        async with self._db.session() as connection:
            cursor = await connection.execute(FENCED + statement, (self._shard, epoch, *values))
            if await cursor.fetchone() is None:
                await assert_epoch(connection, epoch, self._shard)
                raise Retry("RegistryConflict", "a halt was changed by somebody else while it was written")
