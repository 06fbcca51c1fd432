"""What the control database knows of the provider's migrations: how far each subject came, and which files have run.

A subject is a tenant, by its id, or a pool of shared tables. The ledger beside the tables is what counts; this is the
view of the fleet, from which the waves are decided without asking a thousand databases.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from psycopg import sql
from psycopg.rows import dict_row

from paybill.api.failures import Retry
from paybill.control.database import ControlDatabase
from paybill.control.epoch import FENCED, assert_epoch


@dataclass(frozen=True, kw_only=True)
class MigrationRow:
    """One subject. ``failed_*``: the file that it could not run, as it was then."""

    subject: str
    cell: str
    version: int = 0
    failed_version: int | None = None
    failed_checksum: str | None = None
    failed_time: datetime | None = None
    reason: str | None = None
    message: str | None = None


def pool_subject(cell: str, server: str) -> str:
    """The subject of a pool of shared tables."""
    return f"pool/{cell}/{server}"


_COLUMNS = tuple(field.name for field in fields(MigrationRow))
_TYPES = {"version": "integer", "failed_version": "integer", "failed_time": "timestamptz"}
_ALL = sql.SQL("SELECT {} FROM paybill.migrations WHERE installation = %s").format(
    sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
)
_FILES = "SELECT cell, version, name, checksum FROM paybill.migration_files WHERE installation = %s"
_PUT = sql.SQL(
    "INSERT INTO paybill.migrations (installation, {}) SELECT %s, {} FROM fence ON CONFLICT (subject) DO UPDATE SET {},"
    " updated_time = now() RETURNING 1"
).format(
    sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    sql.SQL(", ").join(sql.SQL("%s::" + _TYPES.get(name, "text")) for name in _COLUMNS),
    sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in _COLUMNS[1:]),
)
_PUT_FILE = sql.SQL(
    "INSERT INTO paybill.migration_files (installation, cell, version, name, checksum)"
    " SELECT %s, %s, %s::integer, %s, %s FROM fence ON CONFLICT DO NOTHING"
)


class MigrationStore:
    """The subjects and files of one installation; reads come from memory, writes go to the database first."""

    def __init__(self, db: ControlDatabase, installation: str, *, shard: str = "") -> None:
        self._db = db
        self._installation = installation
        self._shard = shard
        self._rows: dict[str, MigrationRow] = {}
        self._files: dict[tuple[str, int], tuple[str, str]] = {}

    async def load(self) -> None:
        """Read what is known, in place of what was in memory."""
        async with self._db.transaction() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            rows = await (await cursor.execute(_ALL, (self._installation,))).fetchall()
            files = await (await connection.execute(_FILES, (self._installation,))).fetchall()
        self._rows = {row["subject"]: MigrationRow(**row) for row in rows}
        self._files = {(cell, version): (name, checksum) for cell, version, name, checksum in files}

    def of(self, subject: str, cell: str) -> MigrationRow:
        """How far a subject came; nowhere when it was never migrated."""
        return self._rows.get(subject) or MigrationRow(subject=subject, cell=cell)

    def ran(self, cell: str) -> dict[int, tuple[str, str]]:
        """Version → name and checksum of the files that have run anywhere in the cell."""
        return {version: file for (where, version), file in self._files.items() if where == cell}

    async def put(self, row: MigrationRow, *, epoch: int) -> None:
        """Keep how far a subject came; writes nothing when that is known."""
        if self._rows.get(row.subject) == row:
            return
        values = [getattr(row, column) for column in _COLUMNS]
        async with self._db.session() as connection:
            cursor = await connection.execute(FENCED + _PUT, (self._shard, epoch, self._installation, *values))
            if await cursor.fetchone() is None:
                await assert_epoch(connection, epoch, self._shard)
                raise Retry("RegistryConflict", "the epoch was taken, and given back, while a migration was noted")
        self._rows[row.subject] = row

    async def release(self, cell: str, version: int, name: str, checksum: str, *, epoch: int) -> None:
        """Remember that a file has run in the cell, once."""
        if (cell, version) in self._files:
            return
        async with self._db.session() as connection:
            values = (self._shard, epoch, self._installation, cell, version, name, checksum)
            await connection.execute(FENCED + _PUT_FILE, values)
        self._files[cell, version] = (name, checksum)
