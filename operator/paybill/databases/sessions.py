"""Ends tenants' sessions: closing a login does not end the sessions it has, so they are ended one by one."""

import asyncio
from collections.abc import Collection
from typing import Final

from paybill.api.failures import Retry
from paybill.databases.borrowed import join, leave
from paybill.databases.server import Session
from paybill.desired.database_facts import ServerTraits

DEADLINE: Final = 10.0
"""Seconds that ``end_sessions`` waits before it asks to be called again."""

_OPEN: Final = """
SELECT a.pid, a.usename::text FROM pg_stat_activity a
 WHERE a.usename = ANY(%s) ORDER BY a.pid
"""


async def end_sessions(session: Session, traits: ServerTraits, logins: Collection[str]) -> tuple[str, ...]:
    """End all sessions of ``logins`` and wait until none is left; returns what to report.

    The logins must be closed and that committed before, else new sessions come as old ones go. Raises
    ``Retry("SessionsStillOpen")`` after ``DEADLINE``.
    """
    ended: set[int] = set()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE
    while True:
        cursor = await session.execute(_OPEN, [sorted(logins)])
        found = await cursor.fetchall()
        if not found:
            return (f"ended {len(ended)} sessions",) if ended else ()
        if loop.time() > deadline:
            who = ", ".join(sorted({login for _, login in found}))
            raise Retry("SessionsStillOpen", f"{len(found)} sessions of {who} do not end", after=5)
        ended |= {pid for pid, _ in found}
        await _terminate(session, traits, dict(found))
        await asyncio.sleep(0.02)


async def _terminate(session: Session, traits: ServerTraits, found: dict[int, str]) -> None:
    async with session.transaction():
        borrowed = [] if traits.superuser else sorted(set(found.values()))
        for role in borrowed:
            await session.execute(join(role, traits, inherit=True).sql)
        # The name is checked again at the kill: a process id may have gone to another session meanwhile.
        await session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY(%s) AND usename = ANY(%s)",
            [list(found), sorted(set(found.values()))],
        )
        for role in borrowed:
            await session.execute(leave(role, traits).sql)
