"""One SQL statement with a sentence that says what it does, and two pieces of SQL that many statements share.

Identifiers and literals go through psycopg's composition only, although ids are validated: two locks on the one door
that matters.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Composed, Identifier


@dataclass(frozen=True)
class Statement:
    """One statement. A managed administrator runs it as the tenant's owner, or as one who may become it."""

    says: str
    sql: SQL | Composed
    as_owner: bool = False
    as_member: bool = False


def listed(names: Iterable[str]) -> Composable:
    """Identifiers with commas between."""
    return SQL(", ").join(Identifier(name) for name in names)


def grantee(name: str) -> Composable:
    """A role, or PUBLIC for the empty name."""
    return Identifier(name) if name else SQL("PUBLIC")
