"""Shuts a tenant out of its database for the moment in which what it has there is exchanged.

Taking privileges away is not enough: a transaction that has written already still commits, and a function of the
tenant's that runs as its owner writes without them. So logins are closed and sessions ended, which leaves nobody who
could commit but a transaction that was prepared for two-phase commit: it has no session, and is counted.
"""

from __future__ import annotations

from typing import Final

from psycopg.sql import SQL, Identifier

from paybill.databases.drop import Fence
from paybill.databases.server import Server
from paybill.databases.sessions import end_sessions
from paybill.desired import sql_names as names
from paybill.desired.database_tenant import PoolDatabase

_OPEN: Final = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s) AND rolcanlogin ORDER BY 1"
_PREPARED: Final = "SELECT count(*)::int FROM pg_prepared_xacts WHERE owner = ANY(%s)"


async def shut(server: Server, pool: PoolDatabase, tenant: str, fence: Fence) -> int:
    """Close all logins of ``tenant`` and end their sessions; returns how many prepared transactions could still commit.

    Raises ``Retry("SessionsStillOpen")``; the logins are closed then all the same.
    """
    everyone = sorted(names.role_names(tenant))
    async with server.session(pool.name) as admin:
        async with admin.transaction():
            await fence(admin)
            for (name,) in await (await admin.execute(_OPEN, [everyone])).fetchall():
                await admin.execute(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(name)))
        await end_sessions(admin, server.traits, everyone)
        found = await (await admin.execute(_PREPARED, [everyone])).fetchone()
    return found[0] if found is not None else 0
