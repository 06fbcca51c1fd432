"""Running the terraform or tofu program: for how long, and how it is stopped.

It stays in the process group of the worker, because whoever watches the worker stops and counts that group as a whole
(folder.py). Asked once to stop (SIGINT), the program ends what it has begun, saves the state and frees the lock; asked
twice it drops everything. So it is never asked a second time for a signal that the group got already.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from paybill.engines.folder import Patience
from paybill.engines.operation import Exit
from paybill.engines.port import EngineError
from paybill.engines.redaction import KNOWN
from paybill.engines.terraform.binary import Binary

MARGIN = 10.0
"""Seconds past the deadline before we ask the program to stop: whoever watches the worker does so before that."""
_TICK = 0.5


@dataclass
class Finished:
    """How a run ended."""

    code: int = 0
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What it complained of, or else all that it said."""
        return "\n".join(self.err if any(map(str.strip, self.err)) else self.out)


class Cli:
    """The program, in one folder, until one deadline."""

    def __init__(
        self, binary: Binary, folder: Path, env: Mapping[str, str], *, deadline: float, patience: Patience
    ) -> None:
        """``deadline`` is a reading of the monotonic clock; at that moment we ask the program to stop."""
        self.binary = binary
        self.folder = folder
        self._env = dict(env)
        self._deadline = deadline
        self._patience = patience

    def run(self, *arguments: str, each: Callable[[str], None] | None = None) -> Finished:
        """Run one command to its end; ``each`` is called with every line of its output as it comes.

        Raises EngineError when the deadline passes (DeadlineExceeded) or the operation is interrupted.
        """
        running = _Running(self._start(arguments), each)
        try:
            if running.follow(self._deadline):
                return running.finished()
            self._end(running, signal.SIGINT)
        except KeyboardInterrupt:  # of the whole group: the program has got it too
            self._end(running, None)
            raise EngineError(Exit.TRANSIENT, "Interrupted", _stopped(arguments[0], "was interrupted")) from None
        finally:
            running.kill()
        raise EngineError(Exit.TRANSIENT, "DeadlineExceeded", _stopped(arguments[0], "took longer than its deadline"))

    def _start(self, arguments: tuple[str, ...]) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(  # noqa: S603 - the program that the installation chose
                [self.binary.path, *arguments],
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                umask=0o077,  # a local state and a plan hold secrets
            )
        except OSError as error:
            happened = f"cannot run {self.binary.path}: {error.strerror}"
            raise EngineError(Exit.USER, "CliMissing", happened) from error

    def _end(self, running: _Running, first: signal.Signals | None) -> None:
        """Let the program stop in order: ask, wait, insist, wait; what then still runs is killed by the caller."""
        steps = ((first, self._patience.finish), (signal.SIGINT, self._patience.obey))
        for number, seconds in steps:
            if number is not None:
                running.signal(number)
            try:
                if running.follow(time.monotonic() + seconds):
                    return
            except KeyboardInterrupt:  # the second one, which the program has got as well
                running.follow(time.monotonic() + self._patience.obey)
                return


def _stopped(command: str, why: str) -> str:
    return f"{command} {why} and was stopped; what it had begun may be half done: recover before the next operation"


class _Running:
    """One process and what it has said."""

    def __init__(self, process: subprocess.Popen[str], each: Callable[[str], None] | None) -> None:
        self._process = process
        self._each = each
        self._said = Finished()
        self._lines: queue.Queue[tuple[list[str], str | None]] = queue.Queue()
        self._open = 0
        for stream, kept in ((process.stdout, self._said.out), (process.stderr, self._said.err)):
            if stream is not None:
                self._open += 1
                threading.Thread(target=self._read, args=(stream, kept), daemon=True).start()

    def _read(self, stream: IO[str], kept: list[str]) -> None:
        with stream, contextlib.suppress(ValueError):
            for line in stream:
                self._lines.put((kept, line.rstrip("\n")))
        self._lines.put((kept, None))

    def follow(self, until: float) -> bool:
        """Take what it says until it ends; False when the clock reads ``until`` first."""
        while self._open and time.monotonic() < until:
            try:
                self._take(*self._lines.get(timeout=max(0.0, min(_TICK, until - time.monotonic()))))
            except queue.Empty:
                if self._process.poll() is not None:
                    return True  # something it started holds its output open
        if self._open:
            return False
        try:
            self._process.wait(max(_TICK, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _take(self, kept: list[str], line: str | None) -> None:
        if line is None:
            self._open -= 1
            return
        kept.append(line)
        if kept is self._said.err:
            sys.stderr.write(KNOWN.text(line) + "\n")  # the operation's log
        elif self._each is not None:
            self._each(line)

    def finished(self) -> Finished:
        """How it ended."""
        self._said.code = self._process.wait()
        return self._said

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, not to what it started: it tells its plugins itself."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self) -> None:
        """Leave nothing of it: not the program, not its plugins. Nothing to do after an orderly end."""
        if self._process.poll() is not None:
            return
        for pid in (*_descendants(self._process.pid), self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


def _descendants(pid: int) -> list[int]:
    """All processes that ``pid`` started, and those started by them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name may hold spaces and brackets; the parent is the second field after it (proc(5)).
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, due = [], [pid]
    while due:
        due = [child for one in due for child in children.get(one, ())]
        found += due
    return found
