"""What a tenant's session does beyond its limits, and what is done about it: the decision, without a server. Pure.

A login may set ``statement_timeout`` and the like as it pleases (research, attacks 31, 37 and 38), so limits that are
settings bind only who respects them. Whoever does not is measured from outside: first what runs is cancelled, and where
that does not help within the grace the session is ended. A session that runs nothing has nothing to cancel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal

Rule = Literal["StatementTooLong", "TransactionTooLong", "IdleInTransaction", "LocksSharedTable", "HoardsConnections"]
Deed = Literal["Cancel", "Terminate"]

SLACK: Final = 1.0
"""Seconds beyond a limit before the watchdog acts: the server's own time-out, where it stands, comes first."""
TRANSACTION: Final = 3600.0
"""Seconds that a transaction may be open where the Plan does not say."""
RESERVE: Final = 0.1
"""The share of a server's connections that idle sessions of tenants must leave to others."""
LEAST_RESERVE: Final = 3
RESTED: Final = 30.0
"""Seconds that a session must have been idle before it is ended to make room."""
QUIET: Final = timedelta(hours=1)
"""How long a tenant must have kept its limits before nothing is said of it any more."""
LEFT: Final = 1
"""Sessions that a tenant keeps however many are missing."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the sessions of one tenant may do. In seconds; None is no limit."""

    statement: float | None = None
    transaction: float = TRANSACTION
    idle_in_transaction: float | None = None
    shares_tables: bool = False
    """Whether its tables are other tenants' as well, so that a lock of its own keeps them waiting."""
    agents: Mapping[str, float] = field(default_factory=dict)
    """How long an agent's login may be at one thing, by login: by its own policy, and never longer than its tenant."""

    def of(self, login: str) -> Limits:
        """What the sessions of one login may do."""
        own = self.agents.get(login)
        if own is None:
            return self
        spans = [own if span is None else min(own, span) for span in (self.statement, self.idle_in_transaction)]
        return replace(self, statement=spans[0], idle_in_transaction=spans[1])


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One session of a tenant's login as it is now. Ages in seconds; None where there is nothing of the kind.

    ``work`` names the transaction that is open: with ``pid`` it says whether this is still the one that was cancelled.
    ``hidden``: the server does not show this administrator what the session does, only that a transaction is open.
    """

    pid: int
    tenant: str
    login: str
    kind: str = "app"
    work: str = ""
    hidden: bool = False
    statement: float | None = None
    transaction: float | None = None
    idle_in_transaction: float | None = None
    idle: float | None = None
    locks_table: bool = False
    """Whether it holds, or waits for, a lock on a table that no SELECT, INSERT, UPDATE or DELETE takes."""
    keeps_waiting: float = 0.0
    """How long somebody else has been waiting for it."""

    @property
    def key(self) -> tuple[int, str]:
        """What it is remembered by."""
        return self.pid, self.work


@dataclass(frozen=True, kw_only=True)
class Breach:
    """One session beyond one limit, both in seconds (connections: in sessions), and what is to be done now."""

    session: Watched
    rule: Rule
    measured: float
    limit: float
    deed: Deed

    @property
    def words(self) -> str:
        """In half a sentence, as Event, condition and audit log carry it."""
        measured, limit = f"{self.measured:.0f}", f"{self.limit:.0f}"
        said = {
            "StatementTooLong": f"ran a statement for {measured} s, {limit} s are allowed",
            "TransactionTooLong": f"had a transaction open for {measured} s, {limit} s are allowed",
            "IdleInTransaction": f"did nothing in an open transaction for {measured} s, {limit} s are allowed",
            "LocksSharedTable": f"kept others waiting for {measured} s with a lock on a whole shared table, {limit} s "
            "are allowed",
            "HoardsConnections": f"was one of {measured} sessions of this tenant while the server had none left for "
            "others, and idle",
        }
        return f"session {self.session.pid} of login {self.session.login} {said[self.rule]}"


def breach(session: Watched, limits: Limits, lock_wait: float, cancelled: float | None, grace: float) -> Breach | None:
    """What is to be done about a session now; None when nothing is.

    ``cancelled``: seconds since what it does was cancelled, None when it was not. ``lock_wait``: seconds that others
    may have to wait for a lock on a shared table.
    """
    found = _beyond(session, limits.of(session.login), lock_wait)
    if found is None or session.hidden:
        return None
    rule, measured, limit = found
    deed: Deed = "Cancel"
    if session.statement is None or (cancelled is not None and cancelled >= grace):
        deed = "Terminate"
    elif cancelled is not None:
        return None
    return Breach(session=session, rule=rule, measured=measured, limit=limit, deed=deed)


def suspect(session: Watched, limits: Limits, lock_wait: float) -> bool:
    """Whether a session whose doings are hidden may be beyond a limit, by how long its transaction has been open."""
    if not session.hidden:
        return False
    if _locks(session, limits, lock_wait):
        return True
    spans = [limits.transaction] if session.kind == "mig" else _spans(limits.of(session.login))
    return session.transaction is not None and session.transaction > min(spans) + SLACK


def _spans(limits: Limits) -> list[float]:
    spans = (limits.statement, limits.idle_in_transaction, limits.transaction)
    return [span for span in spans if span is not None]


def _beyond(session: Watched, limits: Limits, lock_wait: float) -> tuple[Rule, float, float] | None:
    """The limit that a session is beyond. A login for migrations may take its time with statements, as they do."""
    if _locks(session, limits, lock_wait):
        return "LocksSharedTable", session.keeps_waiting, lock_wait
    measured: list[tuple[Rule, float | None, float | None]] = [
        ("TransactionTooLong", session.transaction, limits.transaction)
    ]
    if session.kind != "mig":
        measured = [
            ("StatementTooLong", session.statement, limits.statement),
            ("IdleInTransaction", session.idle_in_transaction, limits.idle_in_transaction),
            *measured,
        ]
    for rule, age, limit in measured:
        if age is not None and limit is not None and age > limit + SLACK:
            return rule, age, limit
    return None


def _locks(session: Watched, limits: Limits, lock_wait: float) -> bool:
    return limits.shares_tables and session.kind != "mig" and session.locks_table and session.keeps_waiting > lock_wait


def hoarders(idle: Iterable[Watched], held: dict[str, int], missing: int, ours: Collection[int]) -> tuple[Breach, ...]:
    """The idle sessions to end so that ``missing`` connections become free: always of who holds the most by then.

    ``held``: the sessions of each tenant, whatever they do; ``ours``: process ids that are never touched.
    """
    waiting: dict[str, list[Watched]] = {}
    for session in sorted(idle, key=lambda one: (one.idle or 0.0, one.pid)):
        if session.pid not in ours and session.idle is not None and session.idle > RESTED:
            waiting.setdefault(session.tenant, []).append(session)
    left = Counter(held)
    found: list[Breach] = []
    while len(found) < missing:
        able = [one for one, sessions in waiting.items() if sessions and left[one] > LEFT]
        if not able:
            break
        most = max(able, key=lambda one: (left[one], one))
        session = waiting[most].pop()
        found.append(Breach(session=session, rule="HoardsConnections", measured=held[most], limit=0, deed="Terminate"))
        left[most] -= 1
    return tuple(found)


@dataclass(kw_only=True)
class Episode:
    """What a tenant's sessions did beyond limits since it last kept them for a while, each limit as it began."""

    since: datetime
    last: datetime
    said: dict[Rule, str] = field(default_factory=dict)

    @property
    def reason(self) -> Rule:
        """What it began with."""
        return next(iter(self.said))

    @property
    def words(self) -> str:
        """For people. The same words as long as no other limit comes to it: a condition is no log."""
        return f"since {self.since:%Y-%m-%dT%H:%M:%SZ}: {'; '.join(self.said.values())}"

    def over(self, now: datetime) -> bool:
        """Whether it has kept its limits for long enough."""
        return now - self.last >= QUIET
