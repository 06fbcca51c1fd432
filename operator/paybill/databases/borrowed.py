"""How a managed administrator does what only a tenant's owner may: it becomes a member for one transaction.

A cloud's administrator has CREATEROLE but is no superuser, so it cannot act for another role. It lets itself into the
owner role, does the work, and leaves before the commit: nobody ever sees the membership, and a crash undoes it.
"""

from collections.abc import Iterable, Iterator

from psycopg.sql import SQL, Identifier

from paybill.databases.statement import Statement
from paybill.desired.database_facts import ServerTraits


def borrowed(statements: Iterable[Statement], owner: str, traits: ServerTraits) -> tuple[Statement, ...]:
    """``statements`` with what a managed administrator needs around them; unchanged for a superuser."""
    listed = tuple(statements)
    if traits.superuser or not any(s.as_owner or s.as_member for s in listed):
        return listed
    return tuple(_around(listed, owner, traits))


def _around(statements: Iterable[Statement], owner: str, traits: ServerTraits) -> Iterator[Statement]:
    member = acting = False
    for statement in statements:
        if not member and (statement.as_owner or statement.as_member):
            yield join(owner, traits)
            member = True
        if statement.as_owner and not acting:
            yield Statement(f"act as {owner}", SQL("SET LOCAL ROLE {}").format(Identifier(owner)))
        elif acting and not statement.as_owner:
            yield Statement("act as oneself", SQL("SET LOCAL ROLE NONE"))
        acting = statement.as_owner
        yield statement
    if acting:
        yield Statement("act as oneself", SQL("SET LOCAL ROLE NONE"))
    yield leave(owner, traits)


def join(role: str, traits: ServerTraits, *, inherit: bool = False) -> Statement:
    """Make the administrator a member of ``role``; with ``inherit`` it has the role's privileges at once."""
    options = f" WITH SET TRUE, INHERIT {inherit}" if traits.grant_options else ""
    return Statement(f"join {role}", SQL("GRANT {} TO {}" + options).format(Identifier(role), Identifier(traits.admin)))


def leave(role: str, traits: ServerTraits) -> Statement:
    """End the membership that ``join`` began; the administration that Postgres 16 gives to a creator stays."""
    by = SQL(" GRANTED BY {}").format(Identifier(traits.admin)) if traits.grant_options else SQL("")
    return Statement(f"leave {role}", SQL("REVOKE {} FROM {}{}").format(Identifier(role), Identifier(traits.admin), by))
