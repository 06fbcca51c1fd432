"""Processes by who they are, from /proc: an id alone is not enough, because the kernel uses ids again."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
# Fields of /proc/<pid>/stat after the name in brackets (proc(5) counts from 1 and has pid and name before them).
_STATE, _GROUP, _SESSION, _STARTED = 0, 2, 3, 19
_ENDED = ("Z", "X", "x")
_ROUNDS = 50


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A process that leads a session of its own, such that no other one is ever taken for it."""

    pid: int
    started: int
    """When it started, in clock ticks since the boot."""
    boot: str
    """The boot that the ticks count from."""


def identity(pid: int) -> Identity:
    """Who ``pid`` is; raises ProcessLookupError when it is no more."""
    stat = _stat(pid)
    if stat is None:
        raise ProcessLookupError(pid)
    return Identity(pid=pid, started=int(stat[_STARTED]), boot=boot())


def boot() -> str:
    """The id of this boot of the machine; it is in no container's power to be another one."""
    return _BOOT.read_text().strip()


def lives(pid: int) -> bool:
    """Whether a process with this id runs; one that only waits to be collected by its parent does not."""
    stat = _stat(pid)
    return stat is not None and stat[_STATE] not in _ENDED


def started_at(pid: int) -> float:
    """When ``pid`` started, in seconds since the epoch; raises ProcessLookupError when it is no more."""
    stat = _stat(pid)
    if stat is None:
        raise ProcessLookupError(pid)
    up = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - up + int(stat[_STARTED]) / os.sysconf("SC_CLK_TCK")


def is_same(known: Identity) -> bool:
    """Whether ``known`` still runs."""
    stat = _stat(known.pid)
    return stat is not None and stat[_STATE] not in _ENDED and _matches(known, stat)


def members(leader: Identity) -> tuple[int, ...]:
    """The running processes of the session that ``leader`` leads or led, itself among them.

    The session and not the group: tools put what they start into groups of their own (Pulumi does so with its
    providers, for Ctrl-C to spare them). The kernel gives a session's id to no new process while it has members, so
    an id that another process has now says that the session is gone.
    """
    stat = _stat(leader.pid)
    if boot() != leader.boot or (stat is not None and not _matches(leader, stat)):
        return ()
    return tuple(pid for pid, stat in _all() if int(stat[_SESSION]) == leader.pid and stat[_STATE] not in _ENDED)


def has_group(leader: Identity) -> bool:
    """Whether a process is left in the group that ``leader`` led: one that a signal to the group would reach."""
    return any(int(stat[_GROUP]) == leader.pid for pid in members(leader) if (stat := _stat(pid)) is not None)


def interrupt(leader: Identity) -> None:
    """SIGINT to the group that ``leader`` leads or led; nothing when there is none left."""
    if has_group(leader):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGINT)


def kill_all(leader: Identity) -> None:
    """SIGKILL to every process of the session, also to those that are started meanwhile, and to ourselves last."""
    ourselves = os.getpid()
    for _ in range(_ROUNDS):
        found = members(leader)
        others = [pid for pid in found if pid != ourselves]
        for pid in others or found:
            _kill_member(pid, leader)
        if not found:
            return


def _kill_member(pid: int, leader: Identity) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Looked at again through the handle: the id may have become another process's since it was listed.
        stat = _stat(pid)
        if stat is not None and int(stat[_SESSION]) == leader.pid:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
    finally:
        os.close(handle)


def _matches(known: Identity, stat: list[str]) -> bool:
    return int(stat[_STARTED]) == known.started and boot() == known.boot


def _all() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
            yield int(entry.name), stat


def _stat(pid: int) -> list[str] | None:
    try:
        # The name may hold spaces and brackets; what is counted begins after the last bracket.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
