"""Stops a tenant's writes for the moment of the switch, and lets them go on where it does not come to that.

Logins are closed and sessions ended (databases/closing.py), which leaves nobody who could commit; every commit that was
acknowledged is then before whatever the log's end is.
"""

from __future__ import annotations

from functools import partial

from psycopg.sql import SQL, Identifier

from paybill.api.failures import Retry
from paybill.databases.closing import shut
from paybill.moves.job import Job


async def close(job: Job) -> None:
    """Close the tenant's logins on the source and end their sessions.

    Raises ``Retry("SessionsStillOpen" | "MoveWaits")``; the logins are closed then all the same.
    """
    source = job.source
    prepared = await shut(source.server, source.pool, job.tenant, partial(job.fence, source.server))
    if prepared:
        said = f"tenant {job.tenant} has {prepared} prepared transactions, which could still commit"
        raise Retry("MoveWaits", said, after=60.0)


async def reopen(job: Job) -> None:
    """Open the logins on the source again that its access allows."""
    source = job.source
    opened = sorted(set(source.desired.login_names) - source.desired.closed_logins)
    async with source.server.session(source.pool.name) as admin, admin.transaction():
        await job.fence(source.server, admin)
        for name in opened:
            await admin.execute(SQL("ALTER ROLE {} LOGIN").format(Identifier(name)))
