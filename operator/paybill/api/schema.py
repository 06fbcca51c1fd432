"""From a pydantic model to the structural schema that a CustomResourceDefinition wants.

What pydantic writes is JSON Schema; what the API server takes is a subset of OpenAPI 3.0 with its own extensions, and
where they differ it refuses, drops in silence or even crashes (a ``$ref`` beside ``selectableFields``). Every
translation below has its row in tests/unit/api/test_schema.py; what has no translation is refused here, by name,
because a schema that loses a constraint on the way lets bad input in.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from paybill.api.failures import Invalid
from paybill.api.rules import INT_OR_STRING, LIST_TYPE, PRESERVE, VALIDATIONS

Schema = dict[str, Any]

KEPT = (
    "description", "type", "format", "enum", "default", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "minProperties", "maxProperties",
    "required", "properties", "items", "additionalProperties",
)  # fmt: skip
DROPPED = ("title", "examples", "deprecated", "readOnly", "writeOnly", "$defs")
FORMATS = ("int32", "int64", "float", "double", "byte", "date", "date-time", "password")
INTEGER_AND_STRING = ({"type": "integer"}, {"type": "string"})
SCALARS = ("string", "integer", "boolean", "number")


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of ``model``; raises ``Invalid`` (``NotStructural``) for what cannot be one."""
    return translate(model.model_json_schema(by_alias=True, mode="validation"))


def translate(json_schema: Mapping[str, Any]) -> Schema:
    """A JSON Schema as pydantic writes it, as a structural schema; raises ``Invalid`` (``NotStructural``)."""
    return _translate(json_schema, json_schema.get("$defs", {}), ())


def without_defaults(schema: Schema) -> Schema:
    """The schema with no default anywhere: for a status, which must hold only what was observed."""
    return {
        key: {name: without_defaults(child) for name, child in value.items()}
        if key == "properties"
        else without_defaults(value)
        if key in ("items", "additionalProperties") and isinstance(value, dict)
        else value
        for key, value in schema.items()
        if key != "default"
    }


def _translate(schema: Mapping[str, Any], definitions: Mapping[str, Any], trail: tuple[str, ...]) -> Schema:
    """One node; ``trail`` names the definitions that it is inside of."""
    node, trail = _inlined(dict(schema), definitions, trail)
    for step in (_without_null, _bounds, _constants, _lists, _maps, _defaults, _texts):
        step(node)
    known = {key for key in node if key in KEPT or key.startswith("x-kubernetes-")}
    unknown = sorted(set(node) - known - set(DROPPED))
    _refuse(bool(unknown), f"{', '.join(unknown)} has no structural form")
    if "properties" in node:
        node["properties"] = {name: _translate(child, definitions, trail) for name, child in node["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in node:
            node[key] = _translate(node[key], definitions, trail)
    if "type" not in node and INT_OR_STRING not in node:
        node[PRESERVE] = True
    extensions = sorted(key for key in node if key.startswith("x-kubernetes-"))
    return {key: node[key] for key in (*KEPT, *extensions) if key in node}


def _inlined(node: Schema, definitions: Mapping[str, Any], trail: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
    """The node with its references and its one real alternative in place; what stands beside them wins."""
    while "$ref" in node or any(key in node for key in ("anyOf", "oneOf", "allOf")):
        if "$ref" in node:
            name = str(node.pop("$ref")).rsplit("/", 1)[-1]
            _refuse(name in trail, f"{name} contains itself")
            node, trail = _overlaid(definitions[name], node), (*trail, name)
            continue
        key = next(key for key in ("anyOf", "oneOf", "allOf") if key in node)
        arms = [arm for arm in node.pop(key) if arm.get("type") != "null"]
        if all(arm in INTEGER_AND_STRING for arm in arms) and len(arms) == 2:
            node[INT_OR_STRING] = True
        else:
            _refuse(len(arms) != 1, "a union of types: write one optional field per arm and a rule")
            node = _overlaid(arms[0], node)
    return node, trail


def _overlaid(under: Mapping[str, Any], over: Schema) -> Schema:
    rules = [*under.get(VALIDATIONS, ()), *over.get(VALIDATIONS, ())]
    return {**under, **over, **({VALIDATIONS: rules} if rules else {})}


def _without_null(node: Schema) -> None:
    _refuse(node.get("type") == "null", "a field that can only be null")
    if isinstance(node.get("type"), list):
        types = [each for each in node["type"] if each != "null"]
        _refuse(len(types) != 1, f"a list of types: {types}")
        node["type"] = types[0]


def _bounds(node: Schema) -> None:
    """OpenAPI 3.0 knows exclusive bounds only as a flag beside the bound."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in node and not isinstance(node[exclusive], bool):
            node[bound], node[exclusive] = node[exclusive], True
    if node.get("type") == "integer":
        node.setdefault("format", "int64")
    if node.get("format") not in FORMATS:
        node.pop("format", None)


def _constants(node: Schema) -> None:
    """``const`` would be dropped in silence; an enum of one is kept."""
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if "enum" in node:
        node["enum"] = [value for value in node["enum"] if value is not None]
        if "type" not in node and all(isinstance(value, str) for value in node["enum"]):
            node["type"] = "string"


def _lists(node: Schema) -> None:
    _refuse("prefixItems" in node, "a tuple of fixed length: write an object with named fields")
    if node.pop("uniqueItems", False):
        _refuse(
            node.get("items", {}).get("type") not in SCALARS,
            "a set of objects: write a list told apart by keys (rules.list_map)",
        )
        node[LIST_TYPE] = "set"


def _maps(node: Schema) -> None:
    extra = node.get("additionalProperties")
    if isinstance(extra, bool):
        del node["additionalProperties"]
        if extra:
            node[PRESERVE] = True


def _defaults(node: Schema) -> None:
    """Null means absent and an empty list or map says nothing, so neither is written into people's objects."""
    if "default" in node:
        node["default"] = _without_nulls(node["default"])
        if node["default"] is None or node["default"] in ([], {}):
            del node["default"]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    return [_without_nulls(child) for child in value] if isinstance(value, list) else value


def _texts(node: Schema) -> None:
    if "description" in node:
        node["description"] = " ".join(str(node["description"]).split())
    pattern = node.get("pattern", "")
    _refuse(
        re.search(r"\(\?<?[=!]|\\[1-9]", pattern) is not None,
        f"pattern {pattern!r} looks around or back, which RE2 cannot",
    )


def _refuse(found: bool, message: str) -> None:
    if found:
        raise Invalid("NotStructural", message)
