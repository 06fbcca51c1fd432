"""The folder of one operation: everything that its worker and whoever watches it know of each other.

A worker outlives the operator that started it, so nothing about it may be in the operator's memory alone. Whether it
lives is a file lock that the kernel drops with it; who it is, a process id with the time it started (ids are used
again); how it ended, files. Whoever is about to take its answer holds a lock too, so that two never do.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paybill.api.failures import Blocked
from paybill.engines import locks, processes
from paybill.engines.operation import EngineType, Exit, Kind, Request
from paybill.engines.processes import Identity

_REMOVED = ".removed"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What an operation is, for whoever finds its folder. No secrets, and not its inputs."""

    id: str
    kind: Kind
    engine: EngineType
    project: str
    stack: str
    began: float
    """When it was started, in seconds since the epoch."""
    deadline: float
    """When it is asked to stop, in seconds since the epoch."""
    finish: float
    """Seconds it then has to end what it has begun, before it is told that it must stop at once."""
    obey: float
    """Seconds it then has to stop at once, before it is killed."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """That an operation was asked to stop, and how far that went."""

    reason: str
    """DeadlineExceeded, Cancelled, OutputTooLarge or WorkerDied."""
    at: float
    """When, in seconds since the epoch."""
    signals: int = 1
    """How many signals it was sent."""


@dataclass(frozen=True)
class Patience:
    """How long an operation that was asked to stop is given, in seconds."""

    finish: float = 120.0
    """To end what it has begun: a cloud goes on with it whether anybody waits or not."""
    obey: float = 15.0
    """To write down what it knows and leave."""


class Folder:
    """One operation's folder. Made private; what is in it is written so that a reader never sees half of it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.lines = self.path / "lines"
        """The worker's standard output."""
        self.log = self.path / "log"
        """What programs and tools printed, redacted."""

    def create(self, request: Request, patience: Patience, *, now: float) -> Record:
        """Make the folder for a new operation; raises Blocked when it is an operation's already."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        if self.record() is not None:
            raise Blocked("OperationExists", f"{self.path} is another operation's: take that one's result first")
        record = Record(
            id=request.id,
            kind=request.kind,
            engine=request.engine,
            project=request.inputs.project,
            stack=request.inputs.stack,
            began=now,
            deadline=now + request.deadline_seconds,
            finish=patience.finish,
            obey=patience.obey,
        )
        self._write("operation.json", vars(record))
        return record

    def record(self) -> Record | None:
        """What this operation is; None when the folder is gone or never was an operation's."""
        content = self._read("operation.json")
        return Record(**content) if content else None

    def identify(self, pid: int) -> None:
        """Write down who the worker is. It does so itself too, or a starter that dies would leave it unknown."""
        with contextlib.suppress(ProcessLookupError):
            self._write("process.json", vars(processes.identity(pid)))

    def identity(self) -> Identity | None:
        """Who the worker is; None before it has said so."""
        content = self._read("process.json")
        return Identity(**content) if content else None

    def end(self, exit_code: int) -> None:
        """The worker writes down how it ended, after its last line."""
        self._write("exit.json", {"exit": exit_code})

    def exit_code(self) -> int | None:
        """How the worker ended; None while it runs, or when it died."""
        content = self._read("exit.json")
        code = content.get("exit") if content else None
        # The folder is a program's own home too, so what is no code of ours is no word of the worker's.
        return code if code in set(Exit) else None

    def hold_life(self) -> int:
        """The lock that says that a worker lives, as a descriptor for the worker to inherit and never touch."""
        return locks.lock(self.path / "life")

    def alive(self) -> bool:
        """Whether the worker lives, or is being started."""
        return locks.is_locked(self.path / "life")

    def claim(self) -> int:
        """The right to take this operation's result, as a descriptor that holds it; raises Blocked when taken."""
        try:
            return locks.lock(self.path / "claim")
        except BlockingIOError:
            raise Blocked("OperationWatched", f"somebody else waits for the operation in {self.path}") from None
        except FileNotFoundError:
            raise Blocked("OperationGone", f"there is no operation in {self.path}: its result was taken") from None

    def claimed(self) -> bool:
        """Whether somebody waits for this operation."""
        return locks.is_locked(self.path / "claim")

    def stopping(self) -> Stop | None:
        """Whether and why it was asked to stop."""
        content = self._read("stop.json")
        return Stop(**content) if content else None

    def begin_stop(self, reason: str) -> None:
        """Ask it to stop: SIGINT to its process group. Does nothing when that was done, by whomever.

        A second signal means to leave everything as it is and end, so the first must never be sent twice.
        """
        stop = Stop(reason=reason, at=time.time())
        with contextlib.suppress(FileExistsError):
            self._write("stop.json", vars(stop), new=True)
            self._interrupt()

    def kill(self, reason: str) -> None:
        """End it at once, because what it does harms others; what it has begun is left as it is."""
        self.begin_stop(reason)
        self._kill()

    def advance_stop(self) -> None:
        """Send what is due to an operation that was asked to stop and has not; whoever sees it does this."""
        stop, record = self.stopping(), self.record()
        if stop is None or record is None:
            return
        late = time.time() - stop.at
        if late > record.finish + record.obey:
            self._kill()
        elif late > record.finish and stop.signals == 1:
            self._write("stop.json", vars(stop) | {"signals": 2})
            self._interrupt()

    def orphans(self) -> bool:
        """Whether processes that the worker started still run, now that it does not."""
        identity = self.identity()
        return identity is not None and bool(processes.members(identity))

    def orphans_listen(self) -> bool:
        """Whether one of them would hear a signal that asks it to stop."""
        identity = self.identity()
        return identity is not None and processes.has_group(identity)

    def remove(self) -> None:
        """Take the folder away with all that is in it; raises Blocked while anything of it runs."""
        if self.alive() or self.orphans():
            raise Blocked("OperationRuns", f"the operation in {self.path} still runs")
        # Renamed first: half a folder must not look like an operation to whoever looks meanwhile.
        gone = self.path.with_name(self.path.name + _REMOVED)
        shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _interrupt(self) -> None:
        if (identity := self.identity()) is not None:
            processes.interrupt(identity)

    def _kill(self) -> None:
        if (identity := self.identity()) is not None:
            processes.kill_all(identity)

    def _write(self, name: str, content: dict[str, Any], *, new: bool = False) -> None:
        part = self.path / f"{name}.{os.getpid()}.part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file)
        if new:
            try:
                os.link(part, self.path / name)
            finally:
                part.unlink()
        else:
            part.replace(self.path / name)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            content: dict[str, Any] = json.loads((self.path / name).read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            return None  # a machine that lost its power leaves files without what was last written to them
        return content


def list_left(root: Path | str) -> tuple[tuple[Folder, Record], ...]:
    """The operations whose folders are below ``root``, the oldest first; leftovers of removed ones are swept."""
    found = []
    for path in Path(root).iterdir() if Path(root).is_dir() else ():
        if path.name.endswith(_REMOVED):
            shutil.rmtree(path, ignore_errors=True)
        elif (record := Folder(path).record()) is not None:
            found.append((Folder(path), record))
    return tuple(sorted(found, key=lambda one: one[1].began))
