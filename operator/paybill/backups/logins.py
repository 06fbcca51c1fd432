"""The tenant's backup logins, which exist only while a job runs.

A dump reads as the tenant's own ``bak`` login and never as the administrator: what a tenant put into its tables runs
with the rights of whoever reads them (research, attacks 41 and 44), and behind row security only that login's rows are
there. A second login counts what the first has to find, so that a login which sees nothing proves nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from psycopg.sql import SQL, Identifier, Literal

from paybill.api.failures import Blocked
from paybill.backups.programs import Login
from paybill.databases.credentials import new_password, scram_verifier
from paybill.databases.drop import Fence
from paybill.databases.places import Session
from paybill.databases.server import Server
from paybill.databases.sessions import end_sessions
from paybill.desired import sql_names as names
from paybill.desired.database_tenant import PoolDatabase

DUMPS: Final = "bak_a"
COUNTS: Final = "bak_b"
PINNED: Final = (
    "-c search_path=pg_catalog,pg_temp -c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres"
    " -c extra_float_digits=1 -c bytea_output=hex -c statement_timeout=0 -c lock_timeout=30s"
)
"""What text a value turns into, the same on every server and for every login."""


@asynccontextmanager
async def opened(
    server: Server,
    pool: PoolDatabase,
    tenant: str,
    mark: str,
    suffix: str,
    *,
    until: datetime,
    fence: Fence,
    acts_as: str = "",
) -> AsyncIterator[Login]:
    """The backup login ``suffix`` of ``tenant``, open within and closed afterwards.

    It reads what the tenant's reading role does; a restore's may also act as ``acts_as``, another of its roles.
    ``until`` is when its password ends by itself, should nobody be left to close it. Raises ``Blocked("NameConflict")``
    when the role is not marked as the tenant's.
    """
    name, password = names.role(tenant, suffix), new_password()
    async with server.session(pool.name) as admin, admin.transaction():
        await fence(admin)
        await _open(admin, server, pool, name, names.role(tenant, "r"), mark, password, until, acts_as)
    try:
        yield Login(server.address(), pool.name, name, password)
    finally:
        # Whatever stopped the job, also a cancellation, does not stop this; the expiry stands behind it.
        await asyncio.shield(asyncio.create_task(_close(server, pool, name, acts_as)))


async def _open(
    admin: Session,
    server: Server,
    pool: PoolDatabase,
    name: str,
    group: str,
    mark: str,
    password: str,
    until: datetime,
    acts_as: str,
) -> None:
    role = Identifier(name)
    cursor = await admin.execute(
        "SELECT COALESCE(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = %s", [name]
    )
    found = await cursor.fetchone()
    if found is None:
        await admin.execute(SQL("CREATE ROLE {} NOLOGIN CONNECTION LIMIT 2").format(role))
        await admin.execute(SQL("COMMENT ON ROLE {} IS {}").format(role, Literal(mark)))
    elif found[0] != mark:
        raise Blocked("NameConflict", f"role {name} is marked {found[0]!r}, not {mark!r}. Nothing was changed.")
    options = SQL(" WITH INHERIT TRUE, SET FALSE" if server.traits.grant_options else "")
    await admin.execute(SQL("GRANT {} TO {}{}").format(Identifier(group), role, options))
    if acts_as:
        await admin.execute(SQL("GRANT {} TO {}{}").format(Identifier(acts_as), role, _both(server)))
    elif server.traits.superuser and (not pool.shared or (pool.holds == "Rows" and name.endswith(COUNTS))):
        # Of shared tables row security decides what the dump shows, and who counts must not be deceived by the same
        # rule. In a database of its own it is the tenant's, or its agents', and hides nothing from a backup.
        await admin.execute(SQL("ALTER ROLE {} BYPASSRLS").format(role))
    verifier = Literal(scram_verifier(password))
    await admin.execute(
        SQL("ALTER ROLE {} LOGIN INHERIT PASSWORD {} VALID UNTIL {}").format(role, verifier, Literal(until.isoformat()))
    )


def _both(server: Server) -> SQL:
    return SQL(" WITH INHERIT TRUE, SET TRUE" if server.traits.grant_options else "")


async def _close(server: Server, pool: PoolDatabase, name: str, acts_as: str) -> None:
    role = Identifier(name)
    async with server.session(pool.name) as admin:
        powers = SQL(" NOBYPASSRLS" if server.traits.superuser else "")
        await admin.execute(SQL("ALTER ROLE {} NOLOGIN{} PASSWORD NULL").format(role, powers))
        await end_sessions(admin, server.traits, [name])
        if acts_as:
            await admin.execute(SQL("REVOKE {} FROM {}").format(Identifier(acts_as), role))


@asynccontextmanager
async def session(
    server: Server, login: Login, *, options: str = PINNED, read_only: bool = True
) -> AsyncIterator[Session]:
    """A session of ``login`` in autocommit; database errors become Paybill's failures."""
    if read_only:
        options += " -c default_transaction_read_only=on -c default_transaction_isolation=repeatable\\ read"
    parameters: dict[str, str | int] = {"options": options, "application_name": "paybill-backup", "connect_timeout": 10}
    async with server.login(login.database, login.user, login.password, **parameters) as opened_session:
        yield opened_session
