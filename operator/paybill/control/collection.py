"""What payment providers were told of collecting: one row per contract for which they were to pause it.

A row is written before its request goes out, and is gone when nothing of ours is left at the provider. There are few:
tenants that cannot be made.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from psycopg.rows import class_row

from paybill.control.database import ControlDatabase
from paybill.control.epoch import fenced_write
from paybill.lifecycle.collection import Pause

_COLUMNS: Final = tuple(field.name for field in fields(Pause))
_ALL = f"SELECT {', '.join(_COLUMNS)} FROM paybill.collection_pauses WHERE installation = %s"  # noqa: S608 - ours
_PUT = f"""
INSERT INTO paybill.collection_pauses (installation, {", ".join(_COLUMNS)})
VALUES (%s{", %s" * len(_COLUMNS)}) ON CONFLICT (installation, subscription_uid) DO UPDATE SET
{", ".join(f"{column} = excluded.{column}" for column in _COLUMNS[1:])}
"""  # noqa: S608 - names of our own fields
_FORGET = "DELETE FROM paybill.collection_pauses WHERE installation = %s AND subscription_uid = %s"


class CollectionStore:
    """One installation's pauses; reads come from memory, writes go to the database first."""

    def __init__(self, db: ControlDatabase, installation: str, *, shard: str = "") -> None:
        self._db = db
        self._installation = installation
        self._shard = shard
        self._rows: dict[str, Pause] = {}

    async def load(self) -> None:
        """Read all of them, in place of what was in memory."""
        async with self._db.session() as connection:
            cursor = connection.cursor(row_factory=class_row(Pause))
            rows = await (await cursor.execute(_ALL.encode(), (self._installation,))).fetchall()
        self._rows = {row.subscription_uid: row for row in rows}

    def get(self, subscription_uid: str) -> Pause | None:
        """The pause of a contract; None where nothing of ours is at the provider."""
        return self._rows.get(subscription_uid)

    def all(self) -> tuple[Pause, ...]:
        """All of them."""
        return tuple(self._rows.values())

    async def put(self, pause: Pause, *, epoch: int) -> None:
        """Write a row down, or anew."""
        values = tuple(getattr(pause, column) for column in _COLUMNS)
        await fenced_write(self._db, _PUT, (self._installation, *values), epoch, self._shard)
        self._rows[pause.subscription_uid] = pause

    async def forget(self, subscription_uid: str, *, epoch: int) -> None:
        """Let a row go."""
        await fenced_write(self._db, _FORGET, (self._installation, subscription_uid), epoch, self._shard)
        self._rows.pop(subscription_uid, None)
