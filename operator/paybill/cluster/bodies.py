"""What goes over the wire to the API server and comes back: a body written, a stream's lines, an error's words."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

# Apply bodies are read as YAML: a surrogate pair of JSON's escapes is an error there, and so are these, raw.
_NOT_IN_YAML = re.compile("[\x7f-\x9f\ufffe\uffff]")


def encoded(body: Any) -> bytes:
    """A request's body, read alike as JSON and as YAML."""
    text = json.dumps(body, ensure_ascii=False)
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


async def lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: aiohttp's own iteration stops at 64 KiB, less than one large object."""
    rest = b""
    async for chunk in stream.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield line


def message_of(body: bytes) -> str:
    """What an answer that is an error says."""
    try:
        answer = json.loads(body)
    except ValueError:
        return body[:200].decode(errors="replace")
    return str(answer.get("message", answer)) if isinstance(answer, dict) else str(answer)
