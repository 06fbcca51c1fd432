"""Waiting for what other sessions do, with a deadline."""

import asyncio


async def until_waiting(db, sessions: int) -> None:
    """Until so many sessions of this database wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(20):
        while True:
            async with db.transaction() as connection:
                if (await (await connection.execute(waiting)).fetchone())[0] >= sessions:
                    return
            await asyncio.sleep(0.01)
