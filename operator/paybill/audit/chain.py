"""The chain: how a row is written down in bytes, how it hangs on the one before, and what can be wrong with a log.

Pure, so that whoever has rows from a backup or an export can verify them without the operator. Every column but the
hash itself goes into the hash, in one canonical form; a chain starts at n = 1 from 32 zero bytes. What a chain cannot
show by itself is that its end was cut off: that takes a head that was published elsewhere (``Head``).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from uuid import UUID

from paybill.audit.links import GENESIS, Head, Link, Links, Problem, hashed

__all__ = [
    "COLUMNS",
    "GENESIS",
    "Head",
    "Problem",
    "Report",
    "Row",
    "Verification",
    "as_json",
    "encode",
    "link",
    "verify",
]

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
    return hashed(_FORMAT, prev, encode(row))


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
    _open: dict[UUID, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._links = Links(self.published)

    def add(self, row: Row) -> None:
        """Take the next row in the order of ``seq``."""
        self._count += 1
        expected = link(row.prev_hash, row)
        one = Link(row.writer, row.n, row.prev_hash, row.hash, expected, f"row {row.n} (seq {row.seq})")
        if row.seq <= self._seq:
            self._links.wrong("Order", one, f"seq {row.seq} comes after seq {self._seq}")
        self._seq = max(self._seq, row.seq)
        self._links.add(one)
        self._check_pair(row, one)
        self._links.settle(one)

    def report(self) -> Report:
        """What was found so far, taking the rows seen for the whole log."""
        links = self._links
        problems = (*links.problems, *links.missing())
        return Report(self._count, tuple(links.heads.values()), problems, tuple(self._open.values()))

    def _check_pair(self, row: Row, one: Link) -> None:
        if row.kind == "intent":
            self._open[row.step] = row
            return
        intent = self._open.pop(row.step, None)
        if intent is None:
            self._links.wrong("Unpaired", one, f"the outcome of step {row.step} has no intent before it")


def as_json(row: Row) -> Mapping[str, object]:
    """A row as plain JSON values, for export; ``Row`` can be rebuilt from it without loss."""
    values: dict[str, object] = {name: getattr(row, name) for name in COLUMNS}
    values["time"] = row.time.astimezone(UTC).isoformat(timespec="microseconds")
    for name in ("writer", "step"):
        values[name] = str(values[name])
    for name in ("prev_hash", "hash"):
        values[name] = getattr(row, name).hex()
    return values
