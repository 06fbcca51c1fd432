"""A Kubernetes object as the builders make it and as the API server answers it, and whether the two agree.

Objects stay JSON-shaped mappings because server-side apply speaks JSON and because a field that we do not
name must stay untouched; ``Key`` is what the rest of the code passes around.
"""

from __future__ import annotations

import base64
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


def texts(secret: Object | None) -> dict[str, str]:
    """The values of a Secret; none where there is no Secret.

    Whoever may write the Secret may put bytes into it that are no text. They become U+FFFD: that is no password and no
    URI, it equals nothing of ours, and so it is refused or written anew like any other wrong value.
    """
    data = (secret or {}).get("data") or {}
    return {name: base64.b64decode(value).decode(errors="replace") for name, value in data.items()}


def encoded(data: Mapping[str, str]) -> dict[str, str]:
    """Texts as the data of a Secret."""
    return {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}


def agrees(desired: Object, observed: Object) -> bool:
    """Whether ``observed`` is what ``desired`` says.

    Metadata, and the object as a whole, may hold more than we said (the server's bookkeeping, other owners' labels).
    What we name below that, such as spec or data, is wholly ours: an entry more is as much drift as one less.
    """
    return all(
        _holds(value, observed.get(name)) if name == "metadata" else _same(value, observed.get(name))
        for name, value in desired.items()
    )


def covers(desired: Any, observed: Any) -> bool:
    """Whether ``observed`` is what ``desired`` says, and whatever the API server filled in beside it.

    For kinds that it gives many defaults. A list has as many entries as we said, so one that was added is drift.
    """
    match desired, observed:
        case Mapping(), Mapping():
            return all(covers(value, observed.get(name)) for name, value in desired.items())
        case [*mine], [*theirs]:
            return len(mine) == len(theirs) and all(map(covers, mine, theirs))
        case _:
            return bool(desired == observed) or (_empty(desired) and _empty(observed))


def exactly(desired: Object, observed: Object) -> dict[str, Any]:
    """A merge patch that makes ``observed`` what ``desired`` says and takes away what it has beyond that.

    For what server-side apply leaves standing: entries that somebody else added to a mapping or a list of ours.
    """
    patch: dict[str, Any] = {name: None for name in observed if name not in desired}
    for name, value in desired.items():
        theirs = observed.get(name)
        if isinstance(value, Mapping) and isinstance(theirs, Mapping):
            patch[name] = exactly(value, theirs)
        else:
            patch[name] = value
    return patch


def _holds(desired: Any, observed: Any) -> bool:
    if isinstance(desired, Mapping) and isinstance(observed, Mapping):
        return all(_holds(value, observed.get(name)) for name, value in desired.items())
    return bool(desired == observed) or (not desired and observed is None)


def _same(desired: Any, observed: Any) -> bool:
    match desired, observed:
        case Mapping(), Mapping():
            return all(_same(desired.get(name), observed.get(name)) for name in desired.keys() | observed.keys())
        case [*mine], [*theirs]:
            # Inside a list even an empty mapping says something: {podSelector: {}} is not {namespaceSelector: {}}.
            return mine == theirs
        case _:
            # An empty mapping or list may be left out; False is a value.
            return bool(desired == observed) or (_empty(desired) and _empty(observed))


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping | list | tuple) and not value)
