"""What a run of terraform says while it works (its ``-json`` lines): progress for people, and what was really done.

Only addresses, types and actions are taken; values, which may be secret, are in other fields and are left there.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import Any

from paybill.desired.stack import Action, Change
from paybill.engines.operation import Progress
from paybill.engines.port import Tell
from paybill.engines.redaction import KNOWN

_STEPS: dict[Action, frozenset[str]] = {
    "create": frozenset({"create"}),
    "update": frozenset({"update"}),
    "delete": frozenset({"delete"}),
    "replace": frozenset({"create", "delete"}),
}


class Transcript:
    """The lines of one run."""

    def __init__(self, phase: str, tell: Tell) -> None:
        self._phase = phase
        self._tell = tell
        self._errors: list[str] = []
        self._other: list[str] = []
        self._begun: dict[str, set[str]] = defaultdict(set)
        self._done: dict[str, set[str]] = defaultdict(set)

    def take(self, line: str) -> None:
        """Take one line; what is no JSON is kept for the error message."""
        try:
            message = json.loads(line)
        except ValueError:
            self._other.append(line)
            return
        if not isinstance(message, dict):
            return
        match message.get("type"):
            case "apply_start" | "apply_complete" | "apply_errored" as kind:
                self._resource(kind, message.get("hook") or {})
            case "diagnostic":
                self._diagnostic(message.get("diagnostic") or {})

    def _resource(self, kind: str, hook: dict[str, Any]) -> None:
        address, action = str(hook.get("resource", {}).get("addr", "")), str(hook.get("action", ""))
        if kind == "apply_start":
            self._begun[address].add(action)
            self._tell(Progress(phase=self._phase, resource=address, action=action))
            return
        self._begun[address].discard(action)
        if kind == "apply_complete":
            self._done[address].add(action)

    def _diagnostic(self, diagnostic: dict[str, Any]) -> None:
        where = f"{diagnostic['address']}: " if diagnostic.get("address") else ""
        text = f"{where}{diagnostic.get('summary', '')}\n{diagnostic.get('detail', '')}".strip()
        sys.stderr.write(KNOWN.text(text) + "\n")  # the operation's log
        if diagnostic.get("severity") == "error":
            self._errors.append(text)

    @property
    def error_text(self) -> str:
        """All errors it told of."""
        return "\n".join(self._errors or self._other)

    @property
    def pending(self) -> tuple[str, ...]:
        """Addresses of what was begun and never ended."""
        return tuple(sorted(address for address, actions in self._begun.items() if actions))

    def done(self, planned: tuple[Change, ...]) -> tuple[Change, ...]:
        """What of ``planned`` was done; of half a replacement, the half."""
        found = []
        for change in planned:
            did = self._done.get(change.address, set()) & _STEPS[change.action]
            if did == _STEPS[change.action]:
                found.append(change)
            elif did:
                half: Action = "delete" if "delete" in did else "create"
                found.append(change.model_copy(update={"action": half}))
        return tuple(found)
