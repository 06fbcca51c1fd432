"""Whether a policy fits the tables it is about, said in full before anything is compiled.

A policy that names what is not there is refused as a whole: half of it would be a policy that nobody wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from paybill.agents.facts import Collection, Schema
from paybill.agents.hidden import unseen
from paybill.api.agent_policy import AgentPolicySpec, CollectionPolicy, RowRule
from paybill.api.failures import Invalid

_TABLES = ("r", "p")
_FOLLOWS = ("Cascade", "SetNull", "SetDefault")
_NUMBERS = ("Decimal", "Float", "Integer")


def check(policy: AgentPolicySpec, schema: Schema) -> None:
    """Raise ``Invalid("PolicyDoesNotFit")`` with everything that does not fit."""
    wrong = [said for one in policy.collections for said in (*_collection(one, schema), *_rules(one))]
    wrong += [said for one in policy.collections if one.name in schema.by_name for said in unseen(policy, one, schema)]
    named = [one.name for one in policy.collections]
    wrong += [f"{name} is listed twice" for name in sorted({name for name in named if named.count(name) > 1})]
    if wrong:
        raise Invalid("PolicyDoesNotFit", f"agent {policy.agent}: {'; '.join(wrong)}")


def _collection(policy: CollectionPolicy, schema: Schema) -> Iterator[str]:
    collection = schema.by_name.get(policy.name)
    if collection is None:
        yield f"schema {schema.name} has no table {policy.name}"
        return
    if collection.kind not in _TABLES:
        yield f"{policy.name} is no table: row security does not reach through views and foreign tables"
        return
    if len(f"{policy.name}_aggregate") > 63:
        yield f"{policy.name} has a name of more than 53 characters"
    yield from _names(policy, collection)
    yield from _operations(policy, collection)
    if policy.delete is not None:
        yield from _reached(collection, schema, on="on_delete", word="deletes from it")
    if policy.update is not None:
        changed = {name for one in (collection.primary_key, *collection.unique) for name in one}
        if changed & set(policy.update.fields):
            yield from _reached(collection, schema, on="on_update", word="changes its keys")


def _names(policy: CollectionPolicy, collection: Collection) -> Iterator[str]:
    for where, names in _named(policy):
        for name in names:
            column = collection.by_name.get(name)
            if column is None:
                yield f"{policy.name} has no column {name}, which {where} names"
            elif column.kind == "Opaque":
                yield f"column {policy.name}.{name} has type {column.type}, which no agent can be given ({where})"


def _named(policy: CollectionPolicy) -> Iterator[tuple[str, Iterable[str]]]:
    yield "rows", _ruled(policy.rows)
    yield "untrusted", policy.untrusted
    if (read := policy.read) is not None:
        yield from (("read.fields", read.fields), ("read.filterable", read.filterable))
        yield from (("read.sortable", read.sortable), ("read.requireEq", read.require_eq))
    if (aggregate := policy.aggregate) is not None:
        yield from (("aggregate.fields", aggregate.fields), ("aggregate.groupBy", aggregate.group_by))
    if (create := policy.create) is not None:
        yield from (("create.fields", create.fields), ("create.set", [one.field for one in create.set]))
        yield "create.check", _ruled(create.check)
    if (update := policy.update) is not None:
        yield from (("update.fields", update.fields), ("update.check", _ruled(update.check)))
        yield "update.ifMatch", [update.if_match] if update.if_match is not None else []


def _ruled(rule: RowRule | None) -> list[str]:
    return [one.field for one in (*(rule.all or ()), *(rule.any or ()))] if rule is not None else []


def _rules(policy: CollectionPolicy) -> Iterator[str]:
    """What the API server's rules say of a rule, for whoever comes from a file."""
    checks = (one.check for one in (policy.create, policy.update) if one is not None)
    for rule in (policy.rows, *checks):
        if rule is None:
            continue
        if not rule.all and not rule.any:
            yield f"{policy.name} has a rule without a condition: leave it out to mean every row"
        for one in (*(rule.all or ()), *(rule.any or ())):
            wanted = {"in": (False, True), "isNull": (False, False)}.get(one.op, (True, False))
            if (one.value is not None, bool(one.values)) != wanted:
                yield f"{policy.name}.{one.field}: op in takes values, op isNull nothing, every other op takes value"


def _operations(policy: CollectionPolicy, collection: Collection) -> Iterator[str]:
    if (policy.read or policy.update or policy.delete) and not collection.primary_key:
        yield f"{policy.name} has no primary key, so no row of it can be named"
    if policy.read is not None:
        missing = sorted(set(policy.read.require_eq) - set(policy.read.filterable))
        if missing:
            yield f"{policy.name}: read.requireEq names {', '.join(missing)}, which read.filterable does not"
    if policy.aggregate is not None:
        for name in policy.aggregate.fields:
            column = collection.by_name.get(name)
            if column is not None and column.kind not in _NUMBERS:
                yield f"{policy.name}.{name} is no number, so it cannot be added up"
    if policy.create is not None:
        given = {*policy.create.fields, *(one.field for one in policy.create.set)}
        for column in collection.columns:
            if column.name in given and column.generated:
                yield f"{policy.name}.{column.name} is written by the server alone"
            if column.name not in given and not column.nullable and not column.defaulted:
                yield f"{policy.name}.{column.name} must have a value: name it in create.fields or create.set"
    if policy.update is not None:
        for name in policy.update.fields:
            found = collection.by_name.get(name)
            if found is not None and found.generated:
                yield f"{policy.name}.{name} is written by the server alone"


def _reached(collection: Collection, schema: Schema, *, on: str, word: str) -> Iterator[str]:
    """Other tables that a write would change behind the back of everything that counts writes."""
    for other in schema.collections:
        for reference in other.references:
            if reference.collection == collection.name and getattr(reference, on) in _FOLLOWS:
                yield f"{other.name} refers to {collection.name} and follows it: an agent that {word} would change both"
