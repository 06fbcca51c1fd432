"""Moves under way and what they left: one row per tenant, so that nobody begins a second one, and a restart goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import class_row

from paybill.api.failures import Retry
from paybill.control.database import ControlDatabase
from paybill.control.epoch import FENCED, assert_epoch
from paybill.lifecycle.move import Mode, Step


@dataclass(frozen=True, kw_only=True)
class MoveRow:
    """One tenant's move: from where to where, the step it is at, and what was established on the way.

    ``because``: why it goes offline. ``shape``: the digest of the definition that the target was made from. ``place``:
    where in the source's log writes ended. ``retired``: what the tenant left was closed for good; of a move that is
    given up: what was made at its target is gone.
    """

    tenant_id: str
    cell: str
    source_server: str
    source_level: str
    source_database: str
    source_plan: str | None
    source_revision: str | None
    target_server: str
    target_level: str
    target_database: str
    step: Step
    mode: Mode | None = None
    because: str = ""
    shape: str = ""
    attempt: int = 1
    tables: int = 0
    rows: int = 0
    checksum: str = ""
    place: str = ""
    retired: bool = False
    begun_time: datetime
    step_time: datetime
    keep_until: datetime | None = None


_ROW = tuple(one.name for one in fields(MoveRow))
_NAMES = sql.SQL(", ").join(map(sql.Identifier, _ROW))
_TYPES = {
    "attempt": "integer", "tables": "integer", "rows": "bigint", "retired": "boolean",
    "begun_time": "timestamptz", "step_time": "timestamptz", "keep_until": "timestamptz",
}  # fmt: skip
_LOAD = sql.SQL("SELECT {} FROM paybill.moves WHERE installation = %s ORDER BY begun_time, tenant_id").format(_NAMES)
_PUT = sql.SQL(
    "INSERT INTO paybill.moves (installation, {}) SELECT %s, {} FROM fence"
    " ON CONFLICT (tenant_id) DO UPDATE SET {} RETURNING tenant_id"
).format(
    _NAMES,
    sql.SQL(", ").join(sql.SQL("%s::{}").format(sql.SQL(_TYPES.get(name, "text"))) for name in _ROW),
    sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in _ROW[1:]),
)
_REMOVE = sql.SQL(", gone AS (DELETE FROM paybill.moves m USING fence WHERE m.tenant_id = %s) SELECT 1 FROM fence")


class MoveStore:
    """The moves of one installation; reads come from memory, writes go to the database first."""

    def __init__(self, db: ControlDatabase, installation: str, *, shard: str = "") -> None:
        self._db = db
        self._installation = installation
        self._shard = shard
        self._rows: dict[str, MoveRow] = {}

    async def load(self) -> None:
        """Read what is known, in place of what was in memory."""
        async with self._db.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(MoveRow))
            rows = await (await cursor.execute(_LOAD, (self._installation,))).fetchall()
        self._rows = {row.tenant_id: row for row in rows}

    def of(self, tenant_id: str) -> MoveRow | None:
        """The tenant's move, if there is one."""
        return self._rows.get(tenant_id)

    def all(self) -> tuple[MoveRow, ...]:
        """Every move, the oldest first."""
        return tuple(sorted(self._rows.values(), key=lambda row: (row.begun_time, row.tenant_id)))

    async def put(self, row: MoveRow, *, epoch: int) -> MoveRow:
        """Keep a move; writes nothing when it stands already."""
        if self._rows.get(row.tenant_id) == row:
            return row
        values = (getattr(row, name) for name in _ROW)
        await self._write(_PUT, (self._installation, *values), epoch)
        self._rows[row.tenant_id] = row
        return row

    async def change(self, row: MoveRow, *, epoch: int, **changes: Any) -> MoveRow:
        """The same move with other values."""
        return await self.put(replace(row, **changes), epoch=epoch)

    async def remove(self, tenant_id: str, *, epoch: int) -> None:
        """Forget a move that has ended, or was given up."""
        await self._write(_REMOVE, (tenant_id,), epoch)
        self._rows.pop(tenant_id, None)

    async def _write(self, statement: sql.Composable, values: Iterable[object], epoch: int) -> None:
        async with self._db.session() as connection:
            cursor = await connection.execute(FENCED + statement, (self._shard, epoch, *values))
            if await cursor.fetchone() is None:
                await assert_epoch(connection, epoch, self._shard)
                raise Retry("RegistryConflict", "the epoch was taken, and given back, while a move was written")
