"""Brings over what a tenant writes while it moves: a publication of its tables, a slot, a subscription at the target.

The tables are listed and not published by schema: a table that comes meanwhile is not on the target, and one without a
key would refuse its tenant's updates from the moment it is published. The slot is made by hand, because on one and the
same server a subscription that makes it waits for itself (research, section 3).

The rows that are there already come by a copy of ours (moves/copying.py), and the subscription follows when it is done;
or the subscription copies them, a table at a time, by workers of the target's server.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier, Literal

from paybill.api.failures import Blocked, Retry
from paybill.databases.server import Session
from paybill.moves import logins, shared
from paybill.moves.job import Copier, Job

NEAR: Final = 16 * 1024 * 1024
"""Bytes of the source's log that may lie between the two when writes are stopped."""
DRAIN: Final = 30.0
"""Seconds that the last changes may take to arrive."""
_UNSEEN: Final = (
    "SET LOCAL log_statement = 'none'",
    "SET LOCAL log_min_duration_statement = -1",
    "SET LOCAL log_min_error_statement = 'panic'",
    "SET LOCAL log_duration = off",
    "SET LOCAL pg_stat_statements.track = 'none'",
)
"""A subscription's connection string holds a password: no log, and no table of statements, may keep it."""
_TABLES: Final = """
SELECT count(r.srrelid)::int, count(r.srrelid) FILTER (WHERE r.srsubstate IN ('s', 'r'))::int,
       COALESCE((SELECT apply_error_count + sync_error_count FROM pg_stat_subscription_stats t
                  WHERE t.subid = s.oid), 0)::int, s.subenabled
  FROM pg_subscription s LEFT JOIN pg_subscription_rel r ON r.srsubid = s.oid
 WHERE s.subname = %s GROUP BY s.oid, s.subenabled
"""
_COPIED: Final = """
SELECT COALESCE(sum(n_tup_ins), 0)::bigint FROM pg_stat_all_tables WHERE schemaname = %s
"""
_EXPECTED: Final = """
SELECT COALESCE(sum(greatest(c.reltuples, 0)), 0)::bigint FROM pg_class c
 WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r'
"""
_SLOT: Final = """
SELECT COALESCE(wal_status, ''), pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint, active
  FROM pg_replication_slots WHERE slot_name = %s
"""

# A drop that was cut short leaves a database with a limit of -2, which lets nobody in any more.
_OPEN: Final = "SELECT 1 FROM pg_database WHERE datallowconn AND datconnlimit <> -2 AND datname = %s"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the copy is: tables done, rows arrived of about so many, bytes of log behind, errors so far."""

    tables: int
    done: int
    rows: int
    expected: int
    behind: int | None
    errors: int
    following: bool = True
    """Whether changes are to be replicated; not yet while a copy of ours goes on."""
    fetching: bool = True
    """Whether somebody at the target is reading them now: whoever is not there yet cannot drain what is left."""
    size: int | None = None
    """Bytes of rows that a copy of ours has brought."""
    broken: str = ""
    """Why it cannot go on and has to begin anew."""

    @property
    def near(self) -> bool:
        """Whether the target has all but the last changes."""
        arrived = self.following and self.fetching and self.done == self.tables
        return not self.broken and arrived and self.behind is not None and self.behind <= NEAR


async def begin(job: Job, tables: tuple[str, ...], copier: Copier) -> None:
    """Publish and subscribe; what of it is there already stays.

    With ``Workers`` the slot is made, and the subscription copies and follows. With ``Paybill`` it does nothing before
    ``follow``: a copy that makes the slot comes first. Raises ``Retry("MoveCannotReplicate")`` when the target's server
    cannot reach the source's.
    """
    await _publish(job, tables)
    if copier == "Workers":
        async with job.source.server.session(job.source.pool.name) as admin:
            if not await _has(admin, "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", job.name):
                await admin.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [job.name])
    async with job.target.server.session(job.target.pool.name) as admin:
        if await _has(admin, "SELECT 1 FROM pg_subscription WHERE subname = %s", job.name):
            return
    await _subscribe(job, copier)


async def follow(job: Job) -> None:
    """Replicate what was written since the moment of the copy, which is complete; done over, it changes nothing."""
    async with job.target.server.session(job.target.pool.name) as admin, admin.transaction():
        await job.fence(job.target.server, admin)
        await admin.execute(SQL("ALTER SUBSCRIPTION {} ENABLE").format(Identifier(job.name)))


async def _publish(job: Job, tables: tuple[str, ...]) -> None:
    async with job.source.server.session(job.source.pool.name) as admin, admin.transaction():
        await job.fence(job.source.server, admin)
        if await _has(admin, "SELECT 1 FROM pg_publication WHERE pubname = %s", job.name):
            return
        part = shared.only(job)
        listed = SQL(", ").join(SQL("ONLY {}{}").format(Identifier(job.schema, table), part) for table in tables)
        of = SQL(" FOR TABLE {}").format(listed) if tables else SQL("")
        await admin.execute(SQL("CREATE PUBLICATION {}{}").format(Identifier(job.name), of))


async def _subscribe(job: Job, copier: Copier) -> None:
    login = await logins.make(job, job.source, "repl")
    conninfo = make_conninfo(
        **login.address, dbname=login.database, user=login.user, password=login.password, connect_timeout=10
    )
    create = SQL(
        "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {}"
        " WITH (create_slot = false, slot_name = {}, copy_data = {copies}, enabled = {copies})"
    ).format(
        Identifier(job.name), Literal(conninfo), Identifier(job.name), Literal(job.name), copies=copier == "Workers"
    )
    async with job.target.server.session(job.target.pool.name) as admin:
        try:
            async with admin.transaction():
                for quiet in _UNSEEN:
                    await admin.execute(quiet)
                await admin.execute(create)
        except psycopg.errors.ConnectionFailure as error:
            # Its words may hold what libpq was given; a plain sentence holds nothing.
            raise Retry(
                "MoveCannotReplicate", f"server {job.target.server.name} cannot reach {job.source.server.name}"
            ) from error


async def progress(job: Job) -> Progress:
    """How far the copy is."""
    if not await _database_there(job):
        return Progress(tables=0, done=0, rows=0, expected=0, behind=None, errors=0, broken="its database is gone")
    async with job.target.server.session(job.target.pool.name) as admin:
        row = await (await admin.execute(_TABLES, [job.name])).fetchone()
        copied = await (await admin.execute(_COPIED, [job.schema])).fetchone()
    async with job.source.server.session(job.source.pool.name) as admin:
        slot = await (await admin.execute(_SLOT, [job.name])).fetchone()
        expected = await (await admin.execute(_EXPECTED, [job.schema])).fetchone()
    tables, done, errors, enabled = row or (0, 0, 0, False)
    broken = ""
    if row is None:
        broken = "the subscription is gone"
    elif (slot is None and enabled) or (slot is not None and slot[0] == "lost"):
        broken = "the replication slot is gone, or what it held back was too much"
    return Progress(
        tables=tables,
        done=done,
        rows=copied[0] if copied else 0,
        # Of shared tables nobody knows how many rows are this tenant's.
        expected=expected[0] if expected and not job.rows else 0,
        behind=slot[1] if slot is not None else None,
        errors=errors,
        following=enabled,
        fetching=slot is not None and bool(slot[2]),
        broken=broken,
    )


async def drain(job: Job, patience: float = DRAIN) -> str:
    """Wait until the target has everything the source wrote until now; returns that place in the source's log.

    Raises ``Retry("MoveNotDrained")`` after ``patience`` seconds.
    """
    ends = asyncio.get_running_loop().time() + patience
    async with job.source.server.session(job.source.pool.name) as admin:
        row = await (await admin.execute("SELECT pg_current_wal_insert_lsn()::text")).fetchone()
        place = str(row[0]) if row else ""
        # Something to send: the target answers with how far it has got.
        await admin.execute("SELECT pg_logical_emit_message(true, 'paybill', 'drain')")
        query = "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s"
        while True:
            found = await (await admin.execute(query, [place, job.name])).fetchone()
            if found is not None and found[0]:
                return place
            if found is None:
                raise Blocked("MoveBroken", f"the replication slot {job.name} is gone from {job.source.server.name}")
            if asyncio.get_running_loop().time() > ends:
                said = f"the last changes of tenant {job.tenant} did not arrive within {patience:.0f} s"
                raise Retry("MoveNotDrained", said, after=30.0)
            await asyncio.sleep(0.01)


async def end(job: Job) -> None:
    """Remove subscription, slot, publication and login; what is not there is fine.

    The subscription forgets its slot first, so that it goes also when the source does not answer.
    """
    if await _database_there(job):
        async with job.target.server.session(job.target.pool.name) as admin:
            if await _has(admin, "SELECT 1 FROM pg_subscription WHERE subname = %s", job.name):
                name = Identifier(job.name)
                await admin.execute(SQL("ALTER SUBSCRIPTION {} DISABLE").format(name))
                await admin.execute(SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(name))
                await admin.execute(SQL("DROP SUBSCRIPTION {}").format(name))
    await logins.remove(job, job.source.server)
    await logins.remove(job, job.target.server)
    await _drop_slot(job)
    async with job.source.server.session(job.source.pool.name) as admin:
        if await _has(admin, "SELECT 1 FROM pg_publication WHERE pubname = %s", job.name):
            await admin.execute(SQL("DROP PUBLICATION IF EXISTS {}").format(Identifier(job.name)))


async def _drop_slot(job: Job) -> None:
    """Its sender ends a moment after the subscription does."""
    ends = asyncio.get_running_loop().time() + 10
    query = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s"
    async with job.source.server.session(job.source.pool.name) as admin:
        while (row := await (await admin.execute(query, [job.name])).fetchone()) is not None:
            if row[0] is None:
                await admin.execute("SELECT pg_drop_replication_slot(%s)", [job.name])
                return
            if asyncio.get_running_loop().time() > ends:
                raise Retry("MoveEnds", f"the replication slot {job.name} is still in use", after=5.0)
            await asyncio.sleep(0.02)


async def _database_there(job: Job) -> bool:
    async with job.target.server.session() as admin:
        return await _has(admin, _OPEN, job.target.pool.name)


async def _has(admin: Session, query: str, value: Any) -> bool:
    return await (await admin.execute(query.encode(), [value])).fetchone() is not None
