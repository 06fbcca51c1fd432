"""What is different between two contents of Plans, field by field, as people write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field by its path, and what the one and the other say of it; None: nothing, so the default holds."""

    field: str
    one: Any
    other: Any


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    """The fields that differ, in the order of their paths; features are told apart by their names."""
    here, there = dict(_leaves(one, "")), dict(_leaves(other, ""))
    return [
        Difference(field=field, one=here.get(field), other=there.get(field))
        for field in sorted(here.keys() | there.keys())
        if here.get(field) != there.get(field)
    ]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    match value:
        case Mapping():
            for name, inner in value.items():
                yield from _leaves(inner, f"{path}.{name}" if path else str(name))
        case list() if value and all(isinstance(each, Mapping) and "name" in each for each in value):
            for each in value:
                rest = {name: inner for name, inner in each.items() if name != "name"}
                where = f"{path}[{each['name']}]"
                yield where, next(iter(rest.values())) if len(rest) == 1 else rest
        case _:
            yield path, value
