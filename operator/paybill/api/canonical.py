"""One text for one value, so that a hash names it: JSON with sorted keys and without spaces."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(content: dict[str, Any]) -> str:
    """``sha256:`` and the hash of ``content`` as JSON with sorted keys and without spaces, in UTF-8."""
    return "sha256:" + hashlib.sha256(text(content).encode()).hexdigest()


def text(content: Any) -> str:
    """``content`` as JSON with sorted keys and without spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
