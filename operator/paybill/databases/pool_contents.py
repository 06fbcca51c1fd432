"""What every tenant of a pool shares inside its database: schemas, the tenant function, and what is closed to all.

At level Rows ``paybill.tenant()`` is the whole of the isolation: it reads who logged in, which no statement of a
session can change, so unlike a setting it cannot be spoofed (research, attack 17). Everywhere else it is the same
column's default, and isolates nothing.
"""

from typing import Any, Final

from psycopg.sql import SQL, Identifier

from paybill.databases import pool_queries as queries
from paybill.databases.borrowed import borrowed
from paybill.databases.catalog_queries import OBJECTS
from paybill.databases.grant_statements import default_grants, grants, schemas
from paybill.databases.refusals import OPEN_FUNCTIONS
from paybill.databases.server import Session
from paybill.databases.statement import Statement, listed
from paybill.databases.transactions import run
from paybill.desired import sql_names as names
from paybill.desired.database_facts import DefaultGrant, Grant, Schema, ServerTraits
from paybill.desired.database_tenant import PoolDatabase

_BODY: Final = "SELECT CASE WHEN session_user ~ '{}' THEN substr(session_user, 4, 8) END"
_CONFIG: Final = "search_path=pg_catalog, pg_temp"


async def contents(
    session: Session, traits: ServerTraits, pool: PoolDatabase
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Make what is missing in the pool database; returns what was changed and what the server refused."""
    seen_schemas = {Schema(*row) for row in await _rows(session, queries.SCHEMAS)}
    seen_grants = {
        Grant("SCHEMA", row[0], row[1], tuple(sorted(row[2])), row[3])
        for row in await _rows(session, queries.SCHEMA_GRANTS)
    }
    changed: tuple[str, ...] = ()
    for owner in (names.ADMIN, names.pool_owner(pool.name)):
        # The administrator is a lasting member of the one role and has nothing to borrow from it.
        lender = "" if owner == names.ADMIN else owner
        mine = {schema for schema in _schemas(pool) if schema.owner == owner}
        places = {schema.name for schema in mine} | (set() if lender else {"public"})
        statements = [
            *schemas(frozenset(mine), frozenset(seen_schemas), pool.mark),
            *grants(
                frozenset(g for g in _grants(pool) if g.name in places),
                frozenset(g for g in seen_grants if g.name in places),
                lender,
            ),
        ]
        if lender and mine:
            statements.extend(await _default_grants(session, owner))
        if not lender:
            statements = [Statement(s.says, s.sql) for s in statements]
        changed += await run(session, borrowed(statements, traits))
        if not lender:
            changed += await _tenant_function(session, pool)
    # Large objects and advisory locks of a database are its only tenant's own.
    closed, refused = await _close_functions(session) if pool.shared else ((), ())
    return changed + closed, refused


def _schemas(pool: PoolDatabase) -> set[Schema]:
    shared = {Schema(names.EXTENSIONS_SCHEMA, names.ADMIN), Schema(names.TENANCY_SCHEMA, names.ADMIN)}
    if pool.holds == "Schemas":
        return shared
    return shared | {Schema(names.ROWS_SCHEMA, names.pool_owner(pool.name))}


def _grants(pool: PoolDatabase) -> set[Grant]:
    usage = {Grant("SCHEMA", names.EXTENSIONS_SCHEMA, pool.name, ("USAGE",))}
    if pool.holds == "Schemas":
        return usage | {Grant("SCHEMA", names.TENANCY_SCHEMA, pool.name, ("USAGE",))}
    owner = names.pool_owner(pool.name)
    pairs = (
        (names.EXTENSIONS_SCHEMA, owner),
        (names.TENANCY_SCHEMA, owner),
        (names.TENANCY_SCHEMA, names.TENANTS),
        (names.ROWS_SCHEMA, names.TENANTS),
    )
    return usage | {Grant("SCHEMA", schema, role, ("USAGE",)) for schema, role in pairs}


async def _default_grants(session: Session, owner: str) -> list[Statement]:
    app = names.ROWS_SCHEMA
    wanted = {
        DefaultGrant(owner, app, "TABLES", names.ROWS_WRITE, ("DELETE", "INSERT", "SELECT", "UPDATE")),
        DefaultGrant(owner, app, "TABLES", names.ROWS_READ, ("SELECT",)),
        DefaultGrant(owner, app, "FUNCTIONS", names.TENANTS, ("EXECUTE",)),
        DefaultGrant(owner, "", "FUNCTIONS", owner, ("EXECUTE",)),
    }
    rows = await _rows(session, queries.DEFAULT_GRANTS, {"owner": owner})
    seen = {DefaultGrant(owner, r[0], OBJECTS[r[1]], r[2], tuple(sorted(r[3]))) for r in rows}
    return list(default_grants(frozenset(wanted), frozenset(seen)))


async def _tenant_function(session: Session, pool: PoolDatabase) -> tuple[str, ...]:
    # A column's default that means the same at every level, so that one table is written for all of them.
    rows = pool.holds == "Rows"
    callers = [names.TENANTS, names.pool_owner(pool.name)] if rows else [pool.name]
    body = _BODY.format(names.TENANT_OF_SESSION if rows else names.TENANT_OF_OWN_SESSION)
    wanted = (body, names.ADMIN, "s", [_CONFIG], sorted(callers))
    for *facts, granted in await _rows(session, queries.TENANT_FUNCTION):
        if (*facts, sorted(granted)) == wanted:
            return ()
    function = SQL("{}.tenant()").format(Identifier(names.TENANCY_SCHEMA))
    create = SQL(
        "CREATE OR REPLACE FUNCTION {} RETURNS text LANGUAGE sql STABLE PARALLEL SAFE"
        " SET search_path = pg_catalog, pg_temp AS {}"
    ).format(function, body)
    parts = (
        create,
        SQL("ALTER FUNCTION {} OWNER TO {}").format(function, Identifier(names.ADMIN)),
        SQL("REVOKE ALL ON FUNCTION {} FROM PUBLIC").format(function),
        SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(function, listed(callers)),
    )
    await run(session, [Statement("", part) for part in parts])
    return (f"make function paybill.tenant() in {pool.name}",)


async def _close_functions(session: Session) -> tuple[tuple[str, ...], tuple[str, ...]]:
    before = [name for (name,) in await _rows(session, queries.CLOSABLE_FUNCTIONS)]
    if not before:
        return (), ()
    # The names are regprocedure's own rendering of pg_catalog's functions: nobody's input.
    revoke = SQL("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC").format(SQL(", ").join(SQL(name) for name in before))
    await run(session, [Statement("", revoke)])
    left = await _rows(session, queries.CLOSABLE_FUNCTIONS)
    if len(left) == len(before):
        return (), (OPEN_FUNCTIONS,)
    return (f"closed {len(before) - len(left)} functions of large objects and advisory locks to PUBLIC",), ()


async def _rows(session: Session, query: str, values: Any = None) -> list[tuple[Any, ...]]:
    cursor = await session.execute(query.encode(), values)
    return await cursor.fetchall()
