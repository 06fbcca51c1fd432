"""What pydantic writes and the API server would refuse, drop or crash on, becomes what the server means."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from paybill.api.failures import Invalid
from paybill.api.schema import structural, translate, without_defaults


class Inner(BaseModel):
    """Within."""

    size: int = 3


class Node(BaseModel):
    child: Node | None = None


def schema_of(annotation: Any, default: Any = ..., **field: Any) -> dict[str, Any]:
    """The structural schema of one field of that type."""
    namespace = {"__annotations__": {"x": annotation}, "x": Field(default, **field), "__module__": __name__}
    return structural(type("M", (BaseModel,), namespace))["properties"]["x"]


INT = {"type": "integer", "format": "int64"}
STRING = {"type": "string"}

TRANSLATED = [
    ("an optional field has no null arm and no null default", (int | None, None), {}, INT),
    ("an optional object is in place", (Inner | None, None), {},
     {"description": "Within.", "type": "object", "properties": {"size": {**INT, "default": 3}}}),
    ("a reference is in place, and its own description gives way", (Inner,), {"description": "Here."},
     {"description": "Here.", "type": "object", "properties": {"size": {**INT, "default": 3}}}),
    ("an integer or a string", (int | str,), {}, {"x-kubernetes-int-or-string": True}),
    ("an integer, a string or nothing", (int | str | None, None), {}, {"x-kubernetes-int-or-string": True}),
    ("a constant is an enum of one, not dropped", (Literal["Base"],), {}, {**STRING, "enum": ["Base"]}),
    ("a choice is an enum", (Literal["A", "B"],), {}, {**STRING, "enum": ["A", "B"]}),
    ("an optional choice has no null in its enum", (Literal["A"] | None, None), {}, {**STRING, "enum": ["A"]}),
    ("more than is a bound and a flag", (int,), {"gt": 0}, {**INT, "minimum": 0, "exclusiveMinimum": True}),
    ("less than is a bound and a flag", (int,), {"lt": 9}, {**INT, "maximum": 9, "exclusiveMaximum": True}),
    ("at least stays", (int,), {"ge": 1}, {**INT, "minimum": 1}),
    ("anything at all is kept as it is", (Any,), {}, {"x-kubernetes-preserve-unknown-fields": True}),
    ("a map to anything is kept as it is", (dict[str, Any],), {},
     {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    ("a map to text", (dict[str, str],), {}, {"type": "object", "additionalProperties": STRING}),
    ("a set of scalars is a list of type set", (set[str],), {},
     {"type": "array", "items": STRING, "x-kubernetes-list-type": "set"}),
    ("a list of any length", (tuple[int, ...],), {}, {"type": "array", "items": INT}),
    ("a default", (int, 3), {}, {**INT, "default": 3}),
    ("a default of false", (bool, False), {}, {"type": "boolean", "default": False}),
    ("an empty list is no default", (tuple[int, ...], ()), {}, {"type": "array", "items": INT}),
    ("a time keeps its format", (datetime,), {}, {**STRING, "format": "date-time"}),
    ("an extension stays", (str,), {"json_schema_extra": {"x-kubernetes-list-type": "atomic"}},
     {**STRING, "x-kubernetes-list-type": "atomic"}),
    ("an optional field keeps its bounds", (Annotated[str, Field(max_length=3)] | None, None), {},
     {**STRING, "maxLength": 3}),
    ("titles, examples and deprecation are dropped", (str,), {"title": "T", "examples": ["x"], "deprecated": True},
     STRING),
]  # fmt: skip


@pytest.mark.parametrize(("field", "options", "expected"), [row[1:] for row in TRANSLATED],
                         ids=[row[0] for row in TRANSLATED])  # fmt: skip
def test_translation(field: tuple[Any, ...], options: dict[str, Any], expected: dict[str, Any]) -> None:
    assert schema_of(*field, **options) == expected


REFUSED = [
    ("a model that contains itself", lambda: structural(Node), "contains itself"),
    ("a union of models", lambda: schema_of(Inner | Node), "one optional field per arm"),
    ("a union of an integer and a bounded text, whose bound would be lost",
     lambda: schema_of(int | Annotated[str, Field(max_length=3)]), "one optional field per arm"),
    ("a tuple of fixed length", lambda: schema_of(tuple[int, str]), "tuple of fixed length"),
    ("a set of objects", lambda: translate({"type": "array", "uniqueItems": True, "items": {"type": "object"}}),
     "a set of objects"),
    ("a pattern that looks ahead", lambda: translate({"type": "string", "pattern": "^(?!x)"}), "RE2 cannot"),
    ("a pattern that looks back", lambda: translate({"type": "string", "pattern": "(?<=x)y"}), "RE2 cannot"),
    ("a pattern with a back reference", lambda: translate({"type": "string", "pattern": r"(a)\1"}), "RE2 cannot"),
    ("a field that is only null", lambda: schema_of(None), "only be null"),
    ("a list of types", lambda: translate({"type": ["string", "integer"]}), "a list of types"),
    ("a keyword without a structural form", lambda: translate({"type": "object", "patternProperties": {}}),
     "patternProperties has no structural form"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_would_lose_a_constraint_is_refused_by_name(build: Any, message: str) -> None:
    with pytest.raises(Invalid, match=message) as refusal:
        build()
    assert refusal.value.reason == "NotStructural"


def test_unknown_fields_are_pruned_not_refused_although_the_model_forbids_them() -> None:
    class Strict(BaseModel, extra="forbid"):
        a: int

    assert structural(Strict) == {"type": "object", "required": ["a"], "properties": {"a": INT}}


def test_nulls_inside_a_default_are_left_out() -> None:
    assert translate({"type": "object", "default": {"a": None, "b": {"c": None, "d": 1}}})["default"] == {"b": {"d": 1}}


def test_a_property_named_like_a_keyword_is_a_property() -> None:
    assert set(translate({"type": "object", "properties": {"title": STRING, "default": STRING}})["properties"]) == {
        "title",
        "default",
    }


def test_rules_of_a_type_and_of_the_field_that_uses_it_are_both_kept() -> None:
    inner = {"type": "object", "x-kubernetes-validations": [{"rule": "a"}]}
    node = {"$defs": {"I": inner}, "$ref": "#/$defs/I", "x-kubernetes-validations": [{"rule": "b"}]}
    assert translate(node)["x-kubernetes-validations"] == [{"rule": "a"}, {"rule": "b"}]


def test_without_defaults_reaches_every_depth_and_spares_a_field_of_that_name() -> None:
    node = {"type": "object", "properties": {"default": {**INT, "default": 1}, "l": {"items": {**INT, "default": 1}}}}
    assert without_defaults(node) == {"type": "object", "properties": {"default": INT, "l": {"items": INT}}}
