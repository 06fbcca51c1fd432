"""Brings a tenant's large objects over, behind the fence: they are in no schema, and nothing replicates them.

Only in a database of the tenant's own can it make any, so only there is it sure that their numbers, which its tables
hold, are free. They are read and written by the move's own logins, in pieces; who owns one is the catalogs' business
and so the administrator's.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from psycopg.sql import SQL, Identifier, Literal

from paybill.api.failures import Blocked
from paybill.backups.logins import session as login_session
from paybill.databases.places import Session
from paybill.desired import sql_names as names
from paybill.moves import logins
from paybill.moves.job import Job, Place

PIECE: Final = 1024 * 1024
"""Bytes that are held in memory at a time."""

_FOUND: Final = """
SELECT m.oid::bigint, r.rolname::text FROM pg_largeobject_metadata m JOIN pg_roles r ON r.oid = m.lomowner
 WHERE r.rolname = ANY(%s) ORDER BY 1
"""
_GIVEN: Final = """
SELECT m.oid::bigint, g.rolname::text, a.privilege_type
  FROM pg_largeobject_metadata m JOIN pg_roles r ON r.oid = m.lomowner, aclexplode(m.lomacl) a
  JOIN pg_roles g ON g.oid = a.grantee WHERE r.rolname = ANY(%s) AND g.oid <> r.oid ORDER BY 1, 2, 3
"""


async def found(job: Job, place: Place) -> dict[int, str]:
    """Number → owner of each large object of the tenant's in a database."""
    async with place.server.session(place.pool.name) as admin:
        return dict(await _rows(admin, _FOUND, [sorted(names.role_names(job.tenant))]))


async def copy(job: Job) -> None:
    """Make them at the target, with their numbers, owners and grants; the target has none before."""
    owners = await found(job, job.source)
    if not owners:
        return
    async with (
        _reading(job, job.source, owners) as reading,
        logins.opened(job, job.target, "write") as login,
        login_session(job.target.server, login, read_only=False) as writing,
        writing.transaction(),
    ):
        await writing.execute(SQL("SET LOCAL ROLE {}").format(Identifier(names.role(job.tenant, "owner"))))
        for number in owners:
            await writing.execute("SELECT lo_create(%s)", [number])
            place = 0
            async for piece in _pieces(reading, number):
                await writing.execute("SELECT lo_put(%s, %s, %s)", [number, place, piece])
                place += len(piece)
    await _give(job, owners)


async def _give(job: Job, owners: dict[int, str]) -> None:
    async with job.source.server.session(job.source.pool.name) as admin:
        given = await _rows(admin, _GIVEN, [sorted(names.role_names(job.tenant))])
    async with job.target.server.session(job.target.pool.name) as admin, admin.transaction():
        await job.fence(job.target.server, admin)
        for number, owner in owners.items():
            change = SQL("ALTER LARGE OBJECT {} OWNER TO {}")
            await admin.execute(change.format(Literal(number), Identifier(owner)))
        for number, grantee, privilege in given:
            grant = SQL("GRANT {} ON LARGE OBJECT {} TO {}")
            await admin.execute(grant.format(SQL(privilege), Literal(number), Identifier(grantee)))


async def compare(job: Job) -> None:
    """Read both sides; raises ``Blocked("MoveDiffers")`` unless they are the same to the last byte."""
    theirs, ours = await found(job, job.source), await found(job, job.target)
    if not theirs and not ours:
        return
    there, here = await _sums(job, job.source, theirs), await _sums(job, job.target, ours)
    if there != here:
        numbers = sorted(number for number in there.keys() | here.keys() if there.get(number) != here.get(number))
        raise Blocked(
            "MoveDiffers",
            f"the target of the move of tenant {job.tenant} is not as the source: large objects"
            f" {', '.join(map(str, numbers[:5]))}",
        )


async def _sums(job: Job, place: Place, owners: dict[int, str]) -> dict[int, tuple[str, str]]:
    sums = {}
    async with _reading(job, place, owners) as session:
        for number, owner in owners.items():
            digest = hashlib.sha256()
            async for piece in _pieces(session, number):
                digest.update(piece)
            sums[number] = (owner, digest.hexdigest())
    return sums


@asynccontextmanager
async def _reading(job: Job, place: Place, owners: dict[int, str]) -> AsyncIterator[Session]:
    """A session of the reading login, which may read what the tenant's logins made."""
    async with AsyncExitStack() as stack:
        login = await stack.enter_async_context(logins.opened(job, place, "read"))
        async with place.server.session(place.pool.name) as admin:
            options = " WITH INHERIT TRUE, SET FALSE" if place.server.traits.grant_options else ""
            for owner in sorted(set(owners.values())):
                grant = SQL("GRANT {} TO {}" + options).format(Identifier(owner), Identifier(login.user))
                await admin.execute(grant)
        yield await stack.enter_async_context(login_session(place.server, login))


async def _pieces(session: Session, number: int) -> AsyncIterator[bytes]:
    place = 0
    while True:
        ((piece,),) = await _rows(session, "SELECT lo_get(%s, %s, %s)", [number, place, PIECE])
        if not piece:
            return
        yield bytes(piece)
        place += len(piece)


async def _rows(session: Session, query: str, values: list[Any]) -> list[tuple[Any, ...]]:
    cursor = await session.execute(query.encode(), values)
    return await cursor.fetchall()
