"""Ends what an agent's session may not do for longer: a login overrides every timeout that is a setting."""

from __future__ import annotations

from typing import Final

from paybill.databases.server import Session

# A transaction that waits for its client holds locks as a statement does.
_OVERDUE: Final = """
SELECT a.usename::text, pg_terminate_backend(a.pid)
  FROM pg_stat_activity a JOIN pb.agent g ON g.role = a.usename
 WHERE a.datname = current_database() AND a.state <> 'idle'
   AND clock_timestamp() - a.state_change > g.statement_timeout
 ORDER BY 1
"""


async def end_overdue(session: Session) -> tuple[str, ...]:
    """End every session of an agent that is at one thing for longer than its policy says; returns their logins."""
    rows = await (await session.execute(_OVERDUE)).fetchall()
    return tuple(role for role, ended in rows if ended)
