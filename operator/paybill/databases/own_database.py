"""One tenant's own database on a shared server: whether it is there, and how it goes.

Nobody else is in it, so what is inside goes with it in one statement. That statement cannot be part of a transaction:
meanwhile another session holds the leader's fence in the server's home database, so that a leader that takes over
waits for the drop or the drop is refused.
"""

from dataclasses import dataclass
from typing import Final

from psycopg.sql import SQL, Identifier

from paybill.api.failures import Blocked
from paybill.databases import pool_queries as queries
from paybill.databases.borrowed import join
from paybill.databases.drop import Fence, close, drops_owned, refuse_elsewhere
from paybill.databases.observation import look
from paybill.databases.outcome import Outcome
from paybill.databases.server import Server, Session
from paybill.databases.statement import listed
from paybill.desired import sql_names as names
from paybill.desired.database import foreign
from paybill.desired.database_facts import ServerTraits
from paybill.desired.database_tenant import PoolDatabase

LONGEST: Final = 600.0
"""Seconds that the removal of a database's files may take: it waits for a checkpoint."""


async def exists(server: Server, pool: PoolDatabase) -> bool:
    """Whether the database was made to its end: open, and with our mark (whose it is, ``ensure_pool`` looks at)."""
    async with server.session() as session:
        found = await _found(session, pool)
    return found is not None and found.marked != "" and found.open


async def drop_database(
    server: Server, home: PoolDatabase, pool: PoolDatabase, tenant: str, *, fence: Fence
) -> Outcome:
    """Remove the database of ``tenant`` and then its roles; what is already gone is fine.

    Raises what ``fence`` raises, ``Blocked("NameConflict")`` when something of these names is not marked as the
    tenant's, ``Blocked("RoleInUse")``, ``Retry("SessionsStillOpen")``. May be called again after any of them.
    """
    async with server.dropping, server.session(home.name) as session:
        observed = (await look(session, server.traits, pool, [names.tenant_id(tenant)]))[tenant]
        there = await _found(session, pool)
        roles = await _roles(session, tenant)
        found = list(foreign(observed, pool.mark))
        # Marked last when it is made: what our own role owns and nobody marked was cut short.
        if there is not None and there.marked != pool.mark and (there.marked or there.owner != names.ADMIN):
            found.append(f"database {pool.name} is marked {there.marked!r}, not {pool.mark!r}")
        if found:
            raise Blocked("NameConflict", f"tenant {tenant}: {'; '.join(found)}. Nothing was dropped.")
        if there is None and not roles:
            return Outcome()
        refuse_elsewhere(observed, pool)
        changed = await close(session, server.traits, observed, fence)
        if there is not None:
            await _drop(server, session, pool, there, fence)
            changed += (f"drop database {pool.name}",)
        changed += await _drop_roles(server, session, roles, fence)
    return Outcome(changed)


@dataclass(frozen=True)
class _Found:
    owner: str
    marked: str
    open: bool


async def _found(session: Session, pool: PoolDatabase) -> _Found | None:
    row = await (await session.execute(queries.DATABASE.encode(), [pool.name])).fetchone()
    return _Found(*row[:3]) if row is not None else None


async def _roles(session: Session, tenant: str) -> list[str]:
    """All that are there, those of its agents too: what these hold was in its database."""
    wanted = sorted(names.role_names(tenant) | {names.tenant_database(tenant)})
    query = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s) OR rolname LIKE %s ORDER BY 1"
    found = await session.execute(query, [wanted, names.agents_pattern(tenant)])
    return [name for (name,) in await found.fetchall()]


async def _drop(server: Server, session: Session, pool: PoolDatabase, there: _Found, fence: Fence) -> None:
    await server.forget(pool.name)
    async with session.transaction(), server.session() as other:
        await fence(session)
        await remove(other, server.traits, pool.name, open_=there.open)


async def remove(session: Session, traits: ServerTraits, name: str, *, open_: bool) -> None:
    """Remove a database, with the time that its files take: cut short, it is none that can be opened or altered.

    ``open_``: whether it lets anybody in. What is closed may be what a drop that was cut short has left.
    """
    # A managed administrator may not end a superuser's session; and no tenant's is left.
    drop = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)" if traits.superuser else "DROP DATABASE IF EXISTS {}")
    if open_:  # from here on nobody can connect; whoever still is has no login any more
        await session.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(name)))
    await session.execute(SQL("SET statement_timeout = {}").format(f"{LONGEST:.0f}s"))
    try:
        with session.patiently(LONGEST + 60):
            await session.execute(drop.format(Identifier(name)))
    finally:
        await session.execute("RESET statement_timeout")


async def _drop_roles(server: Server, session: Session, roles: list[str], fence: Fence) -> tuple[str, ...]:
    if not roles:
        return ()
    async with session.transaction():
        await fence(session)
        if not server.traits.superuser:
            for role in roles:
                await session.execute(join(role, server.traits, inherit=True).sql)
        # What they still hold is on the server as a whole, such as a right on a setting.
        for statement in drops_owned(roles):
            await session.execute(statement.sql)
        await session.execute(SQL("DROP ROLE {}").format(listed(roles)))
    return (f"drop roles {', '.join(roles)}",)
