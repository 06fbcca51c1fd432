"""What tenants used is kept once per hour, the greater value stands, and only who leads may write it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from paybill.api.failures import Blocked
from paybill.control import take_epoch
from paybill.control.usage import KEPT, UsageRow, write_usage

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
ROW = UsageRow(tenant_id="k3x9m2qd", hour=HOUR, bytes=5, rows=None, connections=3, transactions=7)


async def kept(db):
    async with db.transaction() as connection:
        query = "SELECT tenant_id, hour, bytes, rows, connections, transactions FROM paybill.usage ORDER BY hour"
        return await (await connection.execute(query)).fetchall()


async def test_measured_again_in_its_hour_the_greater_value_stands(db, epoch):
    await write_usage(db, [ROW], epoch=epoch)
    await write_usage(db, [replace(ROW, bytes=4, rows=2, connections=9, transactions=1)], epoch=epoch)
    await write_usage(db, [replace(ROW, hour=HOUR + timedelta(hours=1))], epoch=epoch)

    assert await kept(db) == [
        ("k3x9m2qd", HOUR, 5, 2, 9, 7), ("k3x9m2qd", HOUR + timedelta(hours=1), 5, None, 3, 7),
    ]  # fmt: skip


async def test_what_is_older_than_a_bill_goes(db, epoch):
    await write_usage(
        db, [replace(ROW, hour=HOUR - KEPT - timedelta(hours=1)), replace(ROW, hour=HOUR - KEPT)], epoch=epoch
    )
    await write_usage(db, [ROW], epoch=epoch)

    assert [row[1] for row in await kept(db)] == [HOUR - KEPT, HOUR]


async def test_only_who_leads_writes(db, epoch):
    await take_epoch(db, holder="another")

    with pytest.raises(Blocked, match="epoch"):
        await write_usage(db, [ROW], epoch=epoch)

    assert await kept(db) == []


async def test_nothing_is_no_write(db):
    await write_usage(db, [], epoch=0)
    assert await kept(db) == []
