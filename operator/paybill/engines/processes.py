"""Processes by who they are, from /proc: an id alone is not enough, because the kernel uses ids again."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
# Fields of /proc/<pid>/stat after the name in brackets (proc(5) counts from 1 and has pid and name before them).
_STATE, _GROUP, _STARTED = 0, 2, 19
_ENDED = ("Z", "X", "x")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A process that leads a group of its own, such that no other one is ever taken for it."""

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


def is_same(known: Identity) -> bool:
    """Whether ``known`` still runs."""
    stat = _stat(known.pid)
    return stat is not None and stat[_STATE] not in _ENDED and _matches(known, stat)


def members(leader: Identity) -> tuple[int, ...]:
    """The running processes of the group that ``leader`` leads or led.

    The kernel gives a group's id to no new process while the group has members, so an id that another process has
    now says that the group is gone.
    """
    stat = _stat(leader.pid)
    if boot() != leader.boot or (stat is not None and not _matches(leader, stat)):
        return ()
    return tuple(pid for pid, stat in _all() if int(stat[_GROUP]) == leader.pid and stat[_STATE] not in _ENDED)


def signal_group(leader: Identity, number: signal.Signals) -> None:
    """Send a signal to the whole group that ``leader`` leads or led; nothing when there is none left."""
    if members(leader):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader.pid, number)


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
