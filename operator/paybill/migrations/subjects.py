"""Brings one subject from where its ledger says it is through the files that it lacks.

There are three kinds. A tenant with its own schema runs every file. A pool of shared tables runs the structure, as the
role that owns schema ``app`` and nothing else, and each of its tenants the data, behind row security: forced row
security binds even the tables' owner, who would change nothing and be told that it went well (research, section 2).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from psycopg.sql import SQL, Identifier, Literal

from paybill.api.failures import Failure
from paybill.databases import job_login
from paybill.databases.credentials import new_password, scram_verifier
from paybill.databases.leader import asserting, hold
from paybill.databases.server import Server, Session
from paybill.databases.statement import Statement
from paybill.databases.transactions import run
from paybill.desired import sql_names as names
from paybill.desired.database_tenant import PoolDatabase
from paybill.migrations import ledger as ledgers
from paybill.migrations.fences import fence_own, fence_shared
from paybill.migrations.files import Bundle, File
from paybill.migrations.ledger import Ledger
from paybill.migrations.running import Fence, Limits, Login, apply


@dataclass
class Reached:
    """How far a subject came: the version of the last file that is done, what was run now, and what stopped it."""

    version: int = 0
    ran: list[str] = field(default_factory=list)
    failure: Failure | None = None


async def own(
    server: Server,
    pool: PoolDatabase,
    tenant: str,
    user: str,
    password: str,
    files: Bundle,
    limits: Limits,
    *,
    new: bool,
) -> Reached:
    """Bring a tenant with a schema of its own to the last of ``files``.

    ``user`` is its migration login, ``password`` that login's. ``new``: nothing was in it before, so there is nothing
    to backfill.
    """
    login = Login(server=server, database=pool.name, schema=names.schema(tenant), user=user, password=password)
    reached = Reached()
    try:
        async with login.session(limits) as session:
            await ledgers.ensure_of_tenant(session, tenant)
            book = ledgers.of_tenant(tenant)

            async def fence(session: Session) -> tuple[str, ...]:
                return await fence_own(session, tenant)

            await _through(login, session, book, files.files, files, fence, limits, reached, new=new)
    except Failure as failure:
        reached.failure = failure
    return reached


async def structure(server: Server, pool: PoolDatabase, files: Sequence[File], all_: Bundle, limits: Limits) -> Reached:
    """Run ``files``, which are of structure, once for all tenants of the shared tables of ``pool``."""
    reached = Reached()
    try:
        await ledgers.ensure_of_rows(server, pool)
        async with pool_login(server, pool) as login, login.session(limits) as session:
            book = ledgers.of_rows(ledgers.POOL)
            await _through(login, session, book, files, all_, fence_shared, limits, reached)
    except Failure as failure:
        reached.failure = failure
    return reached


async def data(
    server: Server,
    pool: PoolDatabase,
    tenant: str,
    mark: str,
    files: Sequence[File],
    limits: Limits,
    *,
    new: bool,
) -> Reached:
    """Run ``files``, which are of data, for one tenant of shared tables. ``mark`` is the tenant's."""
    reached = Reached()
    try:
        await ledgers.ensure_of_rows(server, pool)
        async with tenant_login(server, pool, tenant, mark) as login, login.session(limits) as session:
            book = ledgers.of_rows(tenant)
            await _through(login, session, book, files, Bundle(tuple(files)), _no_tables, limits, reached, new=new)
    except Failure as failure:
        reached.failure = failure
    return reached


async def _no_tables(session: Session) -> tuple[str, ...]:  # noqa: ARG001
    return ()


async def _through(
    login: Login,
    session: Session,
    book: Ledger,
    files: Sequence[File],
    all_: Bundle,
    fence: Fence,
    limits: Limits,
    reached: Reached,
    *,
    new: bool = False,
) -> None:
    applied = await book.applied(session)
    ours = Bundle(tuple(files))
    ledgers.refuse_changed(ours, applied, book.subject)
    reached.version = max((version for version in applied if all_.get(version)), default=0)
    for file in files:
        if file.version in applied:
            continue
        if file.backfill and new and not applied:
            await book.record(session, file)
        elif await apply(login, session, book, file, fence, limits):
            reached.ran.append(file.file_name)
        reached.version = file.version


@asynccontextmanager
async def pool_login(server: Server, pool: PoolDatabase) -> AsyncIterator[Login]:
    """The login that owns schema ``app``, open while this lasts, with a password that only this process knows."""
    owner, password = names.pool_owner(pool.name), new_password()
    role, group = Identifier(owner), Identifier(pool.name)
    verifier = Literal(scram_verifier(password))
    async with server.session(pool.name) as admin:
        opening = (
            SQL("GRANT {} TO {}").format(group, role),
            SQL("ALTER ROLE {} LOGIN PASSWORD {} CONNECTION LIMIT 2").format(role, verifier),
        )
        await run(admin, (*asserting(server.epoch), *(Statement("", one) for one in opening)))
    try:
        yield Login(server=server, database=pool.name, schema=names.ROWS_SCHEMA, user=owner, password=password)
    finally:
        async with server.session(pool.name) as admin:
            closing = (
                SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(role),
                SQL("REVOKE {} FROM {}").format(group, role),
            )
            await run(admin, [Statement("", one) for one in closing])


@asynccontextmanager
async def tenant_login(server: Server, pool: PoolDatabase, tenant: str, mark: str) -> AsyncIterator[Login]:
    """A login of one tenant of shared tables that may write its rows, open while this lasts."""
    (login, group), password = job_login.of_tenant(tenant), new_password()
    async with server.session(pool.name) as admin, admin.transaction():
        await hold(server, admin)
        await job_login.open_login(admin, login, group, mark, password)
    try:
        yield Login(server=server, database=pool.name, schema=names.ROWS_SCHEMA, user=login, password=password)
    finally:
        async with server.session(pool.name) as admin, admin.transaction():
            await job_login.close_login(admin, login, group)
