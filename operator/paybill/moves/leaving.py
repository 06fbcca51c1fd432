"""What happens to the place that a tenant left: closed for good, kept for a while, then dropped.

On the same server the tenant's roles live on, so nothing that is kept may be theirs: it is given to our own role, which
nobody logs in as, and carries a name under which nobody looks for a tenant. On another server all stays as it was, with
logins that are closed.
"""

from __future__ import annotations

from typing import Final

from psycopg.sql import SQL, Identifier

from paybill.api.failures import Blocked
from paybill.databases.borrowed import join, leave
from paybill.databases.drop import drop, drops_owned
from paybill.databases.own_database import drop_database, remove
from paybill.databases.server import Session
from paybill.databases.statement import listed
from paybill.desired import sql_names as names
from paybill.moves import replication, shared
from paybill.moves.job import Job, Place

_ROLES: Final = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s) ORDER BY 1"
_SCHEMA: Final = "SELECT COALESCE(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = %s"
_DATABASE: Final = "SELECT COALESCE(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = %s"
_END: Final = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
LONGEST: Final = 900.0
"""Seconds that giving a tenant's objects away, or removing them, may take."""


async def retire(job: Job) -> None:
    """Close what the tenant left; done over, it changes nothing."""
    await replication.end(job)
    source = job.source
    # Nobody has a way to what is left in shared tables: whoever gets to them has no row of this tenant's.
    if job.rows or not job.same_server or (source.own and await _mark(source, _DATABASE, source.pool.name) is None):
        return
    await _give_away(job)
    if source.own:
        await _set_aside(job)


async def discard(job: Job) -> None:
    """Drop what the tenant left; raises ``Blocked("NameConflict")`` for what is not marked as the tenant's."""
    source = job.source

    async def held(session: Session) -> None:
        await job.fence(source.server, session)

    if not job.same_server and source.own:
        await drop_database(source.server, source.home, source.pool, job.tenant, fence=held)
    elif not job.same_server:
        await drop(source.server, source.pool, job.tenant, source.desired.uid, fence=held, has_rows=job.rows)
    elif job.rows:
        await shared.discard(job)
    elif source.own:
        await _drop_database(job)
    else:
        await _drop_schema(job)


async def _mark(place: Place, query: str, name: str) -> str | None:
    """The mark of a database or a schema, "" without one; None when it is not there."""
    where = place.pool.name if query is _SCHEMA else place.home.name
    async with place.server.session(where) as admin:
        row = await (await admin.execute(query.encode(), [name])).fetchone()
    return None if row is None else str(row[0])


async def _give_away(job: Job) -> None:
    """All of the tenant's in the source's database becomes ours, and what its roles were given there is taken back."""
    source, traits = job.source, job.source.server.traits
    if await _mark(source, _SCHEMA, job.schema) != job.mark:
        return
    wanted = sorted(names.role_names(job.tenant) | ({source.pool.name} if source.own else set()))
    async with source.server.session(source.pool.name) as admin:
        roles = [name for (name,) in await (await admin.execute(_ROLES, [wanted])).fetchall()]
        with admin.patiently(LONGEST + 60):
            async with admin.transaction():
                await admin.execute(SQL("SET LOCAL statement_timeout = {}").format(f"{LONGEST:.0f}s"))
                await job.fence(source.server, admin)
                for role in () if traits.superuser else roles:
                    await admin.execute(join(role, traits, inherit=True).sql)
                ours, schema = Identifier(names.ADMIN), Identifier(job.schema)
                await admin.execute(SQL("REASSIGN OWNED BY {} TO {}").format(listed(roles), ours))
                for statement in drops_owned(roles, cascade=False):
                    await admin.execute(statement.sql)
                await admin.execute(
                    SQL("ALTER SCHEMA {} RENAME TO {}").format(schema, Identifier(names.kept(job.tenant)))
                )
                for role in () if traits.superuser else roles:
                    await admin.execute(leave(role, traits).sql)


async def _set_aside(job: Job) -> None:
    """The database gets a name under which nobody looks for the tenant, and lets nobody in."""
    source = job.source
    name, kept = Identifier(source.pool.name), Identifier(names.kept(job.tenant))
    await source.server.forget(source.pool.name)
    async with source.server.session(source.home.name) as admin:
        await admin.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        await admin.execute(_END, [source.pool.name])
        await admin.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(name, kept))
        await admin.execute(SQL("REVOKE ALL ON DATABASE {} FROM {}").format(kept, name))
        await admin.execute(SQL("DROP ROLE IF EXISTS {}").format(name))


async def _drop_database(job: Job) -> None:
    source, kept = job.source, names.kept(job.tenant)
    found = await _mark(source, _DATABASE, kept)
    if found is None:
        return
    if found != source.pool.mark:
        raise Blocked("NameConflict", f"database {kept} is marked {found!r}, not {source.pool.mark!r}. It is kept.")
    async with (
        source.server.dropping,
        source.server.session(source.home.name) as admin,
        admin.transaction(),
        source.server.session() as other,
    ):
        await job.fence(source.server, admin)
        await remove(other, source.server.traits, kept, open_=False)  # it lets nobody in since it was set aside


async def _drop_schema(job: Job) -> None:
    source, kept = job.source, names.kept(job.tenant)
    found = await _mark(source, _SCHEMA, kept)
    if found is None:
        return
    if found != job.mark:
        raise Blocked("NameConflict", f"schema {kept} is marked {found!r}, not {job.mark!r}. It is kept.")
    async with source.server.session(source.pool.name) as admin:
        with admin.patiently(LONGEST + 60):
            async with admin.transaction():
                await admin.execute(SQL("SET LOCAL statement_timeout = {}").format(f"{LONGEST:.0f}s"))
                await job.fence(source.server, admin)
                await admin.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(kept)))
