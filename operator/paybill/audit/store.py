"""Writing one batch of rows in one transaction, and finding out afterwards whether a batch that went wrong has landed.

The table and the epochs live in the control database (control/migrations); this module knows only their SQL, because
the log and the registry are independent of each other. A commit whose answer was lost may or may not have happened:
the chain itself tells, since its newest row is either the one we knew or the last one we tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from paybill.api.failures import Blocked
from paybill.audit.chain import COLUMNS, GENESIS, Head, Row, link
from paybill.audit.entries import Intent

FENCED_DRAW = """
    SELECT epoch, holder, ARRAY(SELECT nextval('paybill.audit_seq') FROM generate_series(1, %s))
    FROM paybill.epochs WHERE shard = %s FOR SHARE
"""
NEWEST = "SELECT n, hash FROM paybill.audit_log WHERE writer = %s ORDER BY n DESC LIMIT 1"
BEGUN = """
    SELECT coalesce(tenant_id, object), min(time) FROM paybill.audit_log
    WHERE destructive AND kind = 'intent' AND action = %s AND (%s::text IS NULL OR cell = %s) AND time >= %s
    GROUP BY coalesce(tenant_id, object)
"""
DESTROYED = """
    SELECT min(time) FROM paybill.audit_log
    WHERE tenant_id = %s AND object = %s AND inputs_digest = %s AND destructive AND kind = 'intent'
"""
_TYPES = {
    "seq": "bigint", "writer": "uuid", "n": "bigint", "time": "timestamptz", "epoch": "bigint", "step": "uuid",
    "destructive": "boolean", "prev_hash": "bytea", "hash": "bytea",
}  # fmt: skip
INSERT = sql.SQL("INSERT INTO paybill.audit_log ({}) SELECT * FROM unnest({})").format(
    sql.SQL(", ").join(map(sql.Identifier, COLUMNS)),
    sql.SQL(", ").join(sql.SQL("%s::{}[]").format(sql.SQL(_TYPES.get(name, "text"))) for name in COLUMNS),
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A row before it has its place in the chain."""

    kind: str
    step: UUID
    time: datetime
    intent: Intent
    result: str | None = None
    reason: str | None = None


def chained(drafts: Sequence[Draft], seqs: Sequence[int], after: Head, shard: str, epoch: int) -> list[Row]:
    """The rows of ``drafts``, each hanging on the one before and the first on ``after``."""
    rows, n, prev = [], after.n, after.hash
    for draft, seq in zip(drafts, seqs, strict=True):
        n += 1
        intent = draft.intent
        row = Row(
            seq, after.writer, n, draft.time, shard, epoch, draft.kind, draft.step, intent.tenant_id, intent.object,
            intent.action, intent.cause, intent.cell, intent.inputs_digest, draft.result, draft.reason,
            intent.destructive, prev, b"",
        )  # fmt: skip
        prev = link(prev, row)
        rows.append(replace(row, hash=prev))
    return rows


async def fenced_draw(connection: AsyncConnection[TupleRow], shard: str, epoch: int, count: int) -> list[int]:
    """Take the next ``count`` positions of the log, holding ``epoch`` as the newest until the transaction ends.

    Raises ``Blocked("EpochLost")`` when it is not.
    """
    row = await (await connection.execute(FENCED_DRAW, (count, shard))).fetchone()
    if row is None or outdated(row[0], epoch):
        newest = f"epoch {row[0]} was handed to {row[1]}" if row else "none was ever handed out"
        raise Blocked(
            "EpochLost",
            f"the audit log refuses epoch {epoch} of shard '{shard}': {newest}; this process no longer leads",
        )
    return list(row[2])


def outdated(newest: int, epoch: int) -> bool:
    """Whether another leader has taken a newer epoch than ours."""
    return newest != epoch


async def newest(connection: AsyncConnection[TupleRow], writer: UUID) -> Head:
    """The head of a writer's chain as the database has it (n = 0 for an empty one)."""
    row = await (await connection.execute(NEWEST, (writer,))).fetchone()
    return Head(writer, *row) if row else Head(writer, 0, GENESIS)


async def insert(connection: AsyncConnection[TupleRow], rows: Sequence[Row]) -> None:
    """Insert ``rows`` with one statement."""
    await connection.execute(INSERT, [[getattr(row, name) for row in rows] for name in COLUMNS])


async def begun_destructive(
    connection: AsyncConnection[TupleRow], action: str, cell: str | None, since: datetime
) -> dict[str, datetime]:
    """When the destructive ``action`` was first begun since ``since``, by the id of the tenant of ``cell`` (or any)."""
    rows = await (await connection.execute(BEGUN, (action, cell, cell, since))).fetchall()
    return {str(who): time for who, time in rows}


async def destroyed_by(
    connection: AsyncConnection[TupleRow], tenant_id: str, target: str, inputs_digest: str
) -> datetime | None:
    """When a destructive step with these very inputs was first begun for a tenant on behalf of ``target``."""
    row = await (await connection.execute(DESTROYED, (tenant_id, target, inputs_digest))).fetchone()
    return row[0] if row is not None else None
