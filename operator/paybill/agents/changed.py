"""What of a tenant's tables became another since an agent's plan was made, in words, and whether it concerns the agent.

A migration of a table that no policy names is no business of an agent's. What concerns it are its own collections, and
those that follow them by foreign keys, because a delete or a changed key reaches into these.
"""

from __future__ import annotations

from collections.abc import Iterator

from paybill.agents.facts import Collection, Schema
from paybill.api.agent_policy import AgentPolicySpec


def concerns(policy: AgentPolicySpec, schema: Schema) -> Schema:
    """The part of ``schema`` that ``policy`` rests on."""
    named = {one.name for one in policy.collections}
    follows = {
        one.name for one in schema.collections if any(reference.collection in named for reference in one.references)
    }
    kept = tuple(one for one in schema.collections if one.name in named | follows)
    return schema.model_copy(update={"collections": kept})


def changes(before: Schema, now: Schema) -> Iterator[str]:
    """Everything that differs, one sentence's half for each table or column."""
    was, is_ = before.by_name, now.by_name
    for name in sorted(was.keys() | is_.keys()):
        match was.get(name), is_.get(name):
            case None, _:
                yield f"table {name} is new"
            case _, None:
                yield f"table {name} is gone"
            case Collection() as one, Collection() as other if one != other:
                yield from _columns(one, other)


def _columns(before: Collection, now: Collection) -> Iterator[str]:
    was, is_ = before.by_name, now.by_name
    for name in sorted(was.keys() | is_.keys()):
        one, other = was.get(name), is_.get(name)
        if one is None:
            yield f"column {now.name}.{name} is new"
        elif other is None:
            yield f"column {now.name}.{name} is gone"
        elif one.type != other.type:
            yield f"column {now.name}.{name} is {other.type}, was {one.type}"
        elif one != other:
            yield f"column {now.name}.{name} is another"
    if before.model_copy(update={"columns": ()}) != now.model_copy(update={"columns": ()}):
        yield f"keys of table {now.name} are others"
