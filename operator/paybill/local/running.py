"""What one process can know about an instance that another one runs: enough to use it, wait for it and stop it.

Kept apart from instance.py so that ``paybill down`` and ``kubeconfig`` need none of what it takes to start one.
"""

import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from paybill.api.failures import Blocked
from paybill.local import lock
from paybill.local.home import Home

_STEP_SECONDS = 0.1


@dataclass(frozen=True)
class RunningInstance:
    """An instance whose supervisor lives."""

    home: Home
    pid: int
    """The supervisor's process id."""
    ready: bool
    """Whether its supervisor said that everything answers."""
    api_url: str | None
    postgres_dsn: str | None
    """The superuser's connection string, password included: not for logs."""
    psql: str | None
    """A command line that opens a superuser's session; no password in it."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.home.kubeconfig


def find(home: Home) -> RunningInstance | None:
    """The instance that runs in ``home`` now, whoever started it; ``None`` when none does."""
    pid = lock.holder(home.lock)
    if pid is None:
        return None
    state = home.read_state()
    return RunningInstance(
        home, pid, state.get("ready") is True, state.get("api_url"), state.get("postgres_dsn"), state.get("psql")
    )


def wait_until_ready(home: Home, *, deadline: float) -> RunningInstance:
    """Wait for an instance that someone else is starting; Blocked when it ends or takes over ``deadline`` seconds."""
    ends = time.monotonic() + deadline
    while time.monotonic() < ends:
        running = find(home)
        if running is not None and running.ready:
            return running
        if running is None and not lock.is_held(home.lock):
            raise Blocked("NotStarted", f"the instance in {home.path} ended while it was starting: see {home.logs}")
        time.sleep(_STEP_SECONDS)
    raise Blocked("NotReady", f"the instance in {home.path} is not ready after {deadline:.0f} s: see {home.logs}")


def bring_down(home: Home, *, deadline: float) -> bool:
    """Stop the supervisor of ``home`` and wait until it is gone; whether there was one.

    After ``deadline`` seconds it is killed, and the kernel ends its programs with it.
    """
    if not _signal(home, signal.SIGTERM):
        return False
    if not _gone(home, deadline):
        _signal(home, signal.SIGKILL)
        if not _gone(home, 10.0):
            raise Blocked("CannotStop", f"the supervisor of {home.path} does not end, not even killed")
    return True


def purge(home: Home) -> bool:
    """Remove the data of an instance that does not run; whether there was any."""
    if lock.is_held(home.lock):
        raise Blocked("AlreadyRunning", f"the instance in {home.path} runs: stop it first")
    if not home.lock.exists():
        return False  # not ours: nothing is removed that no instance made
    for one in (home, *_servers(home)):
        for elsewhere in one.read_state().get("elsewhere", []):
            folder = Path(elsewhere)
            if folder.name.startswith(f"{one.name}-") or folder.name.startswith("paybill-"):
                shutil.rmtree(folder, ignore_errors=True)
    home.remove()
    return True


def _servers(home: Home) -> list[Home]:
    """The homes of the tenants' own servers."""
    return [Home(path) for path in sorted(home.servers.iterdir()) if path.is_dir()] if home.servers.is_dir() else []


def _signal(home: Home, number: signal.Signals) -> bool:
    """Send the signal to whoever holds the lock; it may need a moment to write its process id."""
    ends = time.monotonic() + 2.0
    while lock.is_held(home.lock) and time.monotonic() < ends:
        if (pid := lock.holder(home.lock)) is not None:
            os.kill(pid, number)
            return True
        time.sleep(_STEP_SECONDS)
    return False


def _gone(home: Home, seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while lock.is_held(home.lock):
        if time.monotonic() > ends:
            return False
        time.sleep(_STEP_SECONDS)
    return True
