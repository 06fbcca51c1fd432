"""The one way in which the local control plane starts other programs.

A program started here gets no environment but what it is given, a session of its own (a terminal's Ctrl-C reaches
only us, we stop it in order), a log file, and a death warrant: when the thread that started it is gone, the kernel
signals it (PR_SET_PDEATHSIG), so a SIGKILLed supervisor leaves nothing behind. What keeps a program running is in
children.py.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paybill.api.failures import Blocked

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec only the call itself may happen.
_LIBC = ctypes.CDLL(None, use_errno=True)
_INHERITED = ("PATH", "HOME", "LANG")
TAIL_LINES = 15


@dataclass(frozen=True)
class Account:
    """A system account that a program runs as when we are root (Postgres refuses to run as root)."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to run: nothing is inherited that is not named here."""

    name: str
    """What messages and the log file call it."""
    argv: tuple[str, ...]
    log: Path
    """Where its output goes; the output of the run before is kept beside it as ``<log>.1``."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to PATH, HOME and LANG, the only variables it gets from us."""
    cwd: Path | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends when we die without having stopped it."""
    stop_seconds: float = 15.0
    """How long it may take to stop before its whole process group is killed."""


def scrubbed_environment(extra: Mapping[str, str], account: Account | None = None) -> dict[str, str]:
    """The environment of a started program: PATH, HOME and LANG of ours, and ``extra``."""
    base = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    base.setdefault("PATH", os.defpath)
    if account is not None:
        base["HOME"] = "/"
    return base | dict(extra)


async def spawn(command: Command) -> asyncio.subprocess.Process:
    """Start ``command`` and return at once; raises Blocked when the program cannot be started at all."""
    rotate(command.log)
    output = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    account = command.account
    identity = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    try:
        return await asyncio.create_subprocess_exec(
            *command.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=scrubbed_environment(command.env, command.account),
            cwd=command.cwd,
            start_new_session=True,
            preexec_fn=_death_warrant(command.orphan_signal),
            **identity,  # type: ignore[arg-type]  # the stubs do not follow keyword dictionaries
        )
    except OSError as error:
        happened = f"{command.name}: cannot run {command.argv[0]}: {error.strerror}"
        raise Blocked("CannotStart", f"{happened}; if that file is broken, remove it and try again") from error
    finally:
        os.close(output)


def _death_warrant(orphan_signal: signal.Signals) -> Callable[[], None]:
    """What runs between fork and exec: after the change of user, which would clear the setting."""
    parent = os.getpid()
    prctl = _LIBC.prctl

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died before the warrant was signed
            os._exit(1)

    return arm


async def stop(process: asyncio.subprocess.Process, command: Command) -> None:
    """Ask the program to stop, wait as long as it may take, then kill whatever is left of its process group."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(command.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), command.stop_seconds)
        except TimeoutError:
            logger.warning("%s did not stop within %.0f s: killed", command.name, command.stop_seconds)
    # It leads its own group, so the group's id is its own, and stays reserved while any member lives.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def run(
    command: Command, *, deadline: float, tick: Callable[[float], None] | None = None, tick_seconds: float = 3.0
) -> str:
    """Run ``command`` to its end and return what it wrote.

    ``deadline`` is in seconds; ``tick`` is called every ``tick_seconds`` with the seconds gone so far. Raises
    Blocked with the last lines of its output when it fails or takes too long; cancelling stops the program.
    """
    began = time.monotonic()
    process = await spawn(command)
    try:
        while (left := began + deadline - time.monotonic()) > 0:
            try:
                code = await asyncio.wait_for(process.wait(), min(left, tick_seconds))
            except TimeoutError:
                if tick is not None:
                    tick(time.monotonic() - began)
                continue
            if code == 0:
                return command.log.read_text(errors="replace")
            raise Blocked("CommandFailed", failure_text(command, f"failed with {exit_text(code)}"))
        raise Blocked("CommandFailed", failure_text(command, f"took longer than {deadline:.0f} s and was stopped"))
    finally:
        await stop(process, command)


def failure_text(command: Command, happened: str) -> str:
    """A message for people: what happened, the end of the log, and where the rest is."""
    tail = log_tail(command.log)
    lines = f"; its last lines:\n{tail}\n" if tail else "; it wrote nothing. "
    return f"{command.name} {happened}{lines}The whole log: {command.log}"


def exit_text(code: int | None) -> str:
    """How a process ended, in words: an exit code, or the signal that ended it."""
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def log_tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, indented; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])


def rotate(path: Path) -> None:
    """Keep the log of the run before as ``<log>.1`` and nothing older."""
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name(path.name + ".1"))


def truncate(path: Path, limit: int) -> None:
    """Move the content of a log that outgrew ``limit`` bytes aside; its writer appends, so it goes on at the start."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > limit:
            shutil.copyfile(path, path.with_name(path.name + ".1"))
            os.truncate(path, 0)


def command_line(argv: Sequence[str], options: Mapping[str, str]) -> tuple[str, ...]:
    """``argv`` followed by ``--name=value`` for each option, in the order given."""
    return (*argv, *(f"--{name}={value}" for name, value in options.items()))
