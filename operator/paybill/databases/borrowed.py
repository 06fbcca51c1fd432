"""How a managed administrator does what only a tenant's owner may: it becomes a member for one transaction.

A cloud's administrator has CREATEROLE but is no superuser, so it cannot act for another role. It lets itself into the
owner role, does the work, and leaves before the commit: nobody ever sees the membership, and a crash undoes it.
"""

from collections.abc import Iterable, Iterator

from psycopg.sql import SQL, Identifier

from paybill.databases.statement import Statement
from paybill.desired.database_facts import ServerTraits


def borrowed(statements: Iterable[Statement], traits: ServerTraits) -> tuple[Statement, ...]:
    """``statements`` with what a managed administrator needs around them; unchanged for a superuser."""
    return tuple(statements) if traits.superuser else tuple(_around(statements, traits))


def _around(statements: Iterable[Statement], traits: ServerTraits) -> Iterator[Statement]:
    joined: list[str] = []
    acting = ""
    for statement in statements:
        role = statement.owner or statement.member
        if role and role not in joined:
            if acting:
                yield from _act("")
                acting = ""
            yield join(role, traits)
            joined.append(role)
        if statement.owner != acting:
            yield from _act(statement.owner)
            acting = statement.owner
        yield statement
    if acting:
        yield from _act("")
    yield from (leave(role, traits) for role in joined)


def _act(role: str) -> Iterator[Statement]:
    if role:
        yield Statement(f"act as {role}", SQL("SET LOCAL ROLE {}").format(Identifier(role)))
    else:
        yield Statement("act as oneself", SQL("SET LOCAL ROLE NONE"))


def join(role: str, traits: ServerTraits, *, inherit: bool = False) -> Statement:
    """Make the administrator a member of ``role``; with ``inherit`` it has the role's privileges at once."""
    options = f" WITH SET TRUE, INHERIT {inherit}" if traits.grant_options else ""
    return Statement(f"join {role}", SQL("GRANT {} TO {}" + options).format(Identifier(role), Identifier(traits.admin)))


def leave(role: str, traits: ServerTraits) -> Statement:
    """End the membership that ``join`` began; the administration that Postgres 16 gives to a creator stays."""
    by = SQL(" GRANTED BY {}").format(Identifier(traits.admin)) if traits.grant_options else SQL("")
    return Statement(f"leave {role}", SQL("REVOKE {} FROM {}{}").format(Identifier(role), Identifier(traits.admin), by))
