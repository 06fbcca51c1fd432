"""Holds the rules of shared tables against a pool's catalogs: what is there already, whoever made it and however.

The tables are the provider's, made by migrations that may have been looked at, or by hand at night. One look at the
catalogs costs the same for ten tenants and for ten thousand, and reads no row of anybody's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from paybill.databases.server import Session
from paybill.desired import sql_names as names
from paybill.desired.database_tenant import PoolDatabase
from paybill.isolation import shared_queries as queries
from paybill.isolation.rules import RULES, Rule

_BY_NAME: Final = {rule.name: rule for rule in RULES}


@dataclass(frozen=True, order=True)
class Finding:
    """One object that breaks one rule, by the rule's name."""

    rule: str
    subject: str

    @property
    def broken(self) -> Rule:
        """The rule."""
        return _BY_NAME[self.rule]

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}"


async def findings(session: Session, pool: PoolDatabase) -> tuple[Finding, ...]:
    """What breaks a rule in the pool database that ``session`` is open on, in the order of rules and names."""
    groups = [pool.name]
    if pool.holds == "Rows":
        groups += [names.TENANTS, names.ROWS_READ, names.ROWS_WRITE]
    found: set[Finding] = set()
    for query in queries.ALL:
        cursor = await session.execute(query.encode(), {"groups": groups, "fence": queries.FENCE})
        found |= {Finding(*row) for row in await cursor.fetchall()}
    return tuple(sorted(found))
