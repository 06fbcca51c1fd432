"""What may be read by people holds no secret: every secret that an operation knows is replaced in every text of it.

A worker serves one operation, so what it knows is kept once for the process (``KNOWN``): the credentials it was
given, and whatever an engine learns while it works (passwords it made, outputs that are marked secret). Programs of
the user's own may print what they like; it passes through here before it reaches a log.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from paybill.engines.operation import Failed, Line, Progress, Request, Result

HIDDEN = "[secret]"
SHORTEST = 4
"""Shorter values are left alone: replacing them would make every text unreadable and hide next to nothing."""

_OPEN_NAME = re.compile(r"(^|_)(REGION|LOCATION|ZONE|PROJECT|SUBSCRIPTION_ID|TENANT_ID|PROFILE|ENVIRONMENT)$")
"""Names of credentials whose values are no secret, and occur in names that people need to read."""
_SECRET_FIELD = re.compile(r"secret|password|passphrase|private|token|key", re.IGNORECASE)


class Redactor:
    """Secrets, and how they are taken out of texts. Threads may share one."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()
        self.longest = 0
        """Length of the longest secret: what a cut text may still hold a part of."""

    def learn(self, *secrets: str | None) -> None:
        """Take these values for secrets from now on, also as they look in JSON, in URLs and line by line."""
        found = {form for secret in secrets if secret for form in _forms(secret) if len(form) >= SHORTEST}
        with self._lock:
            if found <= self._known:
                return
            self._known |= found
            # The longest first: a secret that begins with another one is replaced whole.
            ordered = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile("|".join(re.escape(one) for one in ordered))
            self.longest = len(ordered[0])

    def learn_request(self, request: Request) -> None:
        """Take what a request logs in with for secrets."""
        self.learn(*(value for name, value in request.credentials.items() if not _OPEN_NAME.search(name)))

    def learn_result(self, result: Result | None) -> None:
        """Take the passwords among the outputs for secrets."""
        if result is not None and result.outputs is not None and result.outputs.database is not None:
            self.learn(result.outputs.database.admin_password)

    def text(self, text: str) -> str:
        """``text`` without any secret."""
        return self._pattern.sub(HIDDEN, text) if self._pattern is not None else text

    def line(self, line: Line) -> Line:
        """A line without secrets, but for a result's outputs: to hand those over is what it is for."""
        match line:
            case Progress():
                hidden = {name: self.text(getattr(line, name)) for name in ("phase", "resource", "action")}
            case Failed():
                hidden = {name: self.text(getattr(line, name)) for name in ("reason", "message")}
            case Result():
                texts = {name: tuple(map(self.text, getattr(line, name))) for name in ("pending", "retained")}
                changes = tuple(one.model_copy(update=self._change(one.address, one.fields)) for one in line.changes)
                return line.model_copy(update=texts | {"changes": changes})
        return line.model_copy(update=hidden)

    def _change(self, address: str, fields: Iterable[str]) -> Mapping[str, Any]:
        return {"address": self.text(address), "fields": tuple(map(self.text, fields))}


KNOWN = Redactor()
"""What this process knows."""


def _forms(secret: str) -> set[str]:
    """How a secret may be written: as it is, escaped, and, of keys with several lines, each line of its own."""
    lines = {line.strip() for line in secret.splitlines() if len(line.strip()) >= 2 * SHORTEST}
    forms = {secret, secret.strip(), json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe="")} | lines
    if secret.lstrip().startswith("{"):
        forms |= {form for value in _secret_fields(secret) for form in _forms(value)}
    return forms


def _secret_fields(text: str) -> set[str]:
    """The secret strings of a JSON object, such as the key in a Google account's file."""
    try:
        content = json.loads(text)
    except ValueError:
        return set()
    return {value for name, value in content.items() if isinstance(value, str) and _SECRET_FIELD.search(name)}
