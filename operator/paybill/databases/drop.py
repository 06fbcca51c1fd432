"""Drops one tenant from a pool database, for good.

The order is fixed by what must not happen: the fence (a check that this process may still act) runs in the session and
transaction of each irreversible statement, logins close before sessions end, sessions end before data goes, and one
tenant is one transaction because a drop takes a lock per object and a server has a fixed number of them (research,
section 4: out of shared memory after 185 tenants in one).
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from psycopg.sql import SQL, Identifier

from paybill.api.failures import Blocked
from paybill.databases.borrowed import borrowed, join
from paybill.databases.grant_statements import strays
from paybill.databases.observation import look
from paybill.databases.outcome import Outcome
from paybill.databases.rows import erase
from paybill.databases.server import Server, Session
from paybill.databases.sessions import end_sessions
from paybill.databases.statement import Statement, listed
from paybill.desired import sql_names as names
from paybill.desired.database import foreign
from paybill.desired.database_facts import EVERYWHERE, ObservedDatabase, ServerTraits
from paybill.desired.database_tenant import PoolDatabase

LONGEST: Final = 900
"""Seconds that the removal of a tenant's objects may take."""

Fence = Callable[[Session], Awaitable[None]]
"""Raises when this process may no longer act. It is called inside the transaction that it guards and may take locks."""


async def drop(
    server: Server, pool: PoolDatabase, tenant: str, uid: str, *, fence: Fence, has_rows: bool = True
) -> Outcome:
    """Remove roles, schema and rows of ``tenant``; what is already gone is fine, what is not marked ``uid`` is not.

    Without ``has_rows`` the shared tables are not searched: a canary's rows are elsewhere.

    Raises what ``fence`` raises (nothing more is changed then), ``Blocked("NameConflict")``, ``Blocked("RoleInUse")``
    when a role of the tenant holds something in another database, ``Blocked("RowsRemain")``,
    ``Retry("SessionsStillOpen")``, and what ``Server.session`` raises. May be called again after any of them.
    """
    async with server.session(pool.name) as session:
        observed = (await look(session, server.traits, pool, [names.tenant_id(tenant)]))[tenant]
        found = foreign(observed, names.mark(pool.installation, uid))
        if found:
            raise Blocked("NameConflict", f"tenant {tenant}: {'; '.join(found)}. Nothing was dropped.")
        if observed.absent:
            return Outcome()
        refuse_elsewhere(observed, pool)
        changed = await close(session, server.traits, observed, fence)
        if pool.holds == "Rows" and has_rows:
            changed += await erase(server, pool, session, tenant, names.mark(pool.installation, uid), fence)
        with session.patiently(LONGEST + 60):
            changed += await _remove(session, pool, server.traits, observed, fence)
    return Outcome(changed)


def refuse_elsewhere(observed: ObservedDatabase, pool: PoolDatabase) -> None:
    """Raise ``Blocked("RoleInUse")`` when a role of the tenant holds something in a database other than ``pool``."""
    # A session reaches one database only, so what a role holds in another one would keep the role from going.
    holds = [
        str(stray)
        for stray in sorted(observed.strays)
        if stray.database not in (pool.name, EVERYWHERE) or (stray.owned and stray.database == EVERYWHERE)
    ]
    if holds:
        raise Blocked("RoleInUse", f"tenant {observed.id}: {'; '.join(holds)}. Nothing was dropped.")


async def close(session: Session, traits: ServerTraits, observed: ObservedDatabase, fence: Fence) -> tuple[str, ...]:
    """Close all logins of a tenant while ``fence`` holds, then end their sessions; returns what to report."""
    everyone = sorted(role.name for role in observed.facts.roles)
    async with session.transaction():
        await fence(session)
        for role in observed.facts.roles:
            if "LOGIN" in role.attributes:
                await session.execute(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(role.name)))
    return await end_sessions(session, traits, everyone)


async def _remove(
    session: Session, pool: PoolDatabase, traits: ServerTraits, observed: ObservedDatabase, fence: Fence
) -> tuple[str, ...]:
    tenant = observed.id
    async with session.transaction():
        # Taking locks on each of the tenant's objects and removing their files may take its time.
        await session.execute(SQL("SET LOCAL statement_timeout = {}").format(f"{LONGEST}s"))
        await fence(session)
        query = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s) ORDER BY 1"
        cursor = await session.execute(query, [sorted(names.role_names(tenant))])
        roles = [name for (name,) in await cursor.fetchall()]
        given = [stray for stray in observed.strays if not stray.inside]
        statements = (
            # A superuser's DROP OWNED takes these back by itself; a managed administrator has to ask their owners.
            *(() if traits.superuser else borrowed(strays(given, tenant, pool.name, traits), traits)),
            *_drops(tenant, roles, traits),
        )
        await session.execute(SQL("; ").join(statement.sql for statement in statements))
    return tuple(statement.says for statement in statements)


def _drops(tenant: str, roles: list[str], traits: ServerTraits) -> Iterator[Statement]:
    if not traits.superuser:
        yield from (join(role, traits, inherit=True) for role in roles)
    schema = names.schema(tenant)
    yield Statement(f"drop schema {schema}", SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(schema)))
    if roles:
        # Also takes back what the roles were granted here and on databases, and their default privileges.
        yield from drops_owned(roles)
        yield Statement(f"drop roles {', '.join(roles)}", SQL("DROP ROLE {}").format(listed(roles)))


def drops_owned(roles: Sequence[str], *, cascade: bool = True) -> Iterator[Statement]:
    """What drops all that ``roles`` own in a database, and takes back what they were granted there.

    One by one, the owner first: its default privileges may name several of the others, and one drop of all fails there
    with "could not find tuple for default ACL".
    """
    how = " CASCADE" if cascade else ""
    for role in sorted(roles, key=lambda name: not name.endswith("_owner")):
        yield Statement(f"drop what is owned by {role}", SQL("DROP OWNED BY {}" + how).format(Identifier(role)))
