"""Values for a node of a CRD's schema: ones that it should take, and ones at the edge of what it takes and beyond.

Both come from the schema alone, the CEL rules included as far as they are patterns; ``shapes.py`` adds what a rule
over several fields wants. An extreme value is not wrong as such: whoever accepts it must be able to work with it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from paybill.api.rules import INT_OR_STRING, LIST_MAP_KEYS, LIST_TYPE, VALIDATIONS

Schema = Mapping[str, Any]
Shapes = Mapping[str, st.SearchStrategy[Any]]

TIMES = (
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59",
    "0000-01-01T00:00:00Z", "2016-12-31T23:59:60Z", "2024-02-29T12:00:00Z", "2023-02-29T12:00:00Z",
    "2030-01-01T00:00:00+14:00", "2030-01-01T00:00:00+24:00", "2030-01-01T00:00:00+99:99",
    "2030-01-01T00:00:00.123456789123Z", "2030-01-01T00:00:00,5Z", "2030-01-01T00:00:00x5Z", "2030-01-01t00:00:00z",
    "2030-01-01T00:00:00ZTZ", "2030-01-01 00:00:00Z", "2030-01-01T24:00:00Z", "2030-01-01T00:00Z",
    "2030-01-01T00:00:00", "2030-01-01", "1969-12-31T23:59:59Z", "2038-01-19T03:14:08Z", "+2030-01-01T00:00:00Z",
    "2262-04-11T23:47:17Z", "1677-09-21T00:12:43Z", "2030-01-01T00:00:00-00:00", "2030-01-01T00:00:00.Z", "now", "",
)  # fmt: skip
QUANTITIES = (
    0, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -1, "0", "1n", "999999999999999n", "1u", "1m", "1500m", "0.5", "0.0001",
    "1e3", "1E3", "1e-9", "1e99", "00001", "+1", "-1", "Gi", "1 Gi", "1ki", "1K", "7.9Ei", "8Ei", "9E", "10E",
    "9223372036854775807", "9223372036854775808", "12345678901234567890123456789012", "0.00000000000000000000000000001",
    "1.5Gi", "1e", "１", "", True, 1.5, "40",
)  # fmt: skip
DURATIONS = (
    "1ms", "1s", "0s", "000001s", "999999h", "999999h" * 9, "999999h999999m999999s", "999999h" * 8 + "99999m", "1h1h",
    "1d", "1.5h", "-1h", "1", "1ns", "1us", "1µs", "1h30m0s", "24h ", "٣h", "",
)  # fmt: skip
TEXTS = (
    "", " ", "null", "true", "0x1F", "1e3", "~", "- a", "{{ .Values }}", "'; DROP TABLE x; --", "$(id)", "../../etc",
    "%s%n", "größe", "数", "\u202etxt", "\ufeffbom", "a\u0000b", "a\nb", "a\tb", "a\r\nb", "\x1b[31m", "\x7f", "\x85",
    "\u2028", "\ufffe", "\U0001f600", "\ud7ff", "\ue000", "é", "e\u0301", "I\u0307", "ß", "--", ".", "..", "-",
    "a" * 62, "a" * 63, "a" * 64, "a" * 253, "a" * 254, "system:masters", "default", "kube-system", "paybill.dev/x",
    "a.b", "a..b", "A", "_", "0", "00000000", "x" * 1024, "\U0001f600" * 1024, "\U0001f600" * 63,
)  # fmt: skip
CIDRS = ("10.0.0.1/8", "0.0.0.0/0", "::ffff:1.2.3.4/128", "1.2.3.4", "fd00::/129", "010.0.0.0/8", "fe80::%eth0/64",
         "255.255.255.255/32", "0.0.0.0/32")  # fmt: skip
INTEGERS = (0, 1, -1, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 1.0, 1e3, 1.5, 1e30, True)
LONGEST_TEXT = 32_768
_POSITIVE = re.compile(r"^self\.matches\('([^']*)'\)")
_LINE = st.characters(exclude_categories=("Cc", "Cs"))


def fitting(schema: Schema, shapes: Shapes = MappingProxyType({})) -> st.SearchStrategy[Any]:
    """Values that the schema takes, mostly. ``shapes`` knows better for the fields that it names."""
    match schema:
        case {"enum": allowed}:
            return st.sampled_from(allowed)
        case _ if schema.get(INT_OR_STRING):
            return (
                st.sampled_from(["1", "250m", "4", "8Gi", "50G", "1e3", 40])
                if _rules(schema, "quantity")
                else (st.sampled_from(["5%", "100%", 1, 3, "7"]))
            )
        case {"type": "array", "items": items}:
            return _lists(schema, fitting(items, shapes), 3)
        case {"type": "object", "additionalProperties": child}:
            keys = st.sampled_from(["app", "tier", "a.b/c", "x-y", "z_1"])
            return st.dictionaries(keys, fitting(child, shapes), min_size=schema.get("minProperties", 0), max_size=3)
        case {"type": "object"}:
            return _object(schema, shapes)
        case {"type": "integer"}:
            low = schema.get("minimum", 0)
            return st.integers(low, min(schema.get("maximum", 2**31), low + 50)) | st.integers(
                low, schema.get("maximum", 2**31)
            )
        case {"type": "boolean"}:
            return st.booleans()
        case {"format": "date-time"}:
            return st.datetimes().map(lambda time: time.replace(microsecond=0).isoformat() + "Z")
    return _text(schema)


def extreme(schema: Schema) -> st.SearchStrategy[Any]:
    """Values at the bounds of the schema and beyond, of its type or of another."""
    other = st.sampled_from([None, True, [], {}, "", 0, -1, "null", [None], {"a": None}])
    match schema:
        case _ if schema.get(INT_OR_STRING):
            own = st.sampled_from(QUANTITIES) | st.sampled_from(
                ["0%", "1%", "100%", "101%", "1000000%", 10**7, "9999999"]
            )
        case {"type": "array", "items": items}:
            most = schema.get("maxItems", 100)
            own = (
                st.just([])
                | _lists(schema, fitting(items), most, least=max(1, most - 1))
                | _lists(schema, fitting(items) | extreme(items), 4)
            )
        case {"type": "object", "additionalProperties": child}:
            keys = st.sampled_from([one for one in TEXTS if len(one) < 400]) | st.from_regex(
                "[a-z]{1,4}[./][a-z]{1,60}", fullmatch=True
            )
            own = st.dictionaries(keys, fitting(child) | extreme(child), max_size=70)
        case {"type": "object"}:
            own = st.just({}) | _object(schema, {}).map(lambda value: {**value, "unknown": {"deep": [1]}})
        case {"type": "integer"}:
            low, high = schema.get("minimum", 0), schema.get("maximum", 2**63 - 1)
            own = st.sampled_from([low, low - 1, high, high + 1]) | st.sampled_from(INTEGERS)
        case {"format": "date-time"}:
            own = st.sampled_from(TIMES)
        case {"type": "string"}:
            own = _edge_texts(schema)
        case _:
            own = other
    return own | own | own | own | other


def _text(schema: Schema) -> st.SearchStrategy[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", 40)
    patterns = [schema["pattern"]] if "pattern" in schema else _patterns(schema)
    if any("duration(self)" in rule["rule"] for rule in schema.get(VALIDATIONS, ())):
        return st.sampled_from(["24h", "90m", "1h30m", "30s", "250ms", "336h"])
    if patterns:
        return _matching(patterns[0]).filter(lambda text: least <= len(text) <= most)
    if _rules(schema, "isCIDR"):
        return st.sampled_from(["0.0.0.0/0", "10.0.0.0/8", "192.168.0.0/16", "fd00::/8", "::/0", "203.0.113.7/32"])
    return st.text(_LINE, min_size=least, max_size=min(most, 40))


def _edge_texts(schema: Schema) -> st.SearchStrategy[str]:
    most = min(schema.get("maxLength", LONGEST_TEXT), LONGEST_TEXT)
    edges = st.sampled_from(["a" * most, "a" * (most + 1), "\U0001f600" * most, "a" * schema.get("minLength", 0)])
    special = [st.sampled_from(TEXTS), edges, st.text(max_size=most + 1)]
    if any("duration(self)" in rule["rule"] for rule in schema.get(VALIDATIONS, ())):
        special += [st.sampled_from(DURATIONS)] * 3
    if _rules(schema, "isCIDR"):
        special += [st.sampled_from(CIDRS)] * 3
    return st.one_of(special)


@functools.cache
def _matching(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True)


def _patterns(schema: Schema) -> list[str]:
    found = (_POSITIVE.match(rule["rule"]) for rule in schema.get(VALIDATIONS, ()))
    return [match[1] for match in found if match]


def _rules(schema: Schema, word: str) -> bool:
    return any(word in rule["rule"] for rule in schema.get(VALIDATIONS, ()))


def _lists(schema: Schema, items: st.SearchStrategy[Any], most: int, least: int = 0) -> st.SearchStrategy[list[Any]]:
    """Lists whose items differ where the schema tells them apart. Long ones repeat little else than that."""
    keys = schema.get(LIST_MAP_KEYS)
    if least > 4:
        return items.map(lambda item: [_numbered(item, keys, number) for number in range(least)])
    if keys:
        return st.lists(items, min_size=least, max_size=most, unique_by=lambda item: _identity(item, keys))
    if schema.get(LIST_TYPE) == "set":
        return st.lists(items, min_size=least, max_size=most, unique_by=str)
    return st.lists(items, min_size=least, max_size=most)


def _numbered(item: Any, keys: list[str] | None, number: int) -> Any:
    if isinstance(item, str):
        return f"{item[:40]}{number}"
    if isinstance(item, dict) and keys:
        return {**item, keys[-1]: f"{str(item.get(keys[-1], ''))[:40]}{number}"}
    return item


def _identity(item: Any, keys: list[str]) -> str:
    return str([item.get(key) for key in keys]) if isinstance(item, dict) else str(item)


def _object(schema: Schema, shapes: Shapes) -> st.SearchStrategy[dict[str, Any]]:
    properties, needed = schema.get("properties", {}), schema.get("required", ())
    fields = {name: shapes[name] if name in shapes else fitting(child, shapes) for name, child in properties.items()}
    return st.fixed_dictionaries(
        {name: value for name, value in fields.items() if name in needed},
        optional={name: value for name, value in fields.items() if name not in needed},
    )
