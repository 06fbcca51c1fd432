"""Ends what an agent's session may not do for longer: a login overrides every timeout that is a setting."""

from __future__ import annotations

from typing import Final

from paybill.databases.server import Session

# A transaction that waits for its client holds locks as a statement does.
_OVERDUE: Final = """
  FROM pg_stat_activity a JOIN pb.agent g ON g.role = a.usename
 WHERE a.datname = current_database() AND a.usename = %s AND a.state <> 'idle'
   AND clock_timestamp() - a.state_change > g.statement_timeout
"""


async def overdue(session: Session, login: str) -> int:
    """How many sessions of an agent are at one thing for longer than its policy says."""
    row = await (await session.execute("SELECT count(*)" + _OVERDUE, [login])).fetchone()
    return int(row[0]) if row is not None else 0


async def end_overdue(session: Session, login: str) -> int:
    """End them; returns how many were ended."""
    rows = await (await session.execute("SELECT pg_terminate_backend(a.pid)" + _OVERDUE, [login])).fetchall()
    return sum(1 for (ended,) in rows if ended)
