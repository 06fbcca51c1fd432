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


def agrees(desired: Any, observed: Any) -> bool:
    """Whether everything that ``desired`` says stands in ``observed``.

    Mappings may hold more than we said (the server's defaults, other owners' labels); lists must be equal
    in length and order, so that an extra network peer or subject counts as drift.
    """
    match desired:
        case Mapping():
            return isinstance(observed, Mapping) and all(
                agrees(value, observed.get(name)) for name, value in desired.items()
            )
        case list() | tuple():
            return (
                isinstance(observed, list | tuple)
                and len(desired) == len(observed)
                and all(agrees(mine, theirs) for mine, theirs in zip(desired, observed, strict=True))
            )
        case _:
            return bool(desired == observed) or (not desired and observed is None)
