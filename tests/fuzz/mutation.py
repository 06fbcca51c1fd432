"""Changes a few places of a right value to something at the edge of what its schema takes, or beyond."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from tests.cases.model import Object
from tests.fuzz.values import Schema, extreme, fitting


@st.composite
def mutated(draw: st.DrawFn, values: st.SearchStrategy[Object], schema: Schema) -> Object:
    """A value with up to two places of its schema changed to something at the edge."""
    value = copy.deepcopy(draw(values))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
        path, node = draw(st.sampled_from(places(schema)))
        _put(value, path, draw(extreme(node) | fitting(node)))
    return value


def places(schema: Schema, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Schema]]:
    """Every place below a schema's root: the way to it, through the first item of a list, and its own schema."""
    found = []
    for name, child in schema.get("properties", {}).items():
        found += [((*path, name), child), *places(child, (*path, name))]
    if "items" in schema:
        found += [((*path, 0), schema["items"]), *places(schema["items"], (*path, 0))]
    if "additionalProperties" in schema:
        found += [
            ((*path, "key"), schema["additionalProperties"]),
            *places(schema["additionalProperties"], (*path, "key")),
        ]
    return found


def _put(value: Any, path: tuple[str | int, ...], new: Any) -> None:
    """Set what is at the end of a way, making the way where there is none."""
    for step, following in zip(path, (*path[1:], None), strict=True):
        last = following is None
        if isinstance(step, int):
            if not isinstance(value, list):
                return
            if not value:
                value.append(None)
        elif not isinstance(value, dict):
            return
        if last:
            value[step] = new
            return
        if isinstance(step, int):
            value[step] = value[step] if value[step] is not None else ([] if isinstance(following, int) else {})
        elif value.get(step) is None:
            value[step] = [] if isinstance(following, int) else {}
        value = value[step]
