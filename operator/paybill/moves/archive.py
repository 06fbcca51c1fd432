"""Takes a schema's definition, or all of it, from one place and puts it into another: pg_dump and pg_restore.

Both run as the move's own logins, so what a tenant's definitions call has no more rights than the tenant. Triggers,
rules and policies come last, when the rows are there: a trigger that fires on replicated rows would do its work twice.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Final

from paybill.backups import logins as backup_logins
from paybill.backups import programs, tools
from paybill.backups.programs import Login
from paybill.backups.tools import Tools
from paybill.desired import sql_names as names
from paybill.moves import into_shared, large_objects, logins, shared
from paybill.moves.job import Job, Mode

LONGEST: Final = 6 * 3600.0
"""Seconds that a dump or a restore may take."""
LATE: Final = frozenset({"TRIGGER", "RULE", "POLICY", "ROW SECURITY"})
"""What is put in place after the rows; everything else is there before them."""
_NEVER: Final = frozenset({"DEFAULT ACL"})
"""What new objects are granted is declared, and made with the schema."""
_ALONE: Final = "-c max_parallel_maintenance_workers=0"
"""An index is built beside tenants that work: by one process, not by as many as there are processors."""
_DUMP: Final = (
    "--format=custom", "--no-password", "--no-publications", "--no-subscriptions", "--no-security-labels",
    "--lock-wait-timeout=30s",
)  # fmt: skip


async def definition(job: Job) -> bytes:
    """The schema without rows, as pg_dump writes it."""
    async with logins.opened(job, job.source, "read") as login:
        return b"".join([piece async for piece in _dumped(job, await _tools(job), login, "--schema-only")])


async def put_first(job: Job, archive: bytes, *, keys: bool) -> None:
    """Put in place at the target what must be there before rows are: all but the late objects, or not even ``keys``.

    Rows that are copied in bulk come faster without keys and indexes, those that are replicated need them.
    """
    options = () if keys else ("--section=pre-data",)
    await _put(job, archive, options, late=False, early=True)


async def put_keys(job: Job, archive: bytes) -> None:
    """Put keys and indexes in place behind rows that were copied, one at a time, on one processor."""
    await _put(job, archive, ("--section=post-data",), late=False, early=True)


async def put_rows(job: Job) -> None:
    """Copy all rows, and what sequences gave out, while nobody may change them."""
    if job.into_rows:
        await into_shared.put(job)
        return
    client = await _tools(job)
    source = shared.opened(job, backup_logins.DUMPS) if job.rows else logins.opened(job, job.source, "read")
    more = await shared.dumped(job) if job.rows else ()
    async with source as reading, logins.opened(job, job.target, "write") as writing:
        await _restore(job, client, writing, _dumped(job, client, reading, "--data-only", *more), ("--data-only",))
    await large_objects.copy(job)


async def put_last(job: Job, archive: bytes, mode: Mode) -> None:
    """Put in place what must not be there before the rows are."""
    if mode == "Online":
        await _put(job, archive, (), late=True, early=False)
    else:
        await _put(job, archive, ("--section=post-data",), late=True, early=True)


async def _put(job: Job, archive: bytes, options: tuple[str, ...], *, late: bool, early: bool) -> None:
    client = await _tools(job)
    found = [line async for line in _listed(client, archive)]
    wanted = [line for line in found if (kind := _kind(job, line)) and (late if kind in LATE else early)]
    if not wanted:
        return
    with tempfile.TemporaryDirectory(prefix="paybill-move-") as folder:
        chosen = Path(folder) / "list"
        chosen.write_text("".join(f"{line}\n" for line in wanted), encoding="utf-8")
        async with logins.opened(job, job.target, "write") as login:
            await _restore(job, client, login, programs.once(archive), (f"--use-list={chosen}", *options))


async def _tools(job: Job) -> Tools:
    source, target = job.source.server.traits.version, job.target.server.traits.version
    client = await tools.for_server(max(source, target))
    return await tools.for_server(target, written_by=client.major * 10_000)


async def _dumped(job: Job, client: Tools, login: Login, *more: str) -> AsyncIterator[bytes]:
    argv = [client.program("pg_dump"), *_DUMP, f"--schema={job.schema}", *more]
    async with aclosing(programs.output(argv, login.environment(), LONGEST)) as pieces:
        async for piece in pieces:
            yield piece


async def _listed(client: Tools, archive: bytes) -> AsyncIterator[str]:
    argv = [client.program("pg_restore"), "--list"]
    said = b"".join([piece async for piece in programs.output(argv, {}, LONGEST, programs.once(archive))])
    for line in said.decode().splitlines():
        yield line


def _kind(job: Job, line: str) -> str:
    """The kind of object that a line of an archive's list is about; empty for what is not inside of the schema."""
    found = re.match(rf"\d+; \d+ \d+ ([A-Z ]+?) {job.schema} (?:(TRIGGER|RULE|POLICY) )?", line)
    if found is None or found[1] in _NEVER:
        return ""
    kind = found[2] if found[1] == "COMMENT" and found[2] else found[1]
    return "" if job.rows and kind in shared.NEVER else kind


async def _restore(job: Job, client: Tools, login: Login, archive: AsyncIterator[bytes], more: Iterable[str]) -> None:
    argv = [
        client.program("pg_restore"), "--no-password", "--no-owner", "--exit-on-error", "--single-transaction",
        f"--role={names.role(job.tenant, 'owner')}", f"--dbname={login.database}", *more,
    ]  # fmt: skip
    await programs.fed(argv, login.environment(_ALONE), LONGEST, archive)
