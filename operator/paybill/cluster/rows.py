"""One object of ours as the store keeps it, and how little of it: what tenants have in common is kept once.

Ten thousand tenants have eighty thousand objects of 0.7 kB, which differ mostly by the id in their names and labels.
With the id taken out, the limits, accounts and policies of all tenants are one and the same text.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from paybill.desired import names
from paybill.desired.resource import Object

_OWNER = b"\0"
"""Stands for the owner in a text; JSON escapes it, so no text has one of its own."""
_SHARED_AT_MOST = 4096


@dataclass(frozen=True, slots=True)
class Row:
    """One object as last seen: its uid and resourceVersion, whose it is, and its content as JSON without that owner."""

    uid: str
    version: str
    owner: str | None
    content: bytes

    def parsed(self) -> dict[str, Any]:
        """The content as a mapping."""
        text = self.content if self.owner is None else self.content.replace(_OWNER, self.owner.encode())
        answer: dict[str, Any] = json.loads(text)
        return answer


class Contents:
    """Makes rows, and gives those with the same content the very same bytes."""

    def __init__(self) -> None:
        self._shared: dict[bytes, bytes] = {}

    def row(self, obj: Object) -> Row:
        """The row of an object as the API server sent it."""
        metadata = obj["metadata"]
        kept = {name: metadata[name] for name in ("name", "namespace", "labels", "annotations") if name in metadata}
        if "deletionTimestamp" in metadata:
            kept["deletionTimestamp"] = metadata["deletionTimestamp"]
        content = {name: value for name, value in obj.items() if name not in {"metadata", "apiVersion"}}
        labels = metadata.get("labels", {})
        owner = labels.get(names.TENANT_LABEL) or labels.get(names.CELL_LABEL)
        text = to_json({**content, "metadata": kept})
        if owner:
            owner, text = sys.intern(owner), text.replace(owner.encode(), _OWNER)
        return Row(metadata["uid"], metadata["resourceVersion"], owner or None, self._share(text))

    def _share(self, text: bytes) -> bytes:
        # What is not shared costs its bytes, no more: forgetting all of it now and then keeps this from growing.
        if len(self._shared) >= _SHARED_AT_MOST:
            self._shared.clear()
        return self._shared.setdefault(text, text)
