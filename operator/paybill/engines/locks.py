"""Locks on files that the kernel drops when the last process that holds them ends, however it ends.

They belong to an open file, not to a process (fcntl(2), "open file description locks"): a child inherits one with the
descriptor, and to ask whether one is held takes none, so two who ask never take each other for the owner.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

# struct flock on 64-bit Linux: type, whence, start, length (0: the whole file), process.
_FORM = "hhqqi"


def lock(path: Path) -> int:
    """Take the lock and return the descriptor that holds it; raises BlockingIOError when another one does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _whole_file())
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether anybody holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _whole_file())
    finally:
        os.close(descriptor)
    return bool(struct.unpack(_FORM, answer)[0] != fcntl.F_UNLCK)


def _whole_file() -> bytes:
    return struct.pack(_FORM, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
