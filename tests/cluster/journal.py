"""The API server's own audit log between two marks: who asked for what, in the order of the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READS = frozenset({"get", "list"})
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Request:
    """One finished request. ``received`` and ``answered`` are RFC 3339 with microseconds and compare as text."""

    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    status: int
    received: str
    answered: str
    message: str = ""
    """The API server's words about a failure."""

    @property
    def what(self) -> str:
        """For counting: the verb with the resource."""
        return f"{self.verb} {self.resource}{'/' + self.subresource if self.subresource else ''}"


@dataclass
class Journal:
    """The log of one user from a mark on."""

    log: Path
    user: str
    mark: int = 0

    def begin(self) -> None:
        """Forget what was before now."""
        self.mark = self.log.stat().st_size

    def requests(self, *namespaces: str) -> list[Request]:
        """What the user asked since the mark, without leadership and watches; in these namespaces if any are given."""
        return [
            one for one in self.all() if one.user == self.user and one.verb != "watch" and one.resource != "leases"
            and (not namespaces or one.namespace in namespaces)
        ]  # fmt: skip

    def writes(self) -> list[Request]:
        """Writes, Events apart."""
        return [one for one in self.requests() if one.verb in WRITES and one.resource != "events"]

    def reads(self) -> list[Request]:
        return [one for one in self.requests() if one.verb in READS]

    def all(self) -> Iterator[Request]:
        """What everybody asked since the mark."""
        with self.log.open() as file:
            file.seek(self.mark)
            for line in file:
                if not line.endswith("\n"):
                    return  # still being written
                entry = json.loads(line)
                if entry["stage"] == "ResponseComplete" and entry.get("objectRef"):
                    yield _request(entry)


def _request(entry: dict[str, Any]) -> Request:
    target = entry["objectRef"]
    return Request(
        user=entry["user"]["username"],
        verb=entry["verb"],
        resource=target["resource"],
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        status=entry.get("responseStatus", {}).get("code", 0),
        received=entry["requestReceivedTimestamp"],
        answered=entry["stageTimestamp"],
        message=entry.get("responseStatus", {}).get("message", ""),
    )
