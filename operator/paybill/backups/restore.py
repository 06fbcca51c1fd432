"""Restores a backup into a tenant: beside what is there, proved there, and put in its place by one transaction.

What a tenant has is never half replaced. A schema is restored under another name and renamed when all of it is there;
rows of shared tables are exchanged in a single transaction that compares before it commits. A restore that is killed is
begun again, over what it left, unless the exchange had been made: that is told by a mark which is part of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from paybill.api.failures import Blocked, Failure
from paybill.backups import ledger, logins, programs, tools
from paybill.backups.backup import LONGEST, Progress, silent
from paybill.backups.logins import COUNTS, PINNED
from paybill.backups.manifest import Ledger, Manifest
from paybill.backups.programs import Login
from paybill.backups.proof import refuse_different, restored
from paybill.backups.restore_rows import exchange
from paybill.backups.sealing import Keyring
from paybill.backups.store import Store
from paybill.databases.borrowed import borrowed, join, leave
from paybill.databases.drop import LONGEST as DROPPING
from paybill.databases.drop import Fence
from paybill.databases.grant_statements import schemas
from paybill.databases.places import Session
from paybill.databases.server import Server
from paybill.databases.statement import Statement
from paybill.databases.transactions import run
from paybill.desired import sql_names as names
from paybill.desired.database_facts import Schema
from paybill.desired.database_tenant import PoolDatabase

REPLACED: Final = "paybill-replaced:"
"""What the comment of a schema begins with that a restore has put aside; after it comes the restore."""

Reached = Callable[[str], None]
"""Told before each step: here tests kill it."""


def nowhere(_step: str) -> None:
    """Does nothing."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Into which tenant, and where it lies."""

    server: Server
    pool: PoolDatabase
    tenant: str
    uid: str

    @property
    def rows(self) -> bool:
        """Whether it lies in shared tables."""
        return self.pool.holds == "Rows"

    @property
    def mark(self) -> str:
        """What the tenant's roles carry."""
        return names.mark(self.pool.installation, self.uid)

    @property
    def owner(self) -> str:
        """The role that owns its schema."""
        return names.role(self.tenant, "owner")


@dataclass(frozen=True, kw_only=True)
class Restore:
    """One restore: its name, what is restored, and SQL that is run on it before anybody sees it."""

    job: str
    store: Store
    keyring: Keyring
    known: Manifest
    target: Target
    fence: Fence
    scrub: str = ""
    longest: timedelta = LONGEST
    progress: Progress = silent
    reached: Reached = nowhere


def refuse_unfit(restore: Restore) -> None:
    """Raise ``Blocked("RestoreUnfit")`` when the backup cannot become what the target is."""
    known, target = restore.known, restore.target
    if (known.level == "Rows") is not target.rows:
        raise Blocked(
            "RestoreUnfit",
            f"backup {known.id} is of level {known.level}, tenant {target.tenant} is not: restore it into one on the"
            " same level, and change the Plan afterwards",
        )
    if target.rows and known.database != target.pool.name:
        raise Blocked(
            "RestoreUnfit",
            f"backup {known.id} holds rows of the shared tables of {known.database}, whose sequences know its numbers;"
            f" those of {target.pool.name} do not",
        )


async def prepare(restore: Restore) -> None:
    """All that can be done while the tenant goes on: prove the backup, and put a schema beside the tenant's own.

    Raises ``Blocked("RestoreUnfit" | "BackupDamaged" | "BackupIncomplete" | "ScrubFailed" | …)``: nothing of the
    tenant was changed then.
    """
    refuse_unfit(restore)
    if await switched(restore):
        return
    restore.reached("clear")
    await _drop_schema(restore, _staging(restore.target))
    restore.reached("scratch")
    try:
        async with _scratch(restore) as scratch:
            if not restore.target.rows:
                await _stage(restore, scratch)
    except Failure:
        await _drop_schema(restore, _staging(restore.target))
        raise


async def switch(restore: Restore) -> None:
    """Exchange what the tenant has for what was prepared; its logins are closed and its sessions ended.

    One transaction: before it everything is as it was, after it everything is as in the backup.
    """
    if await switched(restore):
        return
    restore.reached("switch")
    if restore.target.rows:
        await _switch_rows(restore)
    else:
        await _switch_schema(restore)
    restore.reached("switched")


async def switched(restore: Restore) -> bool:
    """Whether the exchange has been made; of rows nothing is left that could tell, and making it twice is the same."""
    if restore.target.rows:
        return False
    async with restore.target.server.session(restore.target.pool.name) as session:
        return await _comment(session, _aside(restore.target)) == f"{REPLACED}{restore.job}"


async def finish(restore: Restore) -> None:
    """Drop what was put aside; to be called when the tenant is open again."""
    restore.reached("finish")
    await _drop_schema(restore, _aside(restore.target))


def _scratch(restore: Restore) -> AbstractAsyncContextManager[Login]:
    return restored(
        restore.target.server,
        restore.store,
        restore.keyring,
        restore.known,
        job=restore.job,
        progress=restore.progress,
        longest=restore.longest,
    )


def _staging(target: Target) -> str:
    return f"r_{names.tenant_id(target.tenant)}"


def _aside(target: Target) -> str:
    return f"o_{names.tenant_id(target.tenant)}"


async def _stage(restore: Restore, scratch: Login) -> None:
    """Copy the scratch database's schema beside the tenant's own, as its owner; compare; scrub."""
    target, staging = restore.target, _staging(restore.target)
    restore.reached("rename")
    async with logins.session(target.server, scratch, read_only=False) as session:
        old = Identifier(restore.known.schema_name)
        await session.execute(SQL("ALTER SCHEMA {} RENAME TO {}").format(old, Identifier(staging)))
    restore.reached("create")
    await _create_schema(restore, staging)
    async with _writer(restore, names.role(target.tenant, "owner")) as login:
        restore.reached("copy")
        await _copy(restore, scratch, login, staging)
        restore.reached("compare")
        await _compare(restore, login, staging)
        restore.reached("scrub")
        options = f"{PINNED} -c role={target.owner}"
        async with logins.session(target.server, login, options=options, read_only=False) as session:
            await scrubbed(session, restore, f"{staging}, {names.EXTENSIONS_SCHEMA}")


@asynccontextmanager
async def _writer(restore: Restore, group: str) -> AsyncIterator[Login]:
    """The tenant's own login that writes what is restored: it may act as ``group`` while this lasts."""
    target, until = restore.target, datetime.now(UTC) + restore.longest
    async with logins.opened(
        target.server, target.pool, target.tenant, target.mark, COUNTS, until=until, fence=restore.fence, acts_as=group
    ) as login:
        yield login


async def _copy(restore: Restore, scratch: Login, login: Login, schema: str) -> None:
    client = await tools.for_server(restore.target.server.traits.version)
    seconds = restore.longest.total_seconds()
    dump = [client.program("pg_dump"), "--format=custom", "--no-password", "--compress=0", f"--schema={schema}"]
    into = [
        client.program("pg_restore"),
        "--no-password",
        "--no-owner",
        "--no-privileges",
        "--exit-on-error",
        f"--schema={schema}",
        f"--role={restore.target.owner}",
        f"--dbname={login.database}",
    ]
    size = 0

    async def told() -> AsyncIterator[bytes]:
        nonlocal size
        async for piece in programs.output(dump, scratch.environment(), seconds):
            size += len(piece)
            restore.progress("Copying", size)
            yield piece

    await programs.fed(into, login.environment(), seconds, told())


async def _compare(restore: Restore, login: Login, schema: str) -> None:
    options = f"{PINNED} -c role={restore.target.owner}"
    async with logins.session(restore.target.server, login, options=options) as session, session.transaction():
        found = await ledger.read(session, schema)
    expected = restore.known.ledger
    refuse_different(restore.known, Ledger(tables=expected.tables, sequences=expected.sequences), found)


def _grants(tenant: str, schema: str) -> tuple[Statement, ...]:
    """What the tenant's groups have on what is in its schema; what comes later has it by default."""
    space, rw, r = Identifier(schema), Identifier(names.role(tenant, "rw")), Identifier(names.role(tenant, "r"))
    return (
        _says(SQL("GRANT USAGE ON SCHEMA {} TO {}, {}").format(space, rw, r)),
        _says(SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {} TO {}").format(space, rw)),
        _says(SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(space, r)),
        _says(SQL("GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA {} TO {}").format(space, rw)),
        _says(SQL("GRANT SELECT ON ALL SEQUENCES IN SCHEMA {} TO {}").format(space, r)),
        _says(SQL("GRANT EXECUTE ON ALL ROUTINES IN SCHEMA {} TO {}, {}").format(space, rw, r)),
    )


async def scrubbed(session: Session, restore: Restore, search_path: str) -> None:
    """Run the scrub in one transaction of ``session``; raises ``Blocked("ScrubFailed")``."""
    if not restore.scrub:
        return
    path = SQL(", ").join(Identifier(part.strip()) for part in search_path.split(","))
    try:
        async with session.transaction():
            await session.execute(SQL("SET LOCAL search_path = {}").format(path))
            with session.patiently(restore.longest.total_seconds()):
                await session.execute(restore.scrub.encode())
    except psycopg.Error as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Blocked(
            "ScrubFailed", f"the scrub of restore {restore.job} failed, nothing was changed: {said}"
        ) from error


async def _switch_schema(restore: Restore) -> None:
    target = restore.target
    live, staging, aside = names.schema(target.tenant), _staging(target), _aside(target)
    statements = (
        _says(SQL("ALTER SCHEMA {} RENAME TO {}").format(Identifier(live), Identifier(aside))),
        _says(SQL("COMMENT ON SCHEMA {} IS {}").format(Identifier(aside), Literal(f"{REPLACED}{restore.job}"))),
        _says(SQL("ALTER SCHEMA {} RENAME TO {}").format(Identifier(staging), Identifier(live))),
        # Not before: what its groups have outside of its schema is taken from them by the next look at the tenant.
        *_grants(target.tenant, live),
    )
    async with target.server.session(target.pool.name) as session:
        if await _comment(session, staging) is None:
            raise Blocked("RestoreUnfit", f"restore {restore.job} has prepared nothing for tenant {target.tenant}")
    await _drop_schema(restore, aside)  # of a restore before this one
    async with target.server.session(target.pool.name) as session, session.transaction():
        await restore.fence(session)
        for statement in _as_owner(statements, target):
            await session.execute(statement.sql)


async def _switch_rows(restore: Restore) -> None:
    target = restore.target
    async with (
        _scratch(restore) as scratch,
        _writer(restore, names.role(target.tenant, "rw")) as login,
        logins.session(target.server, scratch) as source,
        logins.session(target.server, login, read_only=False) as session,
        target.server.session(target.pool.name) as admin,
        source.transaction(),
        session.transaction(),
    ):
        restore.progress("Exchanging", 0)
        expected = await exchange(source, session, restore.known, target.tenant)
        found = await ledger.read(session, names.ROWS_SCHEMA, tenant=target.tenant)
        refuse_different(restore.known, Ledger(tables=expected), Ledger(tables=found.tables))
        await scrubbed(session, restore, f"{names.ROWS_SCHEMA}, {names.EXTENSIONS_SCHEMA}")
        async with admin.transaction():
            await restore.fence(admin)


async def _create_schema(restore: Restore, name: str) -> None:
    target = restore.target
    wanted = frozenset({Schema(name, target.owner)})
    async with target.server.session(target.pool.name) as session:
        await run(session, borrowed(schemas(wanted, frozenset(), target.mark), target.server.traits))


async def _drop_schema(restore: Restore, name: str) -> None:
    """Drop a schema of a restore's; nothing when it is not there, and nothing of anybody else's."""
    target = restore.target
    if target.rows:
        return
    async with target.server.session(target.pool.name) as session:
        found = await _comment(session, name)
        if found is None:
            return
        if found != target.mark and not found.startswith(REPLACED):
            raise Blocked("NameConflict", f"schema {name} is marked {found!r}: it is not Paybill's")
        with session.patiently(DROPPING + 60):
            async with session.transaction():
                await session.execute(SQL("SET LOCAL statement_timeout = {}").format(f"{DROPPING}s"))
                await restore.fence(session)
                drop = _says(SQL("DROP SCHEMA {} CASCADE").format(Identifier(name)))
                for statement in _as_owner((drop,), target):
                    await session.execute(statement.sql)


def _as_owner(statements: Iterable[Statement], target: Target) -> tuple[Statement, ...]:
    """A managed administrator owns no tenant's schema: it is the owner's member for this transaction."""
    traits = target.server.traits
    if traits.superuser:
        return tuple(statements)
    return (join(target.owner, traits, inherit=True), *statements, leave(target.owner, traits))


def _says(sql: Composed) -> Statement:
    return Statement("", sql)


async def _comment(session: Session, schema: str) -> str | None:
    """The comment of a schema, "" without one; None when there is no such schema."""
    query = "SELECT COALESCE(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = %s"
    cursor = await session.execute(query, [schema])
    found = await cursor.fetchone()
    return None if found is None else str(found[0])
