"""Chains of hashes: what the log of the operator and the journals of agents have in common.

A row of a chain carries its place (n, from 1), the hash of the row before it and its own. Whoever has the rows can see
that one was altered, is missing or stands elsewhere; that the end was cut off shows only against a head that was
published outside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

GENESIS = bytes(32)


@dataclass(frozen=True)
class Head:
    """The newest row of one writer's chain, written as ``WRITER:N:HASH`` where it is published."""

    writer: UUID
    n: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.writer}:{self.n}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read ``WRITER:N:HASH``; raises ``ValueError`` when it is none."""
        writer, n, digest = text.strip().split(":")
        head = cls(UUID(writer), int(n), bytes.fromhex(digest))
        if head.n < 1 or len(head.hash) != len(GENESIS):
            raise ValueError(f"{text!r} is not the head of a chain")
        return head


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: ``kind`` is Altered, BrokenLink, Gap, Order, Unpaired or HeadMissing."""

    kind: str
    writer: UUID
    n: int
    message: str


@dataclass(frozen=True)
class Link:
    """What a chain needs to know of a row; ``expected`` is the hash that its content and ``prev_hash`` give."""

    writer: UUID
    n: int
    prev_hash: bytes
    hash: bytes
    expected: bytes
    says: str


def hashed(form: bytes, prev: bytes, content: bytes) -> bytes:
    """The hash of a row whose bytes are ``content``, as the one after the row whose hash is ``prev``."""
    return hashlib.sha256(form + prev + content).digest()


@dataclass
class Links:
    """The chains of any number of writers, checked row by row, so that a log of any length fits in memory."""

    published: Iterable[Head] = ()
    heads: dict[UUID, Head] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._expected = {(head.writer, head.n): head.hash for head in self.published}

    def add(self, link: Link) -> None:
        """Take the next row of its chain."""
        before = self.heads.get(link.writer) or Head(link.writer, 0, GENESIS)
        if link.n <= before.n:
            self.wrong("Order", link, f"row {link.n} comes after row {before.n}")
        elif link.n > before.n + 1:
            lost = f"row {before.n + 1} is" if link.n == before.n + 2 else f"rows {before.n + 1} to {link.n - 1} are"
            self.wrong("Gap", link, f"{lost} not there")
        elif link.prev_hash != before.hash:
            self.wrong("BrokenLink", link, f"row {link.n} does not hang on row {before.n}")
        if link.expected != link.hash:
            self.wrong("Altered", link, f"{link.says} is not what was hashed")

    def settle(self, link: Link) -> None:
        """Hold the row against what was published, and hang the next one on it."""
        expected = self._expected.pop((link.writer, link.n), None)
        if expected is not None and expected != link.hash:
            self.wrong("Altered", link, f"its hash {link.hash.hex()} is not the published {expected.hex()}")
        self.heads[link.writer] = Head(link.writer, link.n, link.hash)

    def missing(self) -> tuple[Problem, ...]:
        """Heads that were published and never came."""
        return tuple(
            Problem("HeadMissing", writer, n, f"row {n} of writer {writer} was published as a head and is not there")
            for writer, n in self._expected
        )

    def wrong(self, kind: str, link: Link, message: str) -> None:
        """Note that something is wrong at a row."""
        self.problems.append(Problem(kind, link.writer, link.n, f"writer {link.writer}: {message}"))
