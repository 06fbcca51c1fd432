"""An export: what a customer takes along, readable without Paybill and without Postgres.

It is written from the scratch database in which a backup was proved, so it holds exactly what was counted before the
dump, and nothing is asked of the tenant's own database a second time. One zip file: ``schema.sql``, a CSV file of each
table, and ``export.json``, which says how many rows belong into each.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from psycopg.sql import SQL, Identifier

from paybill.api.failures import Blocked
from paybill.backups import backup as backups
from paybill.backups import logins, programs, proof, tools
from paybill.backups.backup import LONGEST, Progress, silent
from paybill.backups.manifest import EXPORT, Manifest, Table
from paybill.backups.programs import Login
from paybill.backups.sealing import Keyring
from paybill.backups.store import Store
from paybill.databases.places import Session
from paybill.databases.server import Server
from paybill.desired import sql_names as names

CONTENTS: Final = "export.json"
SCHEMA: Final = "schema.sql"


async def add(
    server: Server,
    store: Store,
    keyring: Keyring,
    known: Manifest,
    *,
    progress: Progress = silent,
    longest: timedelta = LONGEST,
) -> Manifest:
    """Prove the backup as ``proof.prove`` does, and add its export; returns the manifest that lists both.

    Raises what ``prove`` raises, and ``Blocked("BackupIncomplete")`` when a file does not get the rows of its table.
    """
    async with proof.restored(
        server, store, keyring, known, job=f"export {known.id}", progress=progress, longest=longest
    ) as login:
        content = _zipped(server, login, store, keyring, known, longest)
        where = backups.folder(known.installation, known.tenant, known.id)
        part = await backups.write_part(
            store, keyring, known.key, where, EXPORT, content, lambda size: progress("Exporting", size)
        )
    listed = known.model_copy(update={"parts": (*known.parts, part)})
    await backups.write_manifest(store, keyring, listed)
    return listed


def file_of(table: str) -> str:
    """The name in the zip file of a table's rows; a table may be called ``../x``, a file below a folder may not."""
    return f"tables/{quote(table, safe='')}.csv"


async def _zipped(
    server: Server, login: Login, store: Store, keyring: Keyring, known: Manifest, longest: timedelta
) -> AsyncIterator[bytes]:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CONTENTS, json.dumps(_contents(known), indent=1, sort_keys=True))
        with archive.open(SCHEMA, "w", force_zip64=True) as file:
            async for piece in _schema(server, store, keyring, known, longest):
                file.write(piece)
                yield pipe.taken()
        async with logins.session(server, login) as session, session.transaction():
            for table in known.ledger.tables:
                with archive.open(file_of(table.name), "w", force_zip64=True) as file:
                    async for piece in _rows(session, known, table):
                        file.write(piece)
                        yield pipe.taken()
    yield pipe.taken()


async def _schema(
    server: Server, store: Store, keyring: Keyring, known: Manifest, longest: timedelta
) -> AsyncIterator[bytes]:
    """What makes the tables anew, without owners and rights: those are of the place the export was taken from."""
    client = await tools.for_server(server.traits.version, written_by=known.tools_version)
    argv = [client.program("pg_restore"), "--schema-only", "--no-owner", "--no-privileges", "--file=-"]
    content = backups.content(store, keyring, known)
    async for piece in programs.output(argv, {"LC_ALL": "C"}, longest.total_seconds(), content):
        yield piece


async def _rows(session: Session, known: Manifest, table: Table) -> AsyncIterator[bytes]:
    query = SQL("COPY (SELECT * FROM ONLY {}) TO STDOUT (FORMAT csv, HEADER true, ENCODING 'UTF8')")
    async with session.cursor() as cursor:
        async with cursor.copy(query.format(Identifier(known.schema_name, table.name))) as copy:
            async for piece in copy:
                yield bytes(piece)
        if cursor.rowcount != table.rows:
            raise Blocked(
                "BackupIncomplete",
                f"the export of backup {known.id} has {cursor.rowcount} rows of table {table.name}, not {table.rows}",
            )


def _contents(known: Manifest) -> dict[str, Any]:
    return {
        "format": "paybill-export/1",
        "tenant": names.tenant_id(known.tenant),
        "level": known.level,
        "schema": known.schema_name,
        "serverVersion": known.server_version,
        "takenTime": known.started.isoformat(),
        "tables": [{"name": one.name, "file": file_of(one.name), "rows": one.rows} for one in known.ledger.tables],
        "sequences": [{"name": one.name, "last": one.last} for one in known.ledger.sequences],
    }


class _Pipe(io.RawIOBase):
    """What a zip file is written to that is sent away as it grows: nothing can be sought in it."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._sent = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._held += data
        return len(data)

    def tell(self) -> int:
        return self._sent + len(self._held)

    def taken(self) -> bytes:
        """What was written since, which is forgotten here."""
        piece = bytes(self._held)
        self._sent += len(piece)
        self._held.clear()
        return piece
