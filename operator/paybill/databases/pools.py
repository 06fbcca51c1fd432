"""Makes a pool database and what it needs on its server: closed to PUBLIC, ready for tenants.

Postgres lets everybody connect to every database and call every function unless told otherwise, so a pool is created
closed and opened for its group only once PUBLIC has nothing left in it. Each part is looked at before it is made.
"""

from collections.abc import Iterable

from psycopg.sql import SQL, Identifier, Literal

from paybill.api.failures import Blocked
from paybill.databases import pool_queries as queries
from paybill.databases.borrowed import join
from paybill.databases.grant_statements import grants
from paybill.databases.outcome import Outcome
from paybill.databases.pool_contents import contents
from paybill.databases.refusals import open_databases
from paybill.databases.server import Server, Session
from paybill.databases.statement import Statement
from paybill.databases.transactions import run
from paybill.desired import sql_names as names
from paybill.desired.database_facts import Grant
from paybill.desired.database_tenant import PoolDatabase


async def ensure_pool(server: Server, pool: PoolDatabase) -> Outcome:
    """Make the pool database, its group roles and what tenants share in it; changes nothing when all is in place.

    Raises ``Blocked("NameConflict")`` when a role or database of those names is not marked as this installation's;
    nothing is changed then. What the server does not let the administrator do is in ``Outcome.degraded``.
    """
    async with server.session() as session:
        await session.execute("SELECT pg_advisory_lock(hashtextextended('paybill ensure_pool', 0))")
        try:
            await _refuse_foreign(session, pool)
            changed = await _roles(session, server, pool)
            changed += await _close_shared_databases(session)
            changed += await _database(session, pool)
            left_open = await _open_databases(session)
        finally:
            if not session.closed:
                await session.execute("SELECT pg_advisory_unlock_all()")
    async with server.session(pool.name) as session:
        inside, refused = await contents(session, server.traits, pool)
    return Outcome(changed + inside, (*open_databases(left_open), *refused))


def _groups(pool: PoolDatabase) -> dict[str, str]:
    """The group roles of a pool and their marks."""
    server_wide = names.mark(pool.installation, "server")
    groups = {names.ADMIN: server_wide, pool.name: pool.mark}
    if pool.holds == "Rows":
        groups |= dict.fromkeys((names.TENANTS, names.ROWS_READ, names.ROWS_WRITE), server_wide)
        groups[names.pool_owner(pool.name)] = pool.mark
    return groups


async def _refuse_foreign(session: Session, pool: PoolDatabase) -> None:
    groups = _groups(pool)
    roles = await _rows(session, queries.ROLES, [list(groups)])
    foreign = [f"role {name} is marked {mark!r}" for name, mark, _ in roles if mark != groups[name]]
    ours = any(name == names.ADMIN and mark == groups[name] for name, mark, _ in roles)
    for owner, mark, *_ in await _rows(session, queries.DATABASE, [pool.name]):
        # CREATE DATABASE and COMMENT cannot be one transaction: what our own role owns and nobody marked was cut short.
        unfinished = not mark and owner == names.ADMIN and ours
        if mark != groups[pool.name] and not unfinished:
            foreign.append(f"database {pool.name}, owned by {owner}, is marked {mark!r}")
    if foreign:
        raise Blocked(
            "NameConflict",
            f"pool {pool.name} on server {pool.server}: {'; '.join(sorted(foreign))}, not as installation"
            f" {pool.installation}'s. Nothing was changed; use another server or remove the foreign object.",
        )


async def _roles(session: Session, server: Server, pool: PoolDatabase) -> tuple[str, ...]:
    groups = _groups(pool)
    there = {name: armed for name, _, armed in await _rows(session, queries.ROLES, [list(groups)])}
    statements: list[Statement] = []
    for name, mark in groups.items():
        role = Identifier(name)
        if name not in there:
            statements.append(Statement(f"create role {name}", SQL("CREATE ROLE {} NOLOGIN").format(role)))
            comment = SQL("COMMENT ON ROLE {} IS {}").format(role, Literal(mark))
            statements.append(Statement(f"mark role {name}", comment))
        elif there[name] and name != names.pool_owner(pool.name):
            statements.append(Statement(f"disarm role {name}", SQL("ALTER ROLE {} NOLOGIN").format(role)))
    if not server.traits.superuser and not await _is_admin(session):
        # A managed administrator owns nothing by itself; this one membership lasts, it reaches no tenant.
        statements.append(join(names.ADMIN, server.traits, inherit=True))
    return await run(session, statements)


async def _is_admin(session: Session) -> bool:
    rows = await _rows(
        session,
        "SELECT pg_has_role(oid, 'USAGE') AND pg_has_role(oid, 'MEMBER') FROM pg_roles WHERE rolname = %s",
        [names.ADMIN],
    )
    return any(is_member for (is_member,) in rows)


async def _close_shared_databases(session: Session) -> tuple[str, ...]:
    changed: tuple[str, ...] = ()
    for name in sorted({"postgres", "template1"} & set(await _open_databases(session))):
        revoke = SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(Identifier(name))
        await run(session, [Statement("", revoke)])
        if name not in await _open_databases(session):
            changed += (f"closed database {name} to PUBLIC",)
    return changed


async def _open_databases(session: Session) -> list[str]:
    return [name for (name,) in await _rows(session, queries.OPEN_DATABASES, [])]


async def _database(session: Session, pool: PoolDatabase) -> tuple[str, ...]:
    name, changed = Identifier(pool.name), tuple[str, ...]()
    found = await _rows(session, queries.DATABASE, [pool.name])
    if not found:
        await session.execute(
            SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8' ALLOW_CONNECTIONS false").format(
                name, Identifier(names.ADMIN)
            )
        )
        changed = (f"create database {pool.name}",)
        found = await _rows(session, queries.DATABASE, [pool.name])
    _, mark, connectable, is_template = found[0]
    wanted = {Grant("DATABASE", pool.name, pool.name, ("CONNECT",))}
    seen = {
        Grant("DATABASE", pool.name, row[0], tuple(sorted(row[1])), row[2])
        for row in await _rows(session, queries.DATABASE_GRANTS, [pool.name])
    }
    statements = list(grants(frozenset(wanted), frozenset(seen)))
    if not mark:
        comment = SQL("COMMENT ON DATABASE {} IS {}").format(name, Literal(pool.mark))
        statements.append(Statement(f"mark database {pool.name}", comment))
    if is_template:
        # Anyone with CREATEDB may copy a template, with all that is in it.
        statements.append(
            Statement(f"make {pool.name} no template", SQL("ALTER DATABASE {} IS_TEMPLATE false").format(name))
        )
    if not connectable:
        statements.append(
            Statement(f"open database {pool.name}", SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        )
    return changed + await run(session, statements)


async def _rows(session: Session, query: str, values: Iterable[object]) -> list[tuple]:  # type: ignore[type-arg]
    cursor = await session.execute(query.encode(), list(values))
    return await cursor.fetchall()
