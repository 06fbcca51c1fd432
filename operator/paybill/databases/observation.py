"""Reads from the catalogs what tenants have in a pool database: a few queries for one tenant or for a thousand.

Every query takes the same three bounds (the first and last role name, and the ids or none), so a look at one tenant
is a look at a few index entries and a sweep over all is one scan per catalog. Nothing here reads a tenant's tables.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from psycopg import sql

from paybill.databases import catalog_queries as queries
from paybill.databases.server import Server, Session
from paybill.desired import sql_names as names
from paybill.desired.database_facts import (
    DefaultGrant,
    Facts,
    Grant,
    Membership,
    ObservedDatabase,
    Role,
    Schema,
    ServerTraits,
    Setting,
    Stray,
)
from paybill.desired.database_tenant import PoolDatabase

Row = tuple[Any, ...]


async def observe(server: Server, pool: PoolDatabase, ids: Collection[str] | None) -> dict[str, ObservedDatabase]:
    """What the tenants ``ids`` have in ``pool``; all tenants found there when ``None``.

    Each id asked for is in the answer, absent ones as such. Raises what ``Server.session`` raises.
    """
    async with server.session(pool.name) as session:
        return await look(session, server.traits, pool, ids)


async def look(
    session: Session, traits: ServerTraits, pool: PoolDatabase, ids: Collection[str] | None
) -> dict[str, ObservedDatabase]:
    """As ``observe``, on a session that is open on the pool database (inside a transaction or not)."""
    if ids is not None:
        ids = sorted({names.tenant_id(value) for value in ids})
        if not ids:
            return {}
    bounds = _bounds(ids)
    found = await _fetch(session, bounds, (_roles_query(traits), queries.SCHEMAS))
    roles, schemas = found
    if ids is None:
        ids = sorted(await _members_of(session, pool) | {row[0] for row in schemas})
    if roles or schemas:
        rest = await _fetch(session, bounds, (_memberships_query(traits), *queries.DETAILS))
    else:
        rest = [[] for _ in range(1 + len(queries.DETAILS))]
    return _assembled(traits, ids, (roles, schemas, *rest))


def _bounds(ids: Sequence[str] | None) -> dict[str, object]:
    # "`" follows "_" in the C collation that names are ordered by.
    low, high = ("", "") if not ids else (f"{ids[0]}_", f"{ids[-1]}_")
    return {
        "low": f"pb_{low}",
        "high": f"pb_{high[:-1]}`" if high else "pb_~",
        "ids": list(ids) if ids is not None else None,
        "schemas": [names.schema(value) for value in ids] if ids is not None else None,
    }


async def _fetch(
    session: Session, bounds: Mapping[str, object], statements: Iterable[sql.Composed | sql.SQL]
) -> list[list[Row]]:
    """Run ``statements`` in one round trip and return their rows in order."""
    async with session.pipeline():
        cursors = [await session.execute(statement, bounds) for statement in statements]
    return [await cursor.fetchall() for cursor in cursors]


def _roles_query(traits: ServerTraits) -> sql.Composed:
    # Only a superuser may read pg_authid; the others see the same roles without their passwords.
    source, password = ("pg_authid", "r.rolpassword") if traits.superuser else ("pg_roles", "NULL")
    return sql.SQL(queries.ROLES).format(source=sql.Identifier(source), password=sql.SQL(password))


def _memberships_query(traits: ServerTraits) -> sql.Composed:
    options = ("inherit_option", "set_option") if traits.grant_options else ("true", "true")
    return sql.SQL(queries.MEMBERSHIPS).format(inherit=sql.SQL(options[0]), set_role=sql.SQL(options[1]))


async def _members_of(session: Session, pool: PoolDatabase) -> set[str]:
    cursor = await session.execute(queries.POOL_MEMBERS, {"pool": pool.name})
    return {row[0] for row in await cursor.fetchall()}


def _assembled(traits: ServerTraits, ids: Collection[str], rows: tuple[list[Row], ...]) -> dict[str, ObservedDatabase]:
    roles, schemas, memberships, settings, grants, defaults, strays, sessions = (_by_tenant(part) for part in rows)
    result = {}
    for tenant in ids:
        passwords = {row[1]: row[5] for row in roles[tenant] if row[5] is not None}
        result[tenant] = ObservedDatabase(
            id=tenant,
            traits=traits,
            facts=Facts(
                roles=frozenset(Role(row[1], tuple(sorted(row[2])), row[3], row[4]) for row in roles[tenant]),
                memberships=frozenset(_memberships(traits, memberships[tenant])),
                settings=frozenset(Setting(*row[1:]) for row in settings[tenant]),
                schemas=frozenset(Schema(row[1], row[2]) for row in schemas[tenant]),
                grants=frozenset(
                    Grant(row[1], row[2], row[3], tuple(sorted(row[4])), row[5]) for row in grants[tenant]
                ),
                default_grants=frozenset(
                    DefaultGrant(row[1], row[2], queries.OBJECTS[row[3]], row[4], tuple(sorted(row[5])))
                    for row in defaults[tenant]
                ),
            ),
            marks={f"role {row[1]}": row[6] for row in roles[tenant]}
            | {f"schema {row[1]}": row[3] for row in schemas[tenant]},
            strays=frozenset(Stray(*row[1:]) for row in strays[tenant]),
            sessions={row[1]: row[2] for row in sessions[tenant]},
            passwords=passwords if traits.superuser else None,
        )
    return result


def _memberships(traits: ServerTraits, rows: Iterable[Row]) -> Iterable[Membership]:
    for row in rows:
        membership = Membership(*row[1:7])
        # Postgres 16+ lets whoever creates a role administer it, and only that: it can use nothing of the role's.
        held = membership.inherit or membership.set_role
        if membership.member == traits.admin and membership.admin and not held and traits.grant_options:
            continue
        yield membership


def _by_tenant(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    result: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        result[row[0]].append(row)
    return result
