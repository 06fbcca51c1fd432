"""The six operations as models: what an agent may say, made of what the schema has and the policy grants.

There is no other way to say anything: no SQL, no joins, no expressions. A field that is not granted is not in the
schema of the tool, and naming it is an error like any other misspelt word. Schemas are the same bytes for the same
policy and tables, so a hash pins them.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import GenericAlias
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from paybill.agents.compatible import check
from paybill.agents.facts import Collection, Column, Schema
from paybill.agents.values import python_type
from paybill.api.agent_policy import AgentPolicySpec, CollectionPolicy
from paybill.api.canonical import digest

Operation = Literal["get", "list", "aggregate", "create", "update", "delete"]

MOST_CONDITIONS: Final = 10
MOST_VALUES: Final = 100
MOST_SORTS: Final = 2
_ORDERED: Final = ("Date", "Decimal", "Float", "Integer", "Text", "Time", "Timestamp")


class Said(BaseModel):
    """What an agent says: exactly the fields there are, of exactly their types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, regex_engine="rust-regex")


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One operation on one collection."""

    collection: str
    operation: Operation
    model: type[Said]

    @property
    def name(self) -> str:
        """As the agent knows it."""
        return f"{self.collection}.{self.operation}"

    @functools.cached_property
    def schema(self) -> dict[str, Any]:
        """Its JSON Schema, 2020-12."""
        return self.model.model_json_schema(mode="validation")

    @property
    def digest(self) -> str:
        """The hash of its schema."""
        return digest(self.schema)


def tools(policy: AgentPolicySpec, schema: Schema) -> tuple[Tool, ...]:
    """Every operation that ``policy`` grants on ``schema``, by name; raises ``Invalid`` where the two do not fit."""
    check(policy, schema)
    made = (tool for one in policy.collections for tool in _of(one, schema.by_name[one.name]))
    return tuple(sorted(made, key=lambda tool: tool.name))


def tools_digest(listed: Iterable[Tool]) -> str:
    """The hash of all of their schemas."""
    return digest({tool.name: tool.schema for tool in listed})


def _of(policy: CollectionPolicy, collection: Collection) -> Iterator[Tool]:
    def tool(operation: Operation, **fields: Any) -> Tool:
        name = f"{collection.name}.{operation}"
        return Tool(collection=collection.name, operation=operation, model=create_model(name, __base__=Said, **fields))

    columns = collection.by_name
    key = _record(f"{collection.name}.key", [columns[name] for name in collection.primary_key], required=True)
    filterable = [columns[name] for name in (policy.read.filterable if policy.read is not None else ())]
    where: Any = (_where(collection.name, filterable), Field(default=(), max_length=MOST_CONDITIONS))
    if policy.read is not None:
        yield tool("get", key=(key, ...))
        sort = _sort(collection.name, policy.read.sortable)
        limit = Annotated[int, Field(strict=True, ge=1, le=policy.read.max_rows)]
        yield tool("list", where=where, limit=(limit, policy.read.max_rows), **sort)
    if policy.aggregate is not None:
        yield tool("aggregate", where=where, **_aggregate(policy))
    if policy.create is not None:
        given = [columns[name] for name in policy.create.fields]
        yield tool("create", values=(_record(f"{collection.name}.new", given), ...))
    if policy.update is not None:
        given = [columns[name] for name in policy.update.fields]
        changes = _record(f"{collection.name}.changes", given, optional=True)
        fields: dict[str, Any] = {"key": (key, ...), "values": (changes, ...)}
        if policy.update.if_match is not None:
            fields["ifMatch"] = (python_type(columns[policy.update.if_match]), ...)
        yield tool("update", **fields)
    if policy.delete is not None:
        yield tool("delete", key=(key, ...))


def _record(name: str, columns: Iterable[Column], *, required: bool = False, optional: bool = False) -> type[Said]:
    """A value for each column: always there, never there, or as the column itself asks."""
    fields: dict[str, Any] = {}
    for column in columns:
        value: Any = python_type(column)
        if column.nullable and not required:
            value = value | None
        wanted = required or not (optional or column.nullable or column.defaulted)
        fields[column.name] = (value, ...) if wanted else (value, Field(default=None))
    return create_model(name, __base__=Said, **fields)


def _where(name: str, columns: Iterable[Column]) -> Any:
    conditions: list[Any] = [model for column in columns for model in _conditions(name, column)]
    return GenericAlias(tuple, (functools.reduce(operator.or_, conditions), ...) if conditions else ((),))


def _conditions(name: str, column: Column) -> Iterator[type[Said]]:
    """What can be asked of one column: each comparison is a model of its own, so a value always fits its operator."""
    value = python_type(column)
    compared = ("eq", "ne", "lt", "lte", "gt", "gte") if column.kind in _ORDERED else ("eq", "ne")
    field: Any = (Literal[column.name], ...)

    def model(what: str, ops: tuple[str, ...], **fields: Any) -> type[Said]:
        parts: Mapping[str, Any] = {"field": field, "op": (Literal[ops], ...), **fields}
        return create_model(f"{name}.{column.name}.{what}", __base__=Said, **parts)

    if column.kind != "Json":
        yield model("compare", compared, value=(value, ...))
        some = (GenericAlias(tuple, (value, ...)), Field(min_length=1, max_length=MOST_VALUES))
        yield model("among", ("in",), values=some)
    if column.nullable:
        yield model("missing", ("isNull",))
    if column.kind == "Text":
        yield model("prefix", ("startsWith",), value=(value, ...))


def _sort(name: str, sortable: tuple[str, ...]) -> dict[str, Any]:
    if not sortable:
        return {}
    fields: dict[str, Any] = {
        "field": (Literal[sortable], ...),
        "descending": (Annotated[bool, Field(strict=True)], False),
    }
    one = create_model(f"{name}.sort", __base__=Said, **fields)
    return {"sort": (tuple[one, ...], Field(default=(), max_length=MOST_SORTS))}


def _aggregate(policy: CollectionPolicy) -> dict[str, Any]:
    granted = policy.aggregate
    assert granted is not None  # noqa: S101 - the caller looked
    fields: dict[str, Any] = {"function": (Literal[granted.functions], ...)}
    if granted.fields:
        fields["field"] = (Literal[granted.fields] | None, None)
    if granted.group_by:
        fields["groupBy"] = (Literal[granted.group_by] | None, None)
    return fields
