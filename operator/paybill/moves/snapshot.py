"""Holds the source as it was at one moment: the moment from which on its changes are replicated.

Only Postgres can say which rows a slot's changes begin behind, and only while it makes the slot over a replication
connection. The snapshot is good for as long as that connection is; whoever reads under it reads exactly the rows that
the slot will not send.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from psycopg.sql import SQL, Identifier

from paybill.api.failures import Blocked, Failure
from paybill.databases.places import Session
from paybill.moves import logins
from paybill.moves.job import Job

logger = logging.getLogger(__name__)

PATIENCE: Final = 300.0
"""Seconds that the slot may take to be made: it waits for each transaction that is open on the server."""
_OPTIONS: Final = "-c idle_in_transaction_session_timeout=0 -c statement_timeout=0"
"""It lies idle in its transaction until everything is copied."""


async def possible(job: Job) -> bool:
    """Whether the source lets this process replicate; what is in between, such as a pooler, may not."""
    try:
        async with _connected(job) as session:
            await session.execute("IDENTIFY_SYSTEM")
    except Failure as failure:
        logger.warning("the rows of tenant %s are copied by its target's server: %s", job.tenant, failure.message)
        return False
    return True


@asynccontextmanager
async def taken(job: Job) -> AsyncIterator[str]:
    """Make the move's slot; within, the name of the snapshot of that moment can be imported by any session.

    The slot stays afterwards. Raises ``Retry("DatabaseUnreachable")`` when the server ends it or takes too long.
    """
    async with _connected(job) as session:
        create = SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput (SNAPSHOT 'export')").format(Identifier(job.name))
        with session.patiently(PATIENCE):
            row = await (await session.execute(create)).fetchone()
        if row is None:
            raise Blocked("MoveBroken", f"server {job.source.server.name} made slot {job.name} without a snapshot")
        yield str(row[2])


@asynccontextmanager
async def _connected(job: Job) -> AsyncIterator[Session]:
    async with (
        logins.opened(job, job.source, "snap") as login,
        job.source.server.login(
            login.database, login.user, login.password, replication="database", application_name="paybill-move",
            options=_OPTIONS, connect_timeout=10, keepalives_idle=15, keepalives_interval=5, keepalives_count=3,
        ) as session,
    ):  # fmt: skip
        yield session
