"""Brings the rest over behind the fence, and compares both sides before anybody is let in.

Sequences are not replicated; they go on exactly where they stood. Then every table is counted and summed on both sides
by logins that are no superuser, and what the catalogs say of both schemas is compared line by line.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from typing import Final

from psycopg.sql import SQL, Identifier

from paybill.api.failures import Blocked
from paybill.backups import ledger
from paybill.backups.logins import COUNTS
from paybill.backups.logins import session as login_session
from paybill.backups.manifest import Ledger, Table
from paybill.backups.programs import Login
from paybill.databases.places import Session
from paybill.desired import sql_names as names
from paybill.moves import archive, into_shared, large_objects, logins, shape, shared
from paybill.moves.job import Job, Mode, Place

_SEQUENCES: Final = """
SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'S' ORDER BY 1
"""
_LATE: Final = ("trigger ", "rule ", "policy ", "relation ")
"""Lines of what is put in place last; a relation's says whether it has row security."""
_LATE_SHARED: Final = ("trigger ", "rule ")
_CARRIED: Final = ("column ", "constraint ", "index ", "function ", "type ", *_LATE_SHARED)
"""Lines of shared tables that must be the same at the target: who may do what there is declared anew."""
_OURS: Final = (f" {names.LEDGER}", f".{names.LEDGER}", f"constraint {names.FENCE} ")
_FEW: Final = 5


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What both sides hold: rows and tables, and the one word that stands for all sums."""

    tables: int
    rows: int
    checksum: str


async def unchanged(job: Job, prepared: str) -> bool:
    """Whether the source's schema still is what the target was made from."""
    return shape.digest(await shape.lines(job.source, job.schema)) == prepared


async def complete(job: Job, mode: Mode, definition: bytes) -> None:
    """Put the last objects in place, and let the sequences stand where the source's do."""
    if job.into_rows:  # all but rows is there, and is everybody's
        return
    theirs, ours = await asyncio.gather(shape.lines(job.source, job.schema), shape.lines(job.target, job.schema))
    missing = set(theirs) - set(ours)
    late = _LATE_SHARED if job.rows else _LATE
    # Offline it is made anew as a whole whenever it is cut short, so nothing of it is there twice. Online the restore
    # of the late objects is one transaction: all of them are there, or none.
    if mode == "Offline" or any(line.startswith(late) for line in missing):
        await archive.put_last(job, definition, mode)
    if job.rows:
        await shared.sequences(job)
    elif mode == "Online":  # a dump of rows has them
        await _sequences(job)


async def _sequences(job: Job) -> None:
    async with logins.opened(job, job.source, "read") as login, login_session(job.source.server, login) as session:
        found = [name for (name,) in await (await session.execute(_SEQUENCES, [job.schema])).fetchall()]
        stand = [(name, *await _stands(session, job.schema, name)) for name in found]
    if not stand:
        return
    async with (
        logins.opened(job, job.target, "write") as login,
        login_session(job.target.server, login, read_only=False) as session,
        session.transaction(),
    ):
        await session.execute(SQL("SET LOCAL ROLE {}").format(Identifier(names.role(job.tenant, "owner"))))
        for name, last, called in stand:
            whole = SQL("{}").format(Identifier(job.schema, name)).as_string()
            await session.execute("SELECT setval(%s::regclass, %s, %s)", [whole, last, called])


async def _stands(session: Session, schema: str, name: str) -> tuple[int, bool]:
    row = await (
        await session.execute(SQL("SELECT last_value, is_called FROM {}").format(Identifier(schema, name)))
    ).fetchone()
    assert row is not None  # noqa: S101 - a sequence is one row
    return int(row[0]), bool(row[1])


async def verify(job: Job) -> Verified:
    """Compare both sides to the last row; raises ``Blocked("MoveDiffers")``, which says what is not the same."""
    if job.into_rows:
        return _verified(await into_shared.verify(job))
    there, here = await _both(job)
    await large_objects.compare(job)
    differing = list(ledger.differences(there, here))
    # Another major version writes the same definition in other words; what there is was compared by name already.
    if job.source.server.traits.version // 10_000 == job.target.server.traits.version // 10_000:
        theirs, ours = await asyncio.gather(shape.lines(job.source, job.schema), shape.lines(job.target, job.schema))
        if job.rows:
            theirs, ours = _carried(theirs), _carried(ours)
        differing += [f"{line} is missing" for line in sorted(set(theirs) - set(ours))]
        differing += [f"{line} is there only" for line in sorted(set(ours) - set(theirs))]
    if differing:
        more = f" and {len(differing) - _FEW} more" if len(differing) > _FEW else ""
        raise Blocked(
            "MoveDiffers",
            f"the target of the move of tenant {job.tenant} is not as the source: {'; '.join(differing[:_FEW])}{more}",
        )
    return _verified(there.tables)


def _verified(tables: tuple[Table, ...]) -> Verified:
    sums = tuple(f"{table.name} {table.rows} {table.checksum}" for table in tables)
    return Verified(tables=len(tables), rows=sum(table.rows for table in tables), checksum=shape.digest(sums))


async def settle(job: Job) -> None:
    """What is left to do right before the switch, where shared tables are on either side."""
    if job.rows:
        await shared.settle(job)
    if job.into_rows:
        await into_shared.settle(job)


def _carried(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The lines of shared tables, or of what was made of them, without what is Paybill's own there."""
    return tuple(line for line in lines if line.startswith(_CARRIED) and not any(one in line for one in _OURS))


async def _both(job: Job) -> tuple[Ledger, Ledger]:
    """Both sides at once. On one server it is the same login, with a way into both databases."""
    async with contextlib.AsyncExitStack() as stack:
        opened = shared.opened(job, COUNTS) if job.rows else logins.opened(job, job.source, "read")
        reading = await stack.enter_async_context(opened)
        if job.same_server and not job.rows:
            await logins.admit(job, job.target, "read")
            other = replace(reading, database=job.target.pool.name)
        else:
            other = await stack.enter_async_context(logins.opened(job, job.target, "read"))
        there, here = await asyncio.gather(_counted(job, job.source, reading), _counted(job, job.target, other))
    mine = tuple(table for table in here.tables if not (job.rows and table.name == names.LEDGER))
    return there, here.model_copy(update={"tables": mine})


async def _counted(job: Job, place: Place, login: Login) -> Ledger:
    async with login_session(place.server, login) as session, session.transaction():
        return await ledger.read(session, job.schema, tenant=job.tenant if place.pool.holds == "Rows" else "")
