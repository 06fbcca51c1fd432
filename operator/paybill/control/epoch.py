"""The epoch: a number the control database hands to each new leader, so that what an older one still writes is refused.

A Kubernetes Lease cannot fence: its transitions do not grow when the same identity wins again, and start over when it
is deleted. So the winner of the Lease takes the next number here, and every write asserts, in its own transaction,
that its number is still the newest. The shared row lock holds until that transaction ends: a newer leader gets its
number only after the older one's last write has committed.
"""

import os
import platform
import secrets

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from paybill.api.failures import Blocked
from paybill.control.database import ControlDatabase

TAKE = """
    INSERT INTO paybill.epochs AS e (shard, epoch, holder) VALUES (%s, 1, %s)
    ON CONFLICT (shard) DO UPDATE SET epoch = e.epoch + 1, holder = excluded.holder, taken_time = now()
    RETURNING epoch
"""
FENCED = sql.SQL("WITH fence AS (SELECT FROM paybill.epochs WHERE shard = %s AND epoch = %s FOR SHARE) ")
"""Begins a statement that writes only FROM fence: one round trip where the fence alone would take three more.

It writes nothing when the epoch is not the newest; ``assert_epoch`` then says so.
"""
FENCE = "SELECT epoch, holder FROM paybill.epochs WHERE shard = %s FOR SHARE"


def process_identity() -> str:
    """A name for this process that no other shares, not even its own next start: ``host/pid/random``."""
    return f"{platform.node()}/{os.getpid()}/{secrets.token_hex(4)}"


async def take_epoch(db: ControlDatabase, shard: str = "", *, holder: str | None = None) -> int:
    """Take the next epoch of ``shard``; to be called once after the Lease was won, before anything is written."""
    async with db.transaction() as connection:
        cursor = await connection.execute(TAKE, (shard, holder or process_identity()))
        row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - RETURNING of an upsert that has no WHERE
    return int(row[0])


async def outgrow_epoch(db: ControlDatabase, epoch: int, beyond: int, shard: str = "") -> None:
    """Let the next leader's epoch of ``shard`` be greater than ``beyond``, if we hold the newest.

    A tenants' server may have seen a greater one than a control database that was restored from a backup.
    """
    async with db.transaction() as connection:
        await assert_epoch(connection, epoch, shard)
        await connection.execute(
            "UPDATE paybill.epochs SET epoch = greatest(epoch, %s) WHERE shard = %s", (beyond, shard)
        )


async def assert_epoch(connection: AsyncConnection[TupleRow], epoch: int, shard: str = "") -> None:
    """Hold ``epoch`` as the newest of ``shard`` until the transaction of ``connection`` ends.

    Raises ``Blocked("EpochLost")`` when a newer one was handed out (or none ever was).
    """
    row = await (await connection.execute(FENCE, (shard,))).fetchone()
    if row is None or row[0] != epoch:
        newest = f"epoch {row[0]} was handed to {row[1]}" if row else "none was ever handed out"
        raise Blocked(
            "EpochLost",
            f"this process holds epoch {epoch} of shard '{shard}' but {newest}: it no longer leads and must stop",
        )


async def fenced_write(
    db: ControlDatabase, statement: str, values: tuple[object, ...], epoch: int, shard: str = ""
) -> None:
    """Carry a statement out in a transaction that holds ``epoch``; raises as ``assert_epoch`` does."""
    async with db.transaction() as connection:
        await assert_epoch(connection, epoch, shard)
        await connection.execute(statement.encode(), values)
