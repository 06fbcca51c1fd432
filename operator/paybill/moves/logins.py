"""The move's own logins: one that reads, one that writes as the tenant's owner, two that replicate.

Tenant's objects are never touched by a privileged session (research, attacks 41, 43 and 44): what a tenant put into its
tables runs with the rights of whoever reads or restores them. So each login can do one thing, its password is made for
one use and kept nowhere, and what may run a tenant's code is never one that may replicate. Of these the target has the
one in its subscription, and the other takes the snapshot that rows are copied under.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from psycopg.sql import SQL, Identifier
from psycopg.sql import Literal as Value

from paybill.api.failures import Blocked
from paybill.backups.programs import Login
from paybill.databases.credentials import new_password, scram_verifier
from paybill.databases.server import Server, Session
from paybill.databases.sessions import end_sessions
from paybill.desired import sql_names as names
from paybill.moves.job import Job, Place

Kind = Literal["read", "write", "repl", "snap"]
KINDS: Final[tuple[Kind, ...]] = ("read", "write", "repl", "snap")
REPLICATES: Final = frozenset({"repl", "snap"})
LONGEST: Final = timedelta(days=7)
"""How long a login's password is good, should nobody be left to remove it."""

_MARK: Final = "SELECT COALESCE(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = %s"
_PRESENT: Final = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s) ORDER BY 1"


@asynccontextmanager
async def opened(job: Job, place: Place, kind: Kind) -> AsyncIterator[Login]:
    """A login of the move on ``place``, there within and gone afterwards."""
    login = await make(job, place, kind)
    try:
        yield login
    finally:
        await asyncio.shield(asyncio.create_task(remove(job, place.server, (kind,))))


async def make(job: Job, place: Place, kind: Kind) -> Login:
    """Make a login of the move, or give the one that is there a new password.

    Raises ``Blocked("NameConflict")`` when a role of that name is not marked as the tenant's.
    """
    name, password, traits = names.mover(job.tenant, kind), new_password(), place.server.traits
    async with place.server.session(place.pool.name) as admin, admin.transaction():
        found = await (await admin.execute(_MARK, [name])).fetchone()
        if found is not None and found[0] != job.mark:
            raise Blocked("NameConflict", f"role {name} is marked {found[0]!r}, not {job.mark!r}. Nothing was changed.")
        role = Identifier(name)
        if found is None:
            await admin.execute(SQL("CREATE ROLE {} NOLOGIN INHERIT CONNECTION LIMIT 8").format(role))
            await admin.execute(SQL("COMMENT ON ROLE {} IS {}").format(role, Value(job.mark)))
        held = (("BYPASSRLS", kind != "write"), ("REPLICATION", kind in REPLICATES))
        powers = [word for word, on in held if on]
        if traits.superuser and powers:
            await admin.execute(SQL("ALTER ROLE {} {}").format(role, SQL(" ".join(powers))))
        shared = place.pool.holds == "Rows"
        for group in (place.pool.name, names.role(job.tenant, "r" if shared else "owner")):
            options = f" WITH INHERIT TRUE, SET {kind == 'write'}" if traits.grant_options else ""
            await admin.execute(SQL("GRANT {} TO {}" + options).format(Identifier(group), role))
        until = Value((datetime.now(UTC) + LONGEST).isoformat())
        verifier = Value(scram_verifier(password))
        await admin.execute(SQL("ALTER ROLE {} LOGIN PASSWORD {} VALID UNTIL {}").format(role, verifier, until))
    return Login(place.server.address(), place.pool.name, name, password)


async def admit(job: Job, place: Place, kind: Kind) -> None:
    """Let a login that was made for the other place on the same server into this one as well."""
    options = f" WITH INHERIT TRUE, SET {kind == 'write'}" if place.server.traits.grant_options else ""
    async with place.server.session(place.pool.name) as admin:
        group, role = Identifier(place.pool.name), Identifier(names.mover(job.tenant, kind))
        await admin.execute(SQL("GRANT {} TO {}" + options).format(group, role))


async def remove(job: Job, server: Server, kinds: tuple[Kind, ...] = KINDS) -> None:
    """Remove logins of the move, with their sessions; what is not there or not ours is left alone."""
    async with server.session() as admin:
        present = await _ours(admin, job, kinds)
        if not present:
            return
        for name in present:
            await admin.execute(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(name)))
        await end_sessions(admin, server.traits, present)
        await admin.execute(SQL("DROP ROLE {}").format(SQL(", ").join(map(Identifier, present))))


async def _ours(admin: Session, job: Job, kinds: tuple[Kind, ...]) -> list[str]:
    names_ = [names.mover(job.tenant, kind) for kind in kinds]
    found = [name for (name,) in await (await admin.execute(_PRESENT, [names_])).fetchall()]
    ours = []
    for name in found:
        mark = await (await admin.execute(_MARK, [name])).fetchone()
        if mark is not None and mark[0] == job.mark:
            ours.append(name)
    return ours
