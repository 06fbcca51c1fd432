"""Makes the place that a move goes to: a database or a schema with the tenant's roles, closed, and no rows in it.

Whatever an earlier attempt left there is removed first, so this is done over from any point where it was cut short. On
the source's own server the roles are there already and open: what the schema needs of them is made, and the way into
the target (the membership in its database's group) is given only by the switch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from psycopg.sql import SQL, Identifier, Literal

from paybill.api.failures import Blocked
from paybill.databases.borrowed import borrowed, join
from paybill.databases.drop import Fence, drop, drops_owned
from paybill.databases.grant_statements import default_grants, grants, schemas
from paybill.databases.leader import announce, asserting
from paybill.databases.observation import look
from paybill.databases.own_database import drop_database, remove
from paybill.databases.pool_queries import DATABASE
from paybill.databases.pools import ensure_pool
from paybill.databases.role_statements import memberships
from paybill.databases.server import Session
from paybill.databases.statement import Statement
from paybill.databases.tenants import ensure
from paybill.databases.transactions import run
from paybill.desired import sql_names as names
from paybill.desired.database import wanted
from paybill.moves import archive, into_shared, replication, shared
from paybill.moves.job import Job

_SCHEMA: Final = """
SELECT pg_get_userbyid(nspowner)::text, COALESCE(obj_description(oid, 'pg_namespace'), '')
  FROM pg_namespace WHERE nspname = %s
"""
_MARKED: Final = """
SELECT nspname::text FROM pg_namespace
 WHERE nspname = ANY(%s) AND obj_description(oid, 'pg_namespace') = %s ORDER BY 1
"""
_DATABASE: Final = """
SELECT COALESCE(shobj_description(oid, 'pg_database'), ''), pg_get_userbyid(datdba)::text
  FROM pg_database WHERE datname = %s
"""
_GROUP: Final = "SELECT COALESCE(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = %s"
_THERE: Final = "SELECT 1 FROM pg_extension WHERE extname = %s"
_AVAILABLE: Final = "SELECT 1 FROM pg_available_extensions WHERE name = %s"


async def make(
    job: Job,
    definition: bytes,
    extensions: tuple[tuple[str, str], ...],
    verifiers: Mapping[str, str],
    *,
    keys: bool,
) -> None:
    """Make the target anew, with everything of ``definition`` that rows need; ``keys``: with keys and indexes.

    ``verifiers`` are the tenant's passwords (SCRAM, by login) for a server that does not have its logins. Raises
    ``Blocked("NameConflict" | "ExtensionMissing" | "ClientToolFailed")``.
    """
    if not job.into_rows:  # there the tables are the shared ones already, with whatever they need
        await refuse_missing(job, extensions)
    await clear(job)
    target = job.target
    await ensure_pool(target.server, target.pool)
    if job.into_rows:
        if not job.same_server:
            await ensure(target.server, target.pool, replace(target.desired, access="None"), passwords=verifiers)
        return
    epoch = target.server.epoch
    if target.own and epoch is not None and await announce(target.server, target.pool, epoch) != epoch:
        raise Blocked("EpochLost", f"database {target.pool.name} has seen a newer leader than epoch {epoch}")
    await _extensions(job, extensions)
    if job.same_server:
        await _furnish(job)
    else:
        await ensure(target.server, target.pool, replace(target.desired, access="None"), passwords=verifiers)
    if job.rows:
        await shared.stage(job)
    await archive.put_first(job, definition, keys=keys)


async def clear(job: Job) -> None:
    """Remove what is ours of an unfinished target; raises ``Blocked("NameConflict")`` for what is not ours."""
    target, own = job.target, names.schema(job.tenant)
    await _refuse_foreign(job)
    await replication.end(job)
    if not job.same_server:
        if target.own:
            await drop_database(target.server, target.home, target.pool, job.tenant, fence=_held(job))
        else:
            await drop(
                target.server, target.pool, job.tenant, target.desired.uid, fence=_held(job), has_rows=job.into_rows
            )
        return
    if job.into_rows:
        await into_shared.clear(job)
        return
    if target.own:
        name = Identifier(target.pool.name)
        await target.server.forget(target.pool.name)
        async with target.server.session() as admin:
            there = await (await admin.execute(DATABASE.encode(), [target.pool.name])).fetchone()
            if there is not None:
                await remove(admin, target.server.traits, target.pool.name, open_=there[2])
            row = await (await admin.execute(_GROUP, [target.pool.name])).fetchone()
            if row is not None and row[0] == target.pool.mark:
                await admin.execute(SQL("DROP ROLE {}").format(name))
    else:
        async with target.server.session(target.pool.name) as admin:
            found = await (await admin.execute(_MARKED, [sorted({job.schema, own}), job.mark])).fetchall()
            await run(admin, (*asserting(target.server.epoch), *_without(job, [name for (name,) in found])))
    if job.rows:
        await _drop_owner(job)


def _held(job: Job) -> Fence:
    async def held(session: Session) -> None:
        await job.fence(job.target.server, session)

    return held


def _without(job: Job, schemas: list[str]) -> tuple[Statement, ...]:
    owner = names.role(job.tenant, "owner")
    gone = [
        Statement(f"drop schema {name}", SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(name)), owner=owner)
        for name in schemas
    ]
    return borrowed(gone, job.target.server.traits)


async def _drop_owner(job: Job) -> None:
    """Who owns a schema is no role of a tenant in shared tables; what it owned in the target is gone."""
    target, owner = job.target, names.role(job.tenant, "owner")
    where = target.home.name if target.own else target.pool.name
    async with target.server.session(where) as admin:
        row = await (await admin.execute(_GROUP, [owner])).fetchone()
        if row is not None and row[0] == job.mark:
            traits = target.server.traits
            enter = () if traits.superuser else (join(owner, traits, inherit=True),)
            drop = Statement(f"drop role {owner}", SQL("DROP ROLE {}").format(Identifier(owner)))
            await run(admin, (*asserting(target.server.epoch), *enter, *drops_owned([owner]), drop))


async def _refuse_foreign(job: Job) -> None:
    target, said = job.target, ""
    if target.own:
        async with target.server.session() as admin:
            row = await (await admin.execute(_DATABASE, [target.pool.name])).fetchone()
        if row is not None and row[0] != target.pool.mark and (row[0] or row[1] != names.ADMIN):
            said = f"database {target.pool.name} is marked {row[0]!r}, not {target.pool.mark!r}"
    elif not job.into_rows:
        own = names.schema(job.tenant)
        async with target.server.session(target.pool.name) as admin:
            row = await (await admin.execute(_SCHEMA, [own])).fetchone()
        if row is not None and row[1] != job.mark:
            said = f"schema {own} of {row[0]} is marked {row[1]!r}, not {job.mark!r}"
    if said:
        raise Blocked("NameConflict", f"the move of tenant {job.tenant} finds {said}. Nothing was changed.")


async def refuse_missing(job: Job, extensions: tuple[tuple[str, str], ...]) -> None:
    """Raise ``Blocked("ExtensionMissing")`` for what the source's database has and the target's cannot be given.

    In a database of the tenant's own it is made; where others share the database they would get it too, so a person
    has to. Only reads.
    """
    target = job.target
    where = target.home.name if target.own else target.pool.name
    async with target.server.session(where) as admin:
        for name, _ in extensions:
            if await (await admin.execute(_AVAILABLE, [name])).fetchone() is None:
                why = f"server {target.server.name} does not have it: install its package there"
            elif not target.own and await (await admin.execute(_THERE, [name])).fetchone() is None:
                create = f'CREATE EXTENSION "{name}" SCHEMA {names.EXTENSIONS_SCHEMA}'
                why = (
                    "whoever shares that database would get it too, so it is not made unasked: run"
                    f" {create} there as its administrator"
                )
            else:
                continue
            raise Blocked(
                "ExtensionMissing",
                f"the move of tenant {job.tenant} needs extension {name} in database {target.pool.name}; {why}."
                " Nothing was changed",
            )


async def _extensions(job: Job, extensions: tuple[tuple[str, str], ...]) -> None:
    """Have what the source's database has, where the database is the tenant's own."""
    target = job.target
    if not target.own:
        return
    create = SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {} CASCADE")
    async with target.server.session(target.pool.name) as admin:
        for name, _ in extensions:
            await admin.execute(create.format(Identifier(name), Identifier(names.EXTENSIONS_SCHEMA)))


async def _furnish(job: Job) -> None:
    """The schema and the grants that open it for the tenant's roles, whose logins have no way in yet."""
    target, traits = job.target, job.target.server.traits
    if job.rows:
        await _make_owner(job)
    want, owner = wanted(target.desired, traits), names.role(job.tenant, "owner")
    inside = frozenset(one for one in want.grants if one.kind == "SCHEMA")
    async with target.server.session(target.pool.name) as admin:
        seen = (await look(admin, traits, target.pool, [job.tenant]))[job.tenant].facts
        entry = frozenset(one for one in want.memberships if (one.role, one.member) == (target.pool.name, owner))
        there = frozenset(one for one in seen.memberships if one in entry)
        statements = (
            *memberships(entry, there, traits),
            *schemas(want.schemas, seen.schemas, job.mark),
            *grants(inside, frozenset(one for one in seen.grants if one in inside), owner),
            *default_grants(want.default_grants, seen.default_grants),
        )
        await run(admin, (*asserting(target.server.epoch), *borrowed(statements, traits)))


async def _make_owner(job: Job) -> None:
    target, owner = job.target, names.role(job.tenant, "owner")
    async with target.server.session(target.pool.name) as admin:
        row = await (await admin.execute(_GROUP, [owner])).fetchone()
        if row is not None and row[0] != job.mark:
            raise Blocked("NameConflict", f"role {owner} is marked {row[0]!r}, not {job.mark!r}. Nothing was changed.")
        if row is None:
            role = Identifier(owner)
            create = Statement(f"create role {owner}", SQL("CREATE ROLE {} NOLOGIN INHERIT").format(role))
            mark = Statement(f"mark role {owner}", SQL("COMMENT ON ROLE {} IS {}").format(role, Literal(job.mark)))
            await run(admin, (*asserting(target.server.epoch), create, mark))
