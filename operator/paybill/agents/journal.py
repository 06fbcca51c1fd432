"""The journal of agents' runs: how a row is written down in bytes, and whether a journal is whole.

The rows are made in the database, in the transaction of what they tell of (pb.sql); here the same bytes are made
again from what was read. Every run is a chain of its own. Its head belongs outside of the tenant's database, because
who owns that can cut the end off.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from uuid import UUID

from paybill.audit.links import Head, Link, Links, Problem, hashed

_FORM = b"paybill.journal.v1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row as it is stored; ``role`` is the agent's login, ``digest`` of what was asked or of the rows written."""

    run: UUID
    seq: int
    time: datetime
    role: str
    kind: str
    step: str | None
    collection: str | None
    operation: str | None
    rows: int | None
    digest: str | None
    key: str | None
    workflow_hash: str
    policy_hash: str
    schema_hash: str
    prev_hash: bytes
    hash: bytes


COLUMNS = tuple(column.name for column in fields(Entry))


@dataclass(frozen=True)
class Report:
    """What verification found."""

    entries: int
    heads: tuple[Head, ...]
    problems: tuple[Problem, ...]

    @property
    def intact(self) -> bool:
        """Whether nothing was altered, removed or reordered, as far as the rows and the given heads can tell."""
        return not self.problems


def encode(entry: Entry) -> bytes:
    """The bytes that are hashed: a JSON list as Postgres' ``jsonb`` writes it."""
    values = [
        str(entry.run), entry.seq, entry.time.astimezone(UTC).isoformat(timespec="microseconds"), entry.role,
        entry.kind, entry.step, entry.collection, entry.operation, entry.rows, entry.digest, entry.key,
        entry.workflow_hash, entry.policy_hash, entry.schema_hash, entry.prev_hash.hex(),
    ]  # fmt: skip
    return json.dumps(values, ensure_ascii=False).encode()


def verify(entries: Iterable[Entry], heads: Iterable[Head] = (), ends: Iterable[Head] = ()) -> Report:
    """Check entries, each run's in the order of ``seq``, against themselves and against heads kept elsewhere.

    ``ends`` is what the runs themselves say is their newest row: nothing may be missing before it or come after it.
    Whoever can write both, the journal and the runs, is found by ``heads`` alone.
    """
    links, count, closed = Links(heads), 0, set[UUID]()
    for entry in entries:
        count += 1
        expected = hashed(_FORM, entry.prev_hash, encode(entry))
        link = Link(entry.run, entry.seq, entry.prev_hash, entry.hash, expected, f"row {entry.seq}")
        links.add(link)
        if (entry.kind == "opened") != (entry.seq == 1) or entry.run in closed:
            links.wrong("Order", link, f"row {entry.seq} comes before the run was opened or after it was closed")
        if entry.kind == "closed":
            closed.add(entry.run)
        links.settle(link)
    return Report(count, tuple(links.heads.values()), (*links.problems, *links.missing(), *_ends(links, ends)))


def _ends(links: Links, ends: Iterable[Head]) -> Iterator[Problem]:
    """Where the newest row of a run is another one than the run says."""
    for end in ends:
        newest = links.heads.get(end.writer)
        if newest is None or newest.n < end.n:
            said = f"writer {end.writer}: row {end.n}, the newest one by what its run says, is not there"
            yield Problem("HeadMissing", end.writer, end.n, said)
        elif newest != end:
            said = f"writer {end.writer}: row {newest.n} is not the newest one by what its run says"
            yield Problem("Unpaired", end.writer, newest.n, said)
