"""What a run that failed is told as: its place in the table of failures, a message for people, a lock's holder."""

from __future__ import annotations

import re
from dataclasses import dataclass

from paybill.engines.operation import Exit, Result
from paybill.engines.port import EngineError
from paybill.engines.redaction import KNOWN
from paybill.engines.terraform.failures import KINDS, UNKNOWN, Kind

LONGEST = 1500
"""Characters of a message; the whole text is in the operation's log."""


_FRAME = re.compile(r"^[\s╷│╵|]+", re.MULTILINE)
_LOCK_FIELD = re.compile(r"^\s*(ID|Who|Created|Operation):\s*(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Who holds a state, as the lock itself says."""

    id: str
    who: str
    created: str = ""


class LockedError(EngineError):
    """The state is locked; ``lock`` says by whom, where that is known."""

    lock: Lock | None = None


def lock_in(text: str) -> Lock | None:
    """The lock that an error text tells of."""
    found: dict[str, str] = dict(_LOCK_FIELD.findall(_FRAME.sub("", text)))
    if not found.get("ID"):
        return None
    return Lock(id=found["ID"], who=found.get("Who", ""), created=found.get("Created", ""))


def classify(text: str) -> Kind:
    """What sort of failure a text tells of."""
    plain = _FRAME.sub("", text)
    return next((kind for kind in KINDS if kind.pattern.search(plain)), UNKNOWN)


def failure(doing: str, text: str, *, result: Result | None = None) -> EngineError:
    """The error to raise for what a run said; ``doing`` says what failed, such as ``planning stack x``."""
    kind = classify(text)
    plain = re.sub(r"\s+", " ", _FRAME.sub("", text)).strip() or "it gave no reason"
    lock = lock_in(text) if kind.reason == "StateLocked" else None
    if lock is not None:
        plain = f"{lock.who} holds the lock {lock.id} since {lock.created or 'an unknown time'}"
    message = KNOWN.text(f"{doing} failed: {plain}")
    if len(message) > LONGEST:
        message = message[: LONGEST - 2] + " …"
    message = f"{message}; {kind.advice}"
    if kind.exit_code is not Exit.CONFLICT:
        return EngineError(kind.exit_code, kind.reason, message, result=result)
    locked = LockedError(kind.exit_code, kind.reason, message, result=result, holder=lock.who if lock else None)
    locked.lock = lock
    return locked
