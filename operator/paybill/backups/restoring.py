"""What a restore works with: into whose place, from which backup, and by which logins anything of it is touched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg.sql import SQL, Identifier

from paybill.api.failures import Blocked
from paybill.backups import logins
from paybill.backups.backup import LONGEST, Progress, silent
from paybill.backups.logins import COUNTS
from paybill.backups.manifest import Manifest
from paybill.backups.programs import Login
from paybill.backups.proof import restored
from paybill.backups.sealing import Keyring
from paybill.backups.store import Store
from paybill.databases.drop import Fence
from paybill.databases.places import Session
from paybill.databases.server import Server
from paybill.desired import sql_names as names
from paybill.desired.database_tenant import PoolDatabase

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


def scratch_of(restore: Restore) -> AbstractAsyncContextManager[Login]:
    """The backup in a database of its own, compared already."""
    return restored(
        restore.target.server,
        restore.store,
        restore.keyring,
        restore.known,
        job=restore.job,
        progress=restore.progress,
        longest=restore.longest,
    )


@asynccontextmanager
async def writer(restore: Restore, group: str) -> AsyncIterator[Login]:
    """The tenant's own login that writes what is restored: it may act as ``group`` while this lasts."""
    target, until = restore.target, datetime.now(UTC) + restore.longest
    role = names.role(target.tenant, group)
    async with logins.opened(
        target.server, target.pool, target.tenant, target.mark, COUNTS, until=until, fence=restore.fence, acts_as=role
    ) as login:
        yield login


async def scrubbed(session: Session, restore: Restore, schema: str) -> None:
    """Run the scrub in one transaction of ``session``; raises ``Blocked("ScrubFailed")``.

    Only Postgres' code is told: its message may quote a value of the very data that the scrub is to remove.
    """
    if not restore.scrub:
        return
    restore.progress("Scrubbing", 0)
    path = SQL("{}, {}").format(Identifier(schema), Identifier(names.EXTENSIONS_SCHEMA))
    try:
        async with session.transaction():
            await session.execute(SQL("SET LOCAL search_path = {}").format(path))
            with session.patiently(restore.longest.total_seconds()):
                await session.execute(restore.scrub.encode())
    except psycopg.Error as error:
        place = f" at character {error.diag.statement_position}" if error.diag.statement_position else ""
        raise Blocked(
            "ScrubFailed",
            f"the scrub failed{place} with {type(error).__name__} (SQLSTATE {error.sqlstate or 'unknown'}), so nothing"
            " of the tenant was changed: mend it and write another TenantRestore",
        ) from error
