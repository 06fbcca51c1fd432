"""Starts the worker of an operation, watches it, and takes its result: the one door to engines.

A worker outlives whoever started it. Its answers go to files in the operation's private folder, so an operator that
comes after a crash adopts it there: it waits for a worker that still runs and takes the result of one that ended,
once. ``cancel`` and deadlines ask before they kill, because an engine that is killed does not know what it has made.

The caller removes the folder (``Ended.remove``) when it has written down what came of it. Until then the result is
its own: nobody else can take it, unless this process ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paybill.api.failures import Blocked
from paybill.engines import ended
from paybill.engines.environment import account, worker_environment
from paybill.engines.folder import Folder, Patience, Record, Stop, list_left
from paybill.engines.lines import Lines
from paybill.engines.operation import Exit, Failed, Line, Progress, Request, Result

WORKER: tuple[str, ...] = (sys.executable, "-P", "-m", "paybill.engines.worker")
"""The worker's command line. -P: nothing in a work folder is ever imported instead of a library."""
WRITES = frozenset({"up", "refresh", "destroy", "recover"})
"""Kinds of operations after whose death nobody knows what exists."""
POLL_SECONDS = 0.2

OnLine = Callable[[Line], None]


def ignore(_: Line) -> None:
    """Takes an answer and does nothing with it."""


@dataclass(frozen=True, kw_only=True)
class Ended(ended.Ended):
    """How an operation ended whose folder is on this machine."""

    record: Record
    """Which operation it was."""
    work_dir: Path
    """Its folder."""
    claim: int = field(repr=False)
    """The lock that makes the result this process's own."""

    @property
    def stack(self) -> str:
        """The name of its stack."""
        return self.record.stack

    async def discard(self) -> None:
        """As ``remove``."""
        self.remove()

    def remove(self) -> None:
        """Take the folder away, when the result is written down elsewhere; raises Blocked while anything runs."""
        Folder(self.work_dir).remove()
        self.release()

    def release(self) -> None:
        """Give the result back without removing it: somebody else may take it."""
        with contextlib.suppress(OSError):  # given back before
            os.close(self.claim)


async def run(
    request: Request,
    *,
    on_line: OnLine = ignore,
    patience: Patience = Patience(),  # noqa: B008 - a frozen value
    command: Sequence[str] = WORKER,
) -> Ended:
    """Carry out ``request`` in a worker of its own and wait for its end.

    ``on_line`` gets each answer as it comes. ``patience``: see there. ``command``: what to start. Raises Blocked
    when the folder is another operation's (``OperationExists``) or the worker cannot be started (``CannotStart``).
    Cancelling only ends the wait: the worker goes on and can be adopted.
    """
    folder = Folder(request.work_dir)
    record = folder.create(request, patience, now=time.time())
    claim = folder.claim()
    try:
        process = await _start(request, folder, command)
        return await _watch(folder, record, claim, on_line, process)
    except BaseException:
        os.close(claim)
        raise


async def adopt(work_dir: Path | str, *, on_line: OnLine = ignore) -> Ended:
    """Wait for an operation that somebody else started, and take its result.

    Raises Blocked when there is none (``OperationGone``) or somebody else has it (``OperationWatched``). ``on_line``
    gets all its answers from the first on.
    """
    folder = Folder(work_dir)
    if folder.record() is None:
        raise Blocked("OperationGone", f"there is no operation in {folder.path}: its result was taken")
    claim = folder.claim()
    try:
        record = folder.record()  # once more: whoever had the claim may have removed it
        if record is None:
            raise Blocked("OperationGone", f"there is no operation in {folder.path}: its result was taken")
        return await _watch(folder, record, claim, on_line, None)
    except BaseException:
        os.close(claim)
        raise


async def cancel(work_dir: Path | str, *, reason: str = "Cancelled") -> None:
    """Ask an operation to stop and wait until nothing of it runs; killed when it does not within its patience."""
    folder = Folder(work_dir)
    if folder.alive() or folder.orphans():
        folder.begin_stop(reason)
    while folder.alive() or folder.orphans():
        folder.advance_stop()
        await asyncio.sleep(POLL_SECONDS)


def holder_here() -> str:
    """How a lock names its holder when a worker of this machine took it: ``user@host``.

    Proof that it is gone is what the caller brings: a stack has one operation at a time, and a recovery is begun only
    when none of its operations lives.
    """
    return f"{account()}@{host()}"


def host() -> str:
    """The name of this host; in a pod it is the pod's."""
    return platform.node()


async def _start(request: Request, folder: Folder, command: Sequence[str]) -> asyncio.subprocess.Process:
    temporary = folder.path / "tmp"
    temporary.mkdir(mode=0o700, exist_ok=True)
    with contextlib.ExitStack() as opened:
        # The worker has the request whole or not at all: it is written before there is a process to read it.
        question = os.memfd_create("request", os.MFD_CLOEXEC)
        opened.callback(os.close, question)
        with os.fdopen(os.dup(question), "wb") as file:
            file.write(request.model_dump_json().encode())
        os.lseek(question, 0, os.SEEK_SET)
        life = folder.hold_life()
        opened.callback(os.close, life)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=question,
                stdout=_append(folder.lines, opened),
                stderr=_append(folder.log, opened),
                pass_fds=(life,),
                cwd=folder.path,
                env=worker_environment(folder.path, temporary),
                start_new_session=True,  # a group of its own, and no terminal's Ctrl-C
            )
        except OSError as error:
            raise Blocked("CannotStart", f"cannot run {command[0]}: {error.strerror}") from error
        folder.identify(process.pid)
    return process


def _append(path: Path, opened: contextlib.ExitStack) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    opened.callback(os.close, descriptor)
    return descriptor


async def _watch(
    folder: Folder, record: Record, claim: int, on_line: OnLine, process: asyncio.subprocess.Process | None
) -> Ended:
    """Read answers until nothing of the operation runs; stop it in time, and what it left when it died."""
    lines, last = Lines(folder.lines), _Last()
    while True:
        alive, orphans = folder.alive(), folder.orphans()
        for line in lines.read():
            last.take(line)
            on_line(line)
            await asyncio.sleep(0)
        if not alive and not orphans:
            break
        if not alive and folder.orphans_listen():
            # Tools of a worker that died may be in the middle of something: asked first, as the worker would be.
            folder.begin_stop("WorkerDied")
        elif not alive:
            folder.kill("WorkerDied")  # what only a tool could have told to stop
        elif lines.too_much:
            folder.kill("OutputTooLarge")  # it would fill the disk while it is waited for
        elif time.time() >= record.deadline:
            folder.begin_stop("DeadlineExceeded")
        folder.advance_stop()
        await asyncio.sleep(POLL_SECONDS)
    if process is not None:
        await process.wait()
    return _ended(folder, record, claim, last)


@dataclass
class _Last:
    """The last answer of each kind that says how it ended."""

    failed: Failed | None = None
    result: Result | None = None

    def take(self, line: Line) -> None:
        match line:
            case Failed():
                self.failed = line
            case Result():
                self.result = line
            case Progress():
                pass


def _ended(folder: Folder, record: Record, claim: int, last: _Last) -> Ended:
    code, stop = folder.exit_code(), folder.stopping()
    # Done without a result that could be read: as if nothing had been found to change, it must not be taken.
    done = code in _DONE and last.result is not None
    failed, silent = last.failed, code is None or (last.failed is None and not done)
    writes = record.kind in WRITES
    if silent:
        failed = Failed(reason="RecoveryNeeded" if writes else "WorkerDied", message=_died(record, stop, writes=writes))
    elif failed is not None and failed.reason == "Interrupted" and stop is not None:
        failed = failed.model_copy(update={"reason": stop.reason})
    # A worker that could not say what it had done leaves as much in doubt as one that was killed.
    doubtful = silent or (last.result is None and failed is not None and failed.reason in _DOUBTFUL)
    return Ended(
        exit=Exit(code) if code is not None else Exit.TRANSIENT,
        failed=failed,
        result=last.result,
        recovery_needed=bool(last.result and last.result.pending) or (writes and doubtful),
        record=record,
        work_dir=folder.path,
        claim=claim,
    )


_DONE = frozenset({Exit.OK, Exit.CHANGES, Exit.DRIFT})
_DOUBTFUL = frozenset({"Interrupted", "DeadlineExceeded", "Cancelled", "WorkerError"})
_BECAUSE = {
    "DeadlineExceeded": "was killed because it took longer than its deadline and did not stop when asked",
    "Cancelled": "was cancelled and killed because it did not stop when asked",
    "OutputTooLarge": "was killed because it answered more than any operation has to say",
}


def _died(record: Record, stop: Stop | None, *, writes: bool) -> str:
    happened = _BECAUSE.get(
        stop.reason if stop else "", "died without a word that can be read (killed, or out of memory)"
    )
    then = "what it had begun is unknown, so a recovery comes first" if writes else "it changed nothing: try again"
    return f"The worker of {record.kind} for stack {record.stack} {happened}: {then}"


__all__ = ["WORKER", "Ended", "Folder", "OnLine", "Patience", "Record", "adopt", "cancel", "list_left", "run"]
