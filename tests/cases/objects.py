"""Any object that the schema of a kind allows, made from the CRD itself and not from the models that it checks.

Rules (CEL) are not looked at: what is made here is well-formed, not necessarily admissible.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from paybill.api import crd
from paybill.api.base import Resource
from tests.cases.model import Object

_TIMES = st.datetimes().map(lambda time: time.replace(microsecond=0).isoformat() + "Z")
_QUANTITIES = st.one_of(st.integers(0, 10**9), st.from_regex("[1-9][0-9]{0,4}(m|k|M|G|Ki|Mi|Gi)?", fullmatch=True))


def objects(kind: type[Resource], *, status: bool = False) -> st.SearchStrategy[Object]:
    """Objects of ``kind`` with any spec, and with any status if wanted."""
    parts = crd.schema(kind)["properties"]
    head = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "case"}}
    spec, state = values(parts["spec"]), values(parts["status"]) if status else st.just({})
    return st.builds(lambda spec, state: {**head, "spec": spec, "status": state}, spec, state)


def values(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a structural schema allows."""
    match schema:
        case {"enum": allowed}:
            return st.sampled_from(allowed)
        case {"x-kubernetes-int-or-string": True}:
            return _QUANTITIES
        case {"type": "array", "items": items}:
            keys = schema.get("x-kubernetes-list-map-keys") or [None]
            identity = (lambda item: tuple(str(item.get(key)) for key in keys)) if keys != [None] else str
            return st.lists(values(items), min_size=schema.get("minItems", 0), max_size=3, unique_by=identity)
        case {"type": "object", "additionalProperties": child}:
            keys = st.text("abc./-", min_size=1, max_size=8)
            return st.dictionaries(keys, values(child), min_size=schema.get("minProperties", 0), max_size=3)
        case {"type": "object"}:
            return _object(schema)
        case {"type": "integer"}:
            return st.integers(schema.get("minimum", 0), schema.get("maximum", 2**31))
        case {"type": "boolean"}:
            return st.booleans()
        case {"format": "date-time"}:
            return _TIMES
        case {"pattern": pattern}:
            return st.from_regex(pattern, fullmatch=True).filter(lambda text: len(text) <= schema["maxLength"])
    return st.text(min_size=schema.get("minLength", 0), max_size=min(8, schema.get("maxLength", 8)))


def _object(schema: Mapping[str, Any]) -> st.SearchStrategy[Object]:
    properties, needed = schema.get("properties", {}), schema.get("required", ())
    return st.fixed_dictionaries(
        {name: values(child) for name, child in properties.items() if name in needed},
        optional={name: values(child) for name, child in properties.items() if name not in needed},
    )


def defaulted(schema: Mapping[str, Any], value: Any) -> Any:
    """The value with defaults filled in as the API server does it: parents first, then what is in them."""
    if isinstance(value, list):
        return [defaulted(schema["items"], item) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    given = {name: child["default"] for name, child in schema["properties"].items() if "default" in child}
    return {name: defaulted(schema["properties"].get(name, {}), child) for name, child in {**given, **value}.items()}
