"""A Kubernetes object as the builders make it and as the API server answers it, and whether the two agree.

Objects stay JSON-shaped mappings because server-side apply speaks JSON and because a field that we do not
name must stay untouched; ``Key`` is what the rest of the code passes around.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Object = Mapping[str, Any]


class Key(NamedTuple):
    """Which object: its kind, its namespace (empty when cluster-scoped) and its name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


def key_of(obj: Object) -> Key:
    """The key of a JSON object."""
    metadata = obj["metadata"]
    return Key(obj["kind"], metadata.get("namespace", ""), metadata["name"])


def agrees(desired: Object, observed: Object) -> bool:
    """Whether ``observed`` is what ``desired`` says.

    Metadata, and the object as a whole, may hold more than we said (the server's bookkeeping, other owners' labels).
    What we name below that, such as spec or data, is wholly ours: an entry more is as much drift as one less.
    """
    return all(
        _holds(value, observed.get(name)) if name == "metadata" else _same(value, observed.get(name))
        for name, value in desired.items()
    )


def surplus(desired: Object, observed: Object) -> dict[str, Any]:
    """A merge patch that takes away what ``observed`` has too much; empty when it has not.

    Server-side apply leaves the entries that somebody else added to a mapping of ours. Lists it replaces as a whole.
    """
    found = {
        name: _surplus(value, observed.get(name)) for name, value in desired.items() if isinstance(value, Mapping)
    }
    return {name: extra for name, extra in found.items() if extra and name != "metadata"}


def _holds(desired: Any, observed: Any) -> bool:
    if isinstance(desired, Mapping) and isinstance(observed, Mapping):
        return all(_holds(value, observed.get(name)) for name, value in desired.items())
    return bool(desired == observed) or (not desired and observed is None)


def _same(desired: Any, observed: Any) -> bool:
    match desired, observed:
        case Mapping(), Mapping():
            return all(_same(desired.get(name), observed.get(name)) for name in desired.keys() | observed.keys())
        case [*mine], [*theirs]:
            return len(mine) == len(theirs) and all(map(_same, mine, theirs))
        case _:
            # An empty mapping or list may be left out; False is a value.
            return bool(desired == observed) or (_empty(desired) and _empty(observed))


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping | list | tuple) and not value)


def _surplus(desired: Any, observed: Any) -> dict[str, Any]:
    if not isinstance(desired, Mapping) or not isinstance(observed, Mapping):
        return {}
    found: dict[str, Any] = {}
    for name, value in observed.items():
        if name not in desired:
            found[name] = None
        elif extra := _surplus(desired[name], value):
            found[name] = extra
    return found
