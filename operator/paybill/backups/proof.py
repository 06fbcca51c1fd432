"""Proves a backup: restores it into a scratch database and counts there what was counted before the dump.

A dump that was made by a login which sees nothing ends well and holds nothing, and a store may give back other bytes
than it was given. So what cannot be restored whole, with every row and every sum, is no backup.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from psycopg.sql import SQL, Identifier

from paybill.api.failures import Blocked
from paybill.backups import agentless, ledger, logins, programs, tools
from paybill.backups import backup as backups
from paybill.backups.backup import LONGEST, Progress, silent
from paybill.backups.manifest import Ledger, Manifest
from paybill.backups.programs import Login
from paybill.backups.scratch import scratch
from paybill.backups.sealing import Keyring
from paybill.backups.store import Store
from paybill.backups.tools import Tools
from paybill.databases.server import Server

_FEW: Final = 5
"""Differences that a message names."""


async def prove(
    server: Server,
    store: Store,
    keyring: Keyring,
    known: Manifest,
    *,
    progress: Progress = silent,
    longest: timedelta = LONGEST,
) -> None:
    """Restore the backup into a scratch database of ``server`` and compare; raises unless all of it is there.

    ``Blocked("BackupIncomplete")`` names what differs; also raises ``Blocked("BackupDamaged" | "BackupMissing" |
    "ExtensionMissing" | "ClientToolFailed")``, ``Retry("BackupTooSlow")`` and what ``Server.session`` raises.
    """
    async with restored(server, store, keyring, known, job=f"prove {known.id}", progress=progress, longest=longest):
        pass


@asynccontextmanager
async def restored(
    server: Server,
    store: Store,
    keyring: Keyring,
    known: Manifest,
    *,
    job: str,
    progress: Progress = silent,
    longest: timedelta = LONGEST,
) -> AsyncIterator[Login]:
    """A scratch database that holds what the backup does, compared already; yields the login that owns it."""
    until = datetime.now(UTC) + longest
    client = await tools.for_server(server.traits.version, written_by=known.tools_version)
    shared = known.level == "Rows"
    async with scratch(server, job, known.ledger.extensions, until=until) as login:
        await restore_into(login, client, store, keyring, known, progress=progress, longest=longest)
        if shared:
            await _open_tables(server, login, known.schema_name)
        progress("Comparing", 0)
        async with logins.session(server, login) as session, session.transaction():
            found = await ledger.read(session, known.schema_name, tenant=known.tenant if shared else "")
        refuse_different(known, known.ledger, found)
        yield login


def refuse_different(known: Manifest, expected: Ledger, found: Ledger) -> None:
    """Raise ``Blocked("BackupIncomplete")``, which names the first differences, unless ``found`` is as ``expected``."""
    differing = ledger.differences(expected, found)
    if differing:
        more = f" and {len(differing) - _FEW} more" if len(differing) > _FEW else ""
        raise Blocked(
            "BackupIncomplete", f"backup {known.id} was restored and differs: {'; '.join(differing[:_FEW])}{more}"
        )


async def restore_into(
    login: Login,
    client: Tools,
    store: Store,
    keyring: Keyring,
    known: Manifest,
    *,
    progress: Progress = silent,
    longest: timedelta = LONGEST,
) -> None:
    """Restore the backup as ``login`` and stop at the first thing that fails."""
    argv = [
        client.program("pg_restore"),
        "--no-password",
        "--no-owner",
        "--no-privileges",
        "--exit-on-error",
        f"--dbname={login.database}",
    ]
    size, seconds = 0, longest.total_seconds()

    async def counted() -> AsyncIterator[bytes]:
        nonlocal size
        async with aclosing(backups.content(store, keyring, known)) as pieces:
            async for piece in pieces:
                size += len(piece)
                progress("Restoring", size)
                yield piece

    with tempfile.TemporaryDirectory(prefix="paybill-restore-") as folder:
        async with aclosing(backups.content(store, keyring, known)) as beginning:
            listed = await agentless.contents(client, login.environment(), seconds, beginning)
        if (kept := agentless.without(listed)) is not None:
            file = Path(folder) / "contents"
            file.write_text("\n".join(kept) + "\n", encoding="utf-8")
            argv.append(f"--use-list={file}")
        await programs.fed(argv, login.environment(), seconds, counted())


async def _open_tables(server: Server, login: Login, schema: str) -> None:
    """Take row security off what was restored: here its owner is the only one, and would see nothing of it."""
    query = "SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relrowsecurity"
    async with logins.session(server, login, read_only=False) as session:
        cursor = await session.execute(query, [schema])
        for (table,) in await cursor.fetchall():
            await session.execute(SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(Identifier(schema, table)))
