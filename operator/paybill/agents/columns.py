"""What an agent, or the gate it goes through, is granted on a table: columns, never the table.

A column that is not granted is closed to every use of it: WHERE, ORDER BY, RETURNING, the row as a whole. What hides
a column only when it is shown leaves it open to questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from psycopg.sql import SQL, Identifier

from paybill.agents.facts import Collection
from paybill.api.agent_policy import CollectionPolicy
from paybill.databases.statement import Statement, listed


def grants(
    policy: CollectionPolicy, collection: Collection, table: Identifier, schema: str, holder: str
) -> Iterator[Statement]:
    """The grants of one table to ``holder``."""
    seen, made, changed = _read(policy, collection), _made(policy), policy.update.fields if policy.update else ()
    yield from _grant("SELECT", seen, collection, table, holder)
    yield from _grant("INSERT", made, collection, table, holder)
    yield from _grant("UPDATE", changed, collection, table, holder)
    if policy.delete is not None:
        grant = SQL("GRANT DELETE ON {} TO {}").format(table, Identifier(holder))
        yield Statement(f"grant delete on {collection.name}", grant)
    if policy.create is not None:
        for column in collection.columns:
            if column.sequence and column.name not in made:
                sequence = Identifier(schema, column.sequence)
                grant = SQL("GRANT USAGE ON SEQUENCE {} TO {}").format(sequence, Identifier(holder))
                yield Statement(f"grant usage on {column.sequence}", grant)


def _grant(
    privilege: str, names: Iterable[str], collection: Collection, table: Identifier, holder: str
) -> Iterator[Statement]:
    # In the order of the table, so that the order in the policy makes no other plan.
    ordered = [column.name for column in collection.columns if column.name in set(names)]
    if ordered:
        what = SQL("GRANT {} ({}) ON {} TO {}").format(SQL(privilege), listed(ordered), table, Identifier(holder))
        yield Statement(f"grant {privilege.lower()} of {', '.join(ordered)} on {collection.name}", what)


def _read(policy: CollectionPolicy, collection: Collection) -> set[str]:
    found: set[str] = set()
    if (read := policy.read) is not None:
        found |= {*read.fields, *read.filterable, *read.sortable, *collection.primary_key}
    if (aggregate := policy.aggregate) is not None:
        found |= {*aggregate.fields, *aggregate.group_by}
    if policy.create is not None or policy.delete is not None:
        found |= set(collection.primary_key)
    if (update := policy.update) is not None:
        found |= {*collection.primary_key, *([update.if_match] if update.if_match is not None else [])}
    return found


def _made(policy: CollectionPolicy) -> set[str]:
    create = policy.create
    return {*create.fields, *(one.field for one in create.set)} if create is not None else set()
