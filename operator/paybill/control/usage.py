"""What tenants used, hour by hour: one row per tenant and hour, for bills and for who looks for room.

A row is written once; measured again within its hour, the greater value stands, so that neither a restart nor a second
leader can make a tenant's use look smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from paybill.control.database import ControlDatabase
from paybill.control.epoch import assert_epoch

KEPT: Final = timedelta(days=400)
"""How long a row is kept: a year and the month that is being billed."""
_PRUNED_AT_ONCE: Final = 10_000

_WRITE = """
INSERT INTO paybill.usage AS u (tenant_id, hour, bytes, rows, connections, transactions)
SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::int[], %s::bigint[])
ON CONFLICT (tenant_id, hour) DO UPDATE SET bytes = greatest(u.bytes, excluded.bytes),
  rows = greatest(u.rows, excluded.rows), connections = greatest(u.connections, excluded.connections),
  transactions = greatest(u.transactions, excluded.transactions)
"""
_PRUNE = """
DELETE FROM paybill.usage WHERE (tenant_id, hour) IN
  (SELECT tenant_id, hour FROM paybill.usage WHERE hour < %s ORDER BY hour LIMIT %s)
"""


_LATEST = """
SELECT one.id, last.bytes FROM unnest(%s::text[]) AS one (id), LATERAL
  (SELECT bytes FROM paybill.usage WHERE tenant_id = one.id AND bytes IS NOT NULL ORDER BY hour DESC LIMIT 1) AS last
"""


@dataclass(frozen=True, kw_only=True)
class UsageRow:
    """What one tenant used in one hour: the measure of that hour, and the most connections seen in it.

    ``transactions`` is the server's counter, not a difference: it starts over when the server loses its statistics.
    """

    tenant_id: str
    hour: datetime
    bytes: int | None
    rows: int | None
    connections: int
    transactions: int | None


async def write_usage(db: ControlDatabase, rows: Sequence[UsageRow], *, epoch: int, shard: str = "") -> None:
    """Write rows in one statement and let the oldest go; raises ``Blocked("EpochLost")`` when we lead no more."""
    if not rows:
        return
    columns = [
        [getattr(row, name) for row in rows]
        for name in ("tenant_id", "hour", "bytes", "rows", "connections", "transactions")
    ]
    async with db.transaction() as connection:
        await assert_epoch(connection, epoch, shard)
        await connection.execute(_WRITE, columns)
        await connection.execute(_PRUNE, (max(row.hour for row in rows) - KEPT, _PRUNED_AT_ONCE))


async def latest_bytes(db: ControlDatabase, ids: Iterable[str]) -> dict[str, int]:
    """Tenant id → the bytes that its last row with any says, of those that have one."""
    async with db.transaction() as connection:
        rows = await (await connection.execute(_LATEST, (sorted(ids),))).fetchall()
    return dict(rows)
