"""The control database's own migrations: numbered SQL files, applied once, in order, all or none.

The files travel as package data, so the schema is always that of the code. One release back stays readable: an
operator that is rolled back by one release runs on the newer schema, one that is two releases behind stops, because
nobody tested that. A file that was applied is never edited; its checksum is kept to find out.
"""

import hashlib
import logging
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paybill.api.failures import Blocked

logger = logging.getLogger(__name__)

LOCK = 0x7061_7962_696C_6C01
"""The advisory lock under which one process at a time migrates: "paybill" and a one."""

FILE = re.compile(r"^(?P<version>[0-9]{4})_(?P<name>[a-z0-9_]+)\.sql$")
RELEASE = re.compile(r"^-- release: (?P<release>[0-9]+)$", re.MULTILINE)

LEDGER = """
    CREATE SCHEMA IF NOT EXISTS paybill;
    CREATE TABLE IF NOT EXISTS paybill.schema_migrations (
        version      integer     PRIMARY KEY,
        name         text        NOT NULL,
        release      integer     NOT NULL,
        checksum     text        NOT NULL,
        applied_time timestamptz NOT NULL DEFAULT now()
    )
"""
APPLIED = "SELECT version, name, release, checksum FROM paybill.schema_migrations ORDER BY version"
RECORD = "INSERT INTO paybill.schema_migrations (version, name, release, checksum) VALUES (%s, %s, %s, %s)"


@dataclass(frozen=True)
class Migration:
    """One file: ``release`` counts the releases of Paybill that changed this schema."""

    version: int
    name: str
    release: int
    sql: str
    checksum: str


@cache
def known() -> tuple[Migration, ...]:
    """The migrations this release carries, in order."""
    found = []
    for file in resources.files("paybill.control").joinpath("migrations").iterdir():
        if not (named := FILE.match(file.name)):
            continue
        text = file.read_text(encoding="utf-8")
        if not (released := RELEASE.search(text)):
            raise RuntimeError(f"migration {file.name} does not say its release")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        found.append(Migration(int(named["version"]), named["name"], int(released["release"]), text, checksum))
    return tuple(sorted(found, key=lambda migration: migration.version))


async def migrate(connection: AsyncConnection[TupleRow], migrations: tuple[Migration, ...] | None = None) -> None:
    """Apply what is missing, in the transaction that ``connection`` is in.

    Raises ``Blocked`` when the schema is more than one release ahead or an applied file differs from ours.
    """
    ours = known() if migrations is None else migrations
    await connection.execute("SET LOCAL lock_timeout = 0")
    await connection.execute("SET LOCAL statement_timeout = '10min'")
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    present = await (await connection.execute("SELECT to_regclass('paybill.schema_migrations')")).fetchone()
    if present == (None,):
        await connection.execute(LEDGER)
    applied: dict[int, tuple[str, int, str]] = {}
    for version, name, release, checksum in await (await connection.execute(APPLIED)).fetchall():
        applied[version] = (name, release, checksum)
    _refuse_strangers(ours, applied)
    for migration in ours:
        if migration.version not in applied:
            await connection.execute(migration.sql.encode())
            await connection.execute(RECORD, (migration.version, migration.name, migration.release, migration.checksum))
            logger.info("control database: applied migration %04d %s", migration.version, migration.name)


def _refuse_strangers(ours: tuple[Migration, ...], applied: dict[int, tuple[str, int, str]]) -> None:
    newest = max(migration.release for migration in ours)
    for version, (name, release, checksum) in applied.items():
        if release > newest + 1:
            raise Blocked(
                "ControlSchemaTooNew",
                f"the control database's schema is of release {release} (migration {version:04d} {name}) and this"
                f" operator knows release {newest}: run one that is at most one release older",
            )
        mine = next((migration for migration in ours if migration.version == version), None)
        if mine is not None and mine.checksum != checksum:
            raise Blocked(
                "ControlSchemaAltered",
                f"migration {version:04d} {name} of the control database is not the one this operator carries:"
                " a released migration was edited, or the database belongs to another build",
            )
