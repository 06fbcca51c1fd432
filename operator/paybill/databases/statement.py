"""One SQL statement with a sentence that says what it does, and two pieces of SQL that many statements share.

Identifiers and literals go through psycopg's composition only, although ids are validated: two locks on the one door
that matters.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Composed, Identifier


@dataclass(frozen=True)
class Statement:
    """One statement.

    A superuser just runs it; a managed administrator acts as ``owner`` for it, or needs to be a ``member`` of a role.
    """

    says: str
    sql: SQL | Composed
    owner: str = ""
    member: str = ""


def listed(names: Iterable[str]) -> Composable:
    """Identifiers with commas between."""
    return SQL(", ").join(Identifier(name) for name in names)


def grantee(name: str) -> Composable:
    """A role, or PUBLIC for the empty name."""
    return Identifier(name) if name else SQL("PUBLIC")
