"""One supervisor per home: a file lock that lasts exactly as long as the process that holds it.

The lock, not a process id in a file, says whether an instance runs: the kernel drops it however its holder dies.
"""

import fcntl
import os
import time
from pathlib import Path

from paybill.api.failures import Blocked

# Someone who only looks whether the lock is free holds it for an instant.
_PATIENCE_SECONDS = 0.5


class HomeLock:
    """The lock on one home; taken before anything is written there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock and note our process id in it; Blocked when another process has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        ends = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    os.close(descriptor)
                    raise Blocked(
                        "AlreadyRunning",
                        f"another process (id {holder(self._path) or 'unknown'}) runs the instance in "
                        f"{self._path.parent}: use it, or stop it with `paybill down`",
                    ) from None
                time.sleep(0.02)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def is_held(path: Path) -> bool:
    """Whether some process holds the lock now."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def holder(path: Path) -> int | None:
    """The process id of who holds the lock; ``None`` when nobody does, or it has not said so yet."""
    if not is_held(path):
        return None
    text = path.read_text().strip()
    return int(text) if text.isdigit() else None
