"""What has run, in the database where it ran, committed together with what it did.

A tenant with a schema of its own has its ledger in it (``pb_migrations``), so that it travels with the tenant in a move
or a backup. Where tables are shared there is one ledger in Paybill's own schema, with a row for the pool per file of
structure and a row per tenant and file of data. The app's logins cannot write to either.

The row is inserted before the file runs and in the same transaction. So two that run the same file at a time meet at
the ledger's key: the second waits, and finds that it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from psycopg.sql import SQL, Composable, Identifier, Literal

from paybill.api.failures import Blocked
from paybill.databases.borrowed import borrowed
from paybill.databases.server import Server, Session
from paybill.databases.statement import Statement
from paybill.databases.transactions import run
from paybill.desired import sql_names as names
from paybill.desired.database_tenant import PoolDatabase
from paybill.migrations.files import Bundle, File

POOL: Final = "pool"
"""The subject of what ran once for all tenants of shared tables; tenants' ids are longer."""


@dataclass(frozen=True)
class Ledger:
    """One ledger and whose rows of it are meant."""

    table: Composable
    subject: str

    async def applied(self, session: Session) -> dict[int, tuple[str, str]]:
        """Version → file's name and checksum of what has run."""
        cursor = await session.execute(
            SQL("SELECT version, name, checksum FROM {} WHERE tenant_id = %s ORDER BY version").format(self.table),
            [self.subject],
        )
        return {version: (name, checksum) for version, name, checksum in await cursor.fetchall()}

    async def record(self, session: Session, file: File) -> None:
        """The row of ``file``, in the open transaction of ``session``."""
        insert = SQL("INSERT INTO {} (tenant_id, version, name, checksum) VALUES (%s, %s, %s, %s)").format(self.table)
        await session.execute(insert, [self.subject, file.version, file.file_name, file.checksum])


def of_tenant(tenant: str) -> Ledger:
    """The ledger in a tenant's own schema."""
    return Ledger(Identifier(names.schema(tenant), names.LEDGER), tenant)


def of_rows(subject: str) -> Ledger:
    """The ledger of shared tables: ``POOL``, or a tenant's id."""
    return Ledger(Identifier(names.TENANCY_SCHEMA, "migrations"), subject)


_COLUMNS: Final = (
    "version integer NOT NULL, name text NOT NULL, checksum text NOT NULL,"
    " applied_time timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (tenant_id, version)"
)


async def ensure_of_tenant(session: Session, tenant: str) -> None:
    """Make the ledger in a tenant's schema, on a session of its migration login.

    It is taken from the writing role at once, so that the app can never say that something has run.
    """
    table, exists = of_tenant(tenant).table, SQL("SELECT to_regclass({})")
    cursor = await session.execute(exists.format(Literal(f"{names.schema(tenant)}.{names.LEDGER}")))
    if await cursor.fetchone() != (None,):
        return
    columns = SQL("tenant_id text NOT NULL DEFAULT paybill.tenant() CONSTRAINT {} CHECK (tenant_id = {}), " + _COLUMNS)
    create = SQL("CREATE TABLE {} ({})").format(
        table, columns.format(Identifier(names.FENCE), Literal(names.tenant_id(tenant)))
    )
    writers = Identifier(names.role(tenant, "rw"))
    revoke = SQL("REVOKE INSERT, UPDATE, DELETE ON {} FROM {}").format(table, writers)
    await run(session, [Statement("", create), Statement("", revoke)])


async def ensure_of_rows(server: Server, pool: PoolDatabase) -> None:
    """Make the ledger of a pool's shared tables, as the administrator; nothing when it is there.

    A tenant's row may be written by the login that is opened for its data step, and by nobody else's.
    """
    table = of_rows(POOL).table
    own = SQL("tenant_id = (SELECT paybill.tenant()) AND session_user ~ '_job_[ab]$'").format()
    owner, writers = Identifier(names.pool_owner(pool.name)), Identifier(names.ROWS_WRITE)
    parts = (
        SQL("CREATE TABLE {} (tenant_id text NOT NULL, " + _COLUMNS + ")").format(table),
        SQL("ALTER TABLE {} OWNER TO {}").format(table, Identifier(names.ADMIN)),
        SQL("REVOKE ALL ON TABLE {} FROM PUBLIC").format(table),
        SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table),
        SQL("CREATE POLICY pool ON {} TO {} USING (true) WITH CHECK (tenant_id = {})").format(
            table, owner, Literal(POOL)
        ),
        SQL("CREATE POLICY tenant ON {} TO {} USING ({}) WITH CHECK ({})").format(table, writers, own, own),
        SQL("GRANT SELECT, INSERT ON {} TO {}, {}").format(table, owner, writers),
    )
    async with server.session(pool.name) as session:
        cursor = await session.execute("SELECT to_regclass('paybill.migrations')")
        if await cursor.fetchone() == (None,):
            await run(session, [Statement("", part) for part in parts])


async def forget_rows(server: Server, pool: PoolDatabase, tenant: str, after: int) -> None:
    """Forget which files of data beyond ``after`` a tenant of shared tables has run: its rows are older now."""
    delete = SQL("DELETE FROM {} WHERE tenant_id = {} AND version > {}").format(
        of_rows(tenant).table, Literal(names.tenant_id(tenant)), Literal(after)
    )
    async with server.session(pool.name) as session:
        cursor = await session.execute("SELECT to_regclass('paybill.migrations')")
        if await cursor.fetchone() != (None,):
            await run(session, borrowed([Statement("", delete, owner=names.ADMIN)], server.traits))


def refuse_changed(files: Bundle, applied: dict[int, tuple[str, str]], whose: str) -> None:
    """Raise ``Blocked("AppliedMigrationChanged" | "MigrationOutOfOrder")`` that names the file.

    A file of the ledger that is not in the source any more is no trouble: a source may forget old files only together
    with new tenants' need of them, which ``missing`` tells.
    """
    newest = max(applied, default=0)
    for version, (name, checksum) in applied.items():
        file = files.get(version)
        if file is not None and file.checksum != checksum:
            raise Blocked(
                "AppliedMigrationChanged",
                f"{file.file_name} is not the file that {whose} ran as {name}: put that one back, and write what is to "
                "change into a new file",
            )
    late = next((file for file in files.files if file.version < newest and file.version not in applied), None)
    if late is not None:
        raise Blocked(
            "MigrationOutOfOrder",
            f"{late.file_name} comes before {applied[newest][0]}, which {whose} has run already: give it the next "
            "number",
        )
