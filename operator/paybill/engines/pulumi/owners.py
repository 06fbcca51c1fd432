"""Who holds a stack's lock, and whether that can be said to be over.

The lock of a state in a file or bucket has no expiry and its holder gives no sign of life; the CLI's own `cancel`
deletes it, whether the holder lives or not, and two that write one state at once lose what the other made. So a lock
is taken away only from a holder that is proven gone: a process of this very host that does not run any more, or
whose id belongs to a process that started after the lock was taken. Everything else is somebody who may be working.

The host is known by its name, as in a pod, whose name is its own. Pods that share their node's network share its
name too: the operator must not run with hostNetwork.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from paybill.engines import processes
from paybill.engines.operation import Request

_OWNER = re.compile(r"created by (?P<user>\S*)@(?P<host>[^@\s]+) \(pid (?P<pid>\d+)\) at (?P<at>\S+)")
_CLOCK_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A holder of the lock, as the CLI reports it."""

    host: str
    pid: int
    at: dt.datetime
    """When it took the lock."""

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    @property
    def gone(self) -> bool:
        """Whether it is proven that it does not run any more."""
        if self.host != socket.gethostname():
            return False
        if not processes.lives(self.pid):
            return True
        try:
            started = processes.started_at(self.pid)
        except ProcessLookupError:
            return True
        return started > self.at.timestamp() + _CLOCK_SECONDS


def owners(text: str) -> tuple[Owner, ...]:
    """The holders that the CLI's error names."""
    found = []
    for one in _OWNER.finditer(text):
        at = dt.datetime.fromisoformat(one["at"])
        found.append(Owner(host=one["host"], pid=int(one["pid"]), at=at if at.tzinfo else at.astimezone()))
    return tuple(found)


def listed(request: Request) -> tuple[Owner, ...]:
    """The holders of a stack whose state is in a folder, read there; of other states only an attempt tells."""
    url = urlsplit(request.state_url or "")
    if url.scheme != "file":
        return ()
    locks = Path(unquote(url.path)) / ".pulumi" / "locks" / "organization" / request.inputs.project
    found = []
    for path in (locks / request.inputs.stack).glob("*.json"):
        try:
            content = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):  # it was given back meanwhile
            continue
        at = dt.datetime.fromisoformat(content["timestamp"])
        found.append(Owner(host=content["hostname"], pid=content["pid"], at=at))
    return tuple(found)
