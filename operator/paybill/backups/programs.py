"""Runs pg_dump and pg_restore: nothing in their environment but where to log in, a deadline, and no child left behind.

The password goes in by the environment of that one process, never by its arguments, which every account of the machine
can list. What a program says on stderr is cut down to the server's own sentence, because the lines after it quote rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from asyncio import StreamReader
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from paybill.api.failures import Blocked, Failure, Retry

T = TypeVar("T")

NICE: Final = 10
"""How far behind everything else on the machine a dump stands."""
READ: Final = 1 << 18
_KEPT: Final = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "TZDIR")
_SAID: Final = re.compile(r"^(?:pg_dump|pg_restore): error: (.+)$", re.MULTILINE)
_LONGEST: Final = 400
_AWAY: Final = ("could not connect", "connection to server", "server closed the connection", "terminating connection")
_FULL: Final = "No space left on device"
"""A program tells no code, so a full disk of the server's is known by the words that its system has for it."""
_VARIABLES: Final = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


@dataclass(frozen=True)
class Login:
    """Where and as whom a program logs in; ``address`` is ``Server.address()``."""

    address: Mapping[str, str]
    database: str
    user: str
    password: str = field(repr=False)

    def environment(self, options: str = "") -> dict[str, str]:
        """What a program is given, and nothing of our own."""
        passed = {name: os.environ[name] for name in _KEPT if name in os.environ}
        where = {_VARIABLES[key]: value for key, value in self.address.items()}
        return {
            **passed,
            **where,
            "LC_ALL": "C",
            "HOME": "/nonexistent",
            "PGPASSFILE": "/dev/null",
            "PGDATABASE": self.database,
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGAPPNAME": "paybill-backup",
            "PGCONNECT_TIMEOUT": "10",
            "PGOPTIONS": options,
        }


async def once(whole: bytes) -> AsyncIterator[bytes]:
    """What is in memory already, as a stream."""
    yield whole


async def output(
    argv: Sequence[str], environment: Mapping[str, str], deadline: float, stdin: AsyncIterator[bytes] | None = None
) -> AsyncGenerator[bytes, None]:
    """What a program writes, as it writes it; raises when it fails, so only an end without one is its end.

    ``deadline`` is in seconds. Raises ``Blocked("ClientToolFailed")``, or ``Retry("DatabaseUnreachable")`` when the
    server went away, ``Retry("DatabaseFull")`` when it has no room, ``Retry("BackupTooSlow")`` at the deadline.
    """
    async with _running(argv, environment, deadline, feeds=stdin is not None) as program:
        feeding = asyncio.create_task(program.feed(stdin)) if stdin is not None else None
        try:
            while piece := await program.read():
                yield piece
            if feeding is not None:
                await feeding
            await program.ended()
        finally:
            if feeding is not None and not feeding.done():
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)


async def fed(
    argv: Sequence[str], environment: Mapping[str, str], deadline: float, stdin: AsyncIterator[bytes]
) -> None:
    """Run a program to its end on what ``stdin`` yields; raises as ``output`` does, and what ``stdin`` raises."""
    async with contextlib.aclosing(output(argv, environment, deadline, stdin)) as pieces:
        async for _ in pieces:
            pass


@dataclass
class _Running:
    """A program while it runs."""

    name: str
    process: Process
    stdout: StreamReader
    ends: float
    errors: asyncio.Task[str]

    async def read(self) -> bytes:
        return await self._in_time(self.stdout.read(READ))

    async def feed(self, content: AsyncIterator[bytes]) -> None:
        """Hand it what it reads; that it has stopped reading is told by how it ends.

        What it has not read by then is closed: another program may stand behind it, which waits to be read.
        """
        pipe = self.process.stdin
        if pipe is None:
            return
        try:
            async for piece in content:
                pipe.write(piece)
                await self._in_time(pipe.drain())
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                pipe.close()
            if isinstance(content, AsyncGenerator):
                await content.aclose()

    async def ended(self) -> None:
        code = await self._in_time(self.process.wait())
        if code:
            raise _failed(self.name, code, await self.errors)

    async def _in_time(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout_at(self.ends):
                return await work
        except TimeoutError:
            raise Retry("BackupTooSlow", f"{self.name} did not come to its end in time and was stopped") from None


@contextlib.asynccontextmanager
async def _running(
    argv: Sequence[str], environment: Mapping[str, str], deadline: float, *, feeds: bool
) -> AsyncIterator[_Running]:
    name = Path(argv[0]).name
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=PIPE if feeds else asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=dict(environment),
            start_new_session=True,
        )
    except OSError as error:
        raise Blocked("ClientToolsMissing", f"cannot run {argv[0]}: {error.strerror}") from error
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    stdout, stderr = process.stdout, process.stderr
    if stdout is None or stderr is None:
        raise RuntimeError(f"{name} was started without pipes")
    errors = asyncio.create_task(_tail(stderr))
    try:
        yield _Running(name, process, stdout, asyncio.get_running_loop().time() + deadline, errors)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        while await stdout.read(READ):
            pass  # asyncio tells no end of a program as long as anything that it wrote waits to be read
        await process.wait()
        await errors


async def _tail(stderr: StreamReader) -> str:
    """The beginning and the end of what it says: a restore that fails row by row must not fill the memory."""
    said = b""
    while piece := await stderr.read(READ):
        said += piece
        if len(said) > 4 * READ:
            said = said[:READ] + said[-READ:]
    return said.decode(errors="replace")


def _failed(name: str, code: int, said: str) -> Failure:
    found = _SAID.search(said)
    words = found[1].strip()[:_LONGEST] if found else f"it ended with {code} and no reason"
    if any(sign in words for sign in _AWAY):
        return Retry("DatabaseUnreachable", f"{name}: {words}")
    if _FULL in words:
        return Retry("DatabaseFull", f"{name}: {words}")
    return Blocked("ClientToolFailed", f"{name}: {words}")
