"""What an agent could learn of rows that it cannot see by writing: whether a key is taken, and whether a row exists.

A unique key is unique over all rows, and a foreign key finds all rows, whatever row security hides. A reference is
held to what the agent sees, so a hidden row is as good as none. A unique key cannot be: the write is refused, and that
tells. So such a write is warned of when the policy is compiled, counted as a row read, and refused in one word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from psycopg.sql import SQL, Composable, Identifier

from paybill.agents.facts import Collection, Reference, Schema
from paybill.api.agent_policy import AgentPolicySpec, CollectionPolicy, Create, RowRule, Update

_SEEN = "pba_seen"
"""The referred row in a check: a name that no table of a tenant's has."""
_WRITES = ("create", "update", "delete")


def warnings(policy: AgentPolicySpec, schema: Schema) -> tuple[str, ...]:
    """What the policy lets its agent find out all the same, one half of a sentence each; the policy fits ``schema``."""
    every = (told(policy, one, operation, schema) for one in policy.collections for operation in _WRITES)
    return tuple(dict.fromkeys(said for some in every for said in some))


def told(policy: AgentPolicySpec, one: CollectionPolicy, operation: str, schema: Schema) -> tuple[str, ...]:
    """What a refused ``operation`` (create, update, delete) on the collection of ``one`` would tell of hidden rows."""
    collection = schema.by_name[one.name]
    if operation == "delete":
        return tuple(_followers(policy, collection, schema)) if one.delete is not None else ()
    written = chosen(one, one.create if operation == "create" else one.update)
    # A key without columns is of expressions, and may be of any column.
    every = (*((collection.primary_key,) if collection.primary_key else ()), *collection.unique)
    keys = [key for key in every if written & set(key) or (written and not key)]
    said = [
        f"who gives {one.name} a value of {', '.join(key) or 'what a unique index is of'} learns whether a row that the"
        " agent may not see has it"
        for key in keys
        if not _shown(one, key)
    ]
    if operation == "update" and keys:
        said += _followers(policy, collection, schema)
    return tuple(dict.fromkeys(said))


def chosen(one: CollectionPolicy, write: Create | Update | None) -> set[str]:
    """The columns to which the agent gives a value of its own choice: not those that a rule holds to constants."""
    return set(write.fields) - _pinned(one.rows) - _pinned(write.check) if write is not None else set()


def unseen(policy: AgentPolicySpec, one: CollectionPolicy, schema: Schema) -> Iterator[str]:
    """References that the agent could point at rows that it cannot see, because it may not read their keys."""
    readable = {
        other.name: {*other.read.fields, *schema.by_name[other.name].primary_key}
        for other in policy.collections
        if other.read is not None and other.name in schema.by_name
    }
    for write, word in ((one.create, "create"), (one.update, "update")):
        for reference in _referring(schema.by_name[one.name], chosen(one, write)):
            if not set(reference.to) <= readable.get(reference.collection, set()):
                yield (
                    f"{word} gives {one.name}.{', '.join(reference.columns)} a key of {reference.collection} that the"
                    f" agent may not read: grant read of {', '.join(reference.to)} there, or hold the column to"
                    " constants in check"
                )


def visible(one: CollectionPolicy, collection: Collection, schema: str, write: Create | Update) -> Composable:
    """That whatever a row refers to by the agent's choice is seen by the agent, as SQL over ``collection``."""
    checks = [_seen(reference, collection, schema) for reference in _referring(collection, chosen(one, write))]
    return SQL(" AND ").join(checks) if checks else SQL("true")


def _referring(collection: Collection, written: set[str]) -> Iterator[Reference]:
    return (one for one in collection.references if written & set(one.columns))


def _seen(reference: Reference, collection: Collection, schema: str) -> Composable:
    # Qualified: the table that is referred to may have a column of the same name.
    own = [SQL("{}.{}").format(Identifier(collection.name), Identifier(name)) for name in reference.columns]
    same = (
        SQL("{}.{} = {}").format(Identifier(_SEEN), Identifier(name), mine)
        for name, mine in zip(reference.to, own, strict=True)
    )
    return SQL("({} OR EXISTS (SELECT FROM {} AS {} WHERE {}))").format(
        SQL(" OR ").join(SQL("{} IS NULL").format(one) for one in own),
        Identifier(schema, reference.collection),
        Identifier(_SEEN),
        SQL(" AND ").join(same),
    )


def _pinned(rule: RowRule | None) -> set[str]:
    """The columns that a rule holds to constants."""
    return {one.field for one in (rule.all or ()) if one.op in ("eq", "in")} if rule is not None else set()


def _shown(one: CollectionPolicy, key: Iterable[str]) -> bool:
    """Whether the agent may see every row that has the same key as one that it writes, and that key."""
    rules = [*(one.rows.all or ()), *(one.rows.any or ())] if one.rows is not None else []
    if one.read is None or not (named := set(key)):
        return False
    return named <= {*one.read.fields, *one.read.filterable} and {rule.field for rule in rules} <= named


def _followers(policy: AgentPolicySpec, collection: Collection, schema: Schema) -> Iterator[str]:
    """Rows of other tables that a row cannot leave behind."""
    granted = {one.name: one for one in policy.collections}
    for other in schema.collections:
        target = granted.get(other.name)
        if any(one.collection == collection.name for one in other.references) and (
            target is None or target.read is None or target.rows is not None
        ):
            yield (
                f"who takes a key of {collection.name} away learns whether a row of {other.name} that the agent may not"
                " see refers to it"
            )
