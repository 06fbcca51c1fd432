"""The chain: how a row is written down in bytes, how it hangs on the one before, and what can be wrong with a log.

Pure, so that whoever has rows from a backup or an export can verify them without the operator. Every column but the
hash itself goes into the hash, in one canonical form; a chain starts at n = 1 from 32 zero bytes. What a chain cannot
show by itself is that its end was cut off: that takes a head that was published elsewhere (``Head``).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from uuid import UUID

GENESIS = bytes(32)
_FORMAT = b"paybill.audit.v1\n"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the log as it is stored; ``time`` is aware, hashes are 32 bytes."""

    seq: int
    writer: UUID
    n: int
    time: datetime
    shard: str
    epoch: int
    kind: str
    step: UUID
    tenant_id: str | None
    object: str
    action: str
    cause: str
    cell: str | None
    inputs_digest: str | None
    result: str | None
    reason: str | None
    destructive: bool
    prev_hash: bytes
    hash: bytes


COLUMNS = tuple(column.name for column in fields(Row))


@dataclass(frozen=True)
class Head:
    """The newest row of one writer's chain, written as ``WRITER:N:HASH`` where it is published."""

    writer: UUID
    n: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.writer}:{self.n}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> "Head":
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
class Report:
    """What verification found; ``unfinished`` are the intents that have no outcome (a crash, or still under way)."""

    rows: int
    heads: tuple[Head, ...]
    problems: tuple[Problem, ...]
    unfinished: tuple[Row, ...]

    @property
    def intact(self) -> bool:
        """Whether nothing was altered, removed or reordered, as far as the rows and the given heads can tell."""
        return not self.problems


def encode(row: Row) -> bytes:
    """The canonical bytes of a row: a JSON list of its columns in order, without the hash, times in UTC."""
    values = [
        row.seq, str(row.writer), row.n, row.time.astimezone(UTC).isoformat(timespec="microseconds"), row.shard,
        row.epoch, row.kind, str(row.step), row.tenant_id, row.object, row.action, row.cause, row.cell,
        row.inputs_digest, row.result, row.reason, row.destructive, row.prev_hash.hex(),
    ]  # fmt: skip
    return json.dumps(values, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def link(prev: bytes, row: Row) -> bytes:
    """The hash of ``row`` as the one that follows the row whose hash is ``prev``."""
    return hashlib.sha256(_FORMAT + prev + encode(row)).digest()


def verify(rows: Iterable[Row], heads: Iterable[Head] = ()) -> Report:
    """Check rows, given in the order of ``seq``, against themselves and against heads published elsewhere."""
    verification = Verification(heads)
    for row in rows:
        verification.add(row)
    return verification.report()


@dataclass
class Verification:
    """A verification that takes one row at a time, so that a log of any length fits in memory."""

    published: Iterable[Head] = ()
    _count: int = 0
    _seq: int = 0
    _heads: dict[UUID, Head] = field(default_factory=dict)
    _open: dict[UUID, Row] = field(default_factory=dict)
    _problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._expected: dict[tuple[UUID, int], bytes] = {(head.writer, head.n): head.hash for head in self.published}

    def add(self, row: Row) -> None:
        """Take the next row in the order of ``seq``."""
        self._count += 1
        if row.seq <= self._seq:
            self._wrong("Order", row, f"seq {row.seq} comes after seq {self._seq}")
        self._seq = max(self._seq, row.seq)
        self._check_link(row)
        self._check_pair(row)
        expected = self._expected.get((row.writer, row.n))
        if expected is not None:
            del self._expected[row.writer, row.n]
            if expected != row.hash:
                self._wrong("Altered", row, f"its hash {row.hash.hex()} is not the published {expected.hex()}")
        self._heads[row.writer] = Head(row.writer, row.n, row.hash)

    def report(self) -> Report:
        """What was found so far, taking the rows seen for the whole log."""
        missing = [
            Problem("HeadMissing", writer, n, f"row {n} of writer {writer} was published as a head and is not there")
            for writer, n in self._expected
        ]
        return Report(self._count, tuple(self._heads.values()), (*self._problems, *missing), tuple(self._open.values()))

    def _check_link(self, row: Row) -> None:
        before = self._heads.get(row.writer) or Head(row.writer, 0, GENESIS)
        if row.n <= before.n:
            self._wrong("Order", row, f"row {row.n} comes after row {before.n}")
        elif row.n > before.n + 1:
            lost = f"row {before.n + 1} is" if row.n == before.n + 2 else f"rows {before.n + 1} to {row.n - 1} are"
            self._wrong("Gap", row, f"{lost} not there")
        elif row.prev_hash != before.hash:
            self._wrong("BrokenLink", row, f"row {row.n} does not hang on row {before.n}")
        if link(row.prev_hash, row) != row.hash:
            self._wrong("Altered", row, f"row {row.n} (seq {row.seq}) is not what was hashed")

    def _check_pair(self, row: Row) -> None:
        if row.kind == "intent":
            self._open[row.step] = row
            return
        intent = self._open.pop(row.step, None)
        if intent is None:
            self._wrong("Unpaired", row, f"the outcome of step {row.step} has no intent before it")

    def _wrong(self, kind: str, row: Row, message: str) -> None:
        self._problems.append(Problem(kind, row.writer, row.n, f"writer {row.writer}: {message}"))


def as_json(row: Row) -> Mapping[str, object]:
    """A row as plain JSON values, for export; ``Row`` can be rebuilt from it without loss."""
    values: dict[str, object] = {name: getattr(row, name) for name in COLUMNS}
    values["time"] = row.time.astimezone(UTC).isoformat(timespec="microseconds")
    for name in ("writer", "step"):
        values[name] = str(values[name])
    for name in ("prev_hash", "hash"):
        values[name] = getattr(row, name).hex()
    return values
