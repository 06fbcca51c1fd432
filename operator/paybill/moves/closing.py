"""Stops a tenant's writes for the moment of the switch, and lets them go on where it does not come to that.

Taking privileges away is not enough: a transaction that has written already still commits, and a function of the
tenant's that runs as its owner writes without them (research, step 6). So logins are closed and sessions ended, which
leaves nobody who could commit; every commit that was acknowledged is then before whatever the log's end is.
"""

from __future__ import annotations

from typing import Final

from psycopg.sql import SQL, Identifier

from paybill.api.failures import Retry
from paybill.databases.sessions import end_sessions
from paybill.desired import sql_names as names
from paybill.moves.job import Job

_OPEN: Final = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s) AND rolcanlogin ORDER BY 1"
_PREPARED: Final = "SELECT count(*)::int FROM pg_prepared_xacts WHERE owner = ANY(%s)"


async def close(job: Job) -> None:
    """Close the tenant's logins on the source and end their sessions.

    Raises ``Retry("SessionsStillOpen" | "MoveWaits")``; the logins are closed then all the same.
    """
    source, everyone = job.source, sorted(names.role_names(job.tenant))
    async with source.server.session(source.pool.name) as admin:
        async with admin.transaction():
            await job.fence(source.server, admin)
            for (name,) in await (await admin.execute(_OPEN, [everyone])).fetchall():
                await admin.execute(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(name)))
        await end_sessions(admin, source.server.traits, everyone)
        prepared = await (await admin.execute(_PREPARED, [everyone])).fetchone()
    if prepared is not None and prepared[0]:
        said = f"tenant {job.tenant} has {prepared[0]} prepared transactions, which could still commit"
        raise Retry("MoveWaits", said, after=60.0)


async def reopen(job: Job) -> None:
    """Open the logins on the source again that its access allows."""
    source = job.source
    opened = sorted(set(source.desired.login_names) - source.desired.closed_logins)
    async with source.server.session(source.pool.name) as admin, admin.transaction():
        await job.fence(source.server, admin)
        for name in opened:
            await admin.execute(SQL("ALTER ROLE {} LOGIN").format(Identifier(name)))
