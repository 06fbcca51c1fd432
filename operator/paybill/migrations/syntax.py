"""A file's statements as Postgres itself reads them.

``pgparse`` is Postgres' own parser (libpg_query) as a library, so nothing that the server would understand is missed
and nothing is taken for a statement that is a comment or a string. Nodes are the JSON that it gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pgparse

Node = dict[str, Any]


class SyntaxTrouble(Exception):  # noqa: N818 - it is trouble with somebody's file, not an error of ours
    """The text is no SQL. ``line`` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Statement:
    """One statement: the name of its node, the node, the line it begins on, its text."""

    kind: str
    node: Node
    line: int
    text: str

    @property
    def says(self) -> str:
        """Its beginning, on one line."""
        flat = " ".join(self.text.split())
        return flat if len(flat) <= 80 else f"{flat[:77]}..."


def statements(text: str) -> tuple[Statement, ...]:
    """The statements of ``text`` in order; raises SyntaxTrouble."""
    raw = text.encode()
    try:
        parsed = pgparse.parse(text)
    except pgparse.PGQueryError as error:
        # The position counts characters from 1.
        raise SyntaxTrouble(error.message, text.count("\n", 0, max(0, error.position - 1)) + 1) from None
    return tuple(_statement(raw, one) for one in parsed)


def _statement(raw: bytes, parsed: Node) -> Statement:
    start = parsed.get("stmt_location", 0)
    end = start + parsed["stmt_len"] if "stmt_len" in parsed else len(raw)
    begin = _begin(raw, start, end)
    (kind, node), *_ = parsed["stmt"].items()
    return Statement(kind, node, raw.count(b"\n", 0, begin) + 1, raw[begin:end].decode(errors="replace").strip())


def _begin(raw: bytes, start: int, end: int) -> int:
    """Where the statement's first word is: its place in the tree begins with the comments before it."""
    while start < end:
        if raw[start : start + 1].isspace():
            start += 1
        elif raw.startswith(b"--", start):
            line = raw.find(b"\n", start, end)
            start = end if line < 0 else line + 1
        elif raw.startswith(b"/*", start):
            depth, start = 1, start + 2
            while depth and start < end:  # comments of this kind nest
                step = {b"/*": 1, b"*/": -1}.get(raw[start : start + 2], 0)
                depth, start = depth + step, start + (2 if step else 1)
        else:
            break
    return start


def walk(node: Any) -> Iterator[tuple[str, Node]]:
    """Every node below ``node``, with its name."""
    if isinstance(node, list):
        for one in node:
            yield from walk(one)
    elif isinstance(node, dict):
        for name, value in node.items():
            if isinstance(value, dict):
                yield name, value
            yield from walk(value)


def strings(nodes: Any) -> list[str]:
    """The texts of a list of String nodes."""
    return [one["String"].get("sval", "") for one in nodes or () if "String" in one]
