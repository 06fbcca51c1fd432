"""Looks at what tenants' sessions do on one server, with one query for all of them, and ends what is beyond limits.

A superuser, or a member of pg_read_all_stats, sees what every session does. Any other administrator sees that a
transaction is open and which locks it has, and no more: there the age of a transaction is how long it has been seen,
and who may be beyond a limit by that is looked at as a member of its login, in a transaction that is rolled back. The
same membership lets it cancel and terminate. So nothing of it lasts, and a crash leaves nothing behind.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import psycopg
from psycopg.sql import SQL

from paybill.databases.borrowed import join
from paybill.databases.server import Server, Session
from paybill.lifecycle.watchdog import (
    LEAST_RESERVE,
    RESERVE,
    RESTED,
    Breach,
    Limits,
    Watched,
    breach,
    hoarders,
    suspect,
)

_STRONG: Final = (
    "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
)  # fmt: skip
"""Modes that SELECT, INSERT, UPDATE and DELETE never take on a table."""

_LOGINS: Final = "^(pb_[0-9a-z]{8}_(app|ro|mig)_[ab]|pba_[0-9a-z]{8}_a_[-a-z0-9]+)$"
"""The logins that tenants, and their agents, have of their own; those of jobs, backups and moves are none of them."""
_TENANT: Final = "^pba?_([0-9a-z]{8})_"
_LOGIN: Final = re.compile(r"pb(a?)_([0-9a-z]{8})_([a-z]+)_")

_QUERY: Final = r"""
WITH seen AS MATERIALIZED (SELECT * FROM pg_stat_activity),
room AS MATERIALIZED (
  SELECT GREATEST(%(least)s::int, ceil(places * %(share)s::float8)::int) - (places - used) AS missing
    FROM (SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                 - COALESCE(current_setting('reserved_connections', true)::int, 0) AS places,
                 (SELECT COALESCE(sum(numbackends), 0)::int FROM pg_stat_database) AS used) AS now),
held AS MATERIALIZED (
  SELECT pid, min(virtualtransaction) FILTER (WHERE locktype = 'virtualxid') AS work,
         bool_or(locktype = 'relation' AND mode = ANY(%(strong)s)) AS locks_table
    FROM pg_locks WHERE pid IS NOT NULL GROUP BY pid),
waiting AS MATERIALIZED (
  SELECT pid, EXTRACT(epoch FROM clock_timestamp() - min(waitstart)) AS seconds, pg_blocking_pids(pid) AS keepers
    FROM pg_locks WHERE NOT granted GROUP BY pid),
keeps AS MATERIALIZED (
  SELECT keeper.pid, max(w.seconds) AS seconds
    FROM waiting w CROSS JOIN LATERAL unnest(w.keepers) AS blocker (pid)
    JOIN seen keeper ON keeper.pid = blocker.pid JOIN seen waiter ON waiter.pid = w.pid
   WHERE substring(keeper.usename FROM %(tenant)s) IS DISTINCT FROM substring(waiter.usename FROM %(tenant)s)
   GROUP BY keeper.pid)
SELECT room.missing, s.pid, s.usename::text, COALESCE(h.work, ''), s.backend_start IS NULL, s.state,
       EXTRACT(epoch FROM clock_timestamp() - s.query_start)::float8,
       EXTRACT(epoch FROM clock_timestamp() - s.xact_start)::float8,
       EXTRACT(epoch FROM clock_timestamp() - s.state_change)::float8,
       COALESCE(h.locks_table, false), COALESCE(k.seconds, 0)::float8
  FROM room
  LEFT JOIN (seen s LEFT JOIN held h ON h.pid = s.pid LEFT JOIN keeps k ON k.pid = s.pid)
    ON s.usename ~ %(logins)s
   AND (h.work IS NOT NULL OR room.missing > 0) AND (%(pids)s::int[] IS NULL OR s.pid = ANY(%(pids)s))
"""
"""What is missing to the reserve of connections, and each tenant's session with a transaction; all when some miss."""

_MAY: Final = """
SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
   AND pg_has_role(current_user, 'pg_signal_backend', 'USAGE')
"""
"""Whether every session can be seen and signalled as it is; always so for a superuser."""

_SIGNALS: Final = {"Cancel": "SELECT pg_cancel_backend(%s)", "Terminate": "SELECT pg_terminate_backend(%s)"}


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How long others may wait for a lock on a shared table, and how long a cancel has to help. In seconds."""

    lock_wait: float
    grace: float


LimitsOf = Callable[[str], Limits | None]
"""The limits of a tenant by its id; None for one whose sessions are nobody's business here."""


@dataclass(kw_only=True)
class Watchdog:
    """What is remembered of one server between two looks."""

    server: Server
    database: str
    """Which database it looks from: its own sessions are on that one."""
    clock: Callable[[], float] = time.monotonic
    refused: tuple[str, ...] = ()
    """Logins whose sessions the administrator may neither look at nor end, when it last had to."""
    _seen: dict[tuple[int, str], float] = field(default_factory=dict)
    _cancelled: dict[tuple[int, str], float] = field(default_factory=dict)

    async def look(self, limits_of: LimitsOf, bounds: Bounds) -> tuple[Breach, ...]:
        """Who is beyond a limit and what is to be done about it now; raises what the loss of the server is."""
        async with self.server.session(self.database) as session:
            sessions, missing = await self._read(session)
            here = [(one, limits) for one in sessions if (limits := self._limits(one, limits_of)) is not None]
            asked = [one for one, limits in here if suspect(one, limits, bounds.lock_wait)]
            asked += [one for one, _ in here if missing > 0 and one.hidden and (one.idle or 0.0) > RESTED]
            shown = await self._ask(session, asked) if asked else {}
        found = [self._judged(shown.get(one.key, one), limits, bounds) for one, limits in here]
        idle = [shown.get(one.key, one) for one, _ in here]
        full = hoarders(
            (one for one in idle if not one.hidden), Counter(one.tenant for one in idle), missing, self.server.ours
        )
        return (*(one for one in found if one is not None), *full)

    async def end(self, found: Breach, limits: Limits, bounds: Bounds) -> bool:
        """Cancel or terminate, unless the session is by now within its limits, or another one; whether it was done."""
        target, done = found.session, False
        async with self.server.session(self.database) as session, session.transaction() as alone:
            await self._join(session, [target.login])
            now = {one.key: one for one in (await _rows(session, [target.pid]))[0]}.get(target.key)
            if now is not None and now.login == target.login and self._still(found, now, limits, bounds):
                await session.execute(SQL(_SIGNALS[found.deed]), [target.pid])
                done = True
            raise psycopg.Rollback(alone)
        if done and found.deed == "Cancel":
            self._cancelled[target.key] = self.clock()
        return done

    def _still(self, found: Breach, now: Watched, limits: Limits, bounds: Bounds) -> bool:
        if found.rule == "HoardsConnections":
            return (now.idle or 0.0) > RESTED
        again = self._judged(now, limits, bounds)
        return again is not None and again.deed == found.deed

    def _judged(self, one: Watched, limits: Limits, bounds: Bounds) -> Breach | None:
        since = self._cancelled.get(one.key)
        return breach(one, limits, bounds.lock_wait, None if since is None else self.clock() - since, bounds.grace)

    def _limits(self, one: Watched, limits_of: LimitsOf) -> Limits | None:
        return None if one.pid in self.server.ours else limits_of(one.tenant)

    async def _read(self, session: Session) -> tuple[list[Watched], int]:
        """All sessions with a transaction; of hidden ones the age is how long they have been seen with this one."""
        found, missing = await _rows(session, None)
        now, keys = self.clock(), {one.key for one in found}
        self._seen = {key: since for key, since in self._seen.items() if key in keys}
        self._cancelled = {key: since for key, since in self._cancelled.items() if key in keys}
        return [self._aged(one, now) for one in found], missing

    def _aged(self, one: Watched, now: float) -> Watched:
        if not one.hidden:
            return one
        age = now - self._seen.setdefault(one.key, now)
        return replace(one, transaction=age) if one.work else replace(one, idle=age)

    async def _ask(self, session: Session, hidden: Iterable[Watched]) -> dict[tuple[int, str], Watched]:
        """What hidden sessions do, as a member of their logins; who may not be joined stays hidden, and is told of."""
        asked, refused = {one.pid: one.login for one in hidden}, list[str]()
        found: list[Watched] = []
        async with session.transaction() as alone:
            for login in sorted(set(asked.values())):
                try:
                    async with session.transaction():
                        await self._join(session, [login])
                except psycopg.errors.InsufficientPrivilege:
                    refused.append(login)
            found, _ = await _rows(session, list(asked))
            raise psycopg.Rollback(alone)
        self.refused = tuple(refused)
        return {one.key: one for one in found if not one.hidden}

    async def _join(self, session: Session, logins: Collection[str]) -> None:
        if await (await session.execute(_MAY)).fetchone() == (True,):
            return
        for login in logins:
            await session.execute(join(login, self.server.traits, inherit=True).sql)


async def _rows(session: Session, pids: list[int] | None) -> tuple[list[Watched], int]:
    values = {
        "logins": _LOGINS,
        "tenant": _TENANT,
        "pids": pids,
        "strong": list(_STRONG),
        "least": LEAST_RESERVE,
        "share": RESERVE,
    }
    rows = await (await session.execute(SQL(_QUERY), values)).fetchall()
    return [_watched(*row[1:]) for row in rows if row[1] is not None], int(rows[0][0])


def _watched(pid: int, login: str, work: str, hidden: bool, state: str | None, *ages: Any) -> Watched:
    query, transaction, changed, locks_table, keeps_waiting = ages
    of_agent, tenant, kind = _LOGIN.match(login).groups()  # type: ignore[union-attr]  # the query asks for no others
    paused = state is not None and state.startswith("idle in transaction")
    return Watched(
        pid=pid,
        tenant=tenant,
        login=login,
        kind="agent" if of_agent else kind,
        work=work,
        hidden=hidden,
        statement=query if state in ("active", "fastpath function call") else None,
        # One that was aborted holds neither a lock nor a snapshot any more.
        transaction=transaction if state != "idle in transaction (aborted)" else None,
        idle_in_transaction=changed if paused else None,
        idle=changed if state == "idle" else None,
        locks_table=locks_table,
        keeps_waiting=keeps_waiting,
    )
