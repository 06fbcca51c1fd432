"""Whether the kinds of this version may replace those that a cluster has. Pure: definitions in, a verdict out.

A CustomResourceDefinition that is applied takes effect at once and for everything stored: a field that is no longer in
the schema is dropped from an object at its next write, silently. So an older version does not replace a newer one, and
no field goes that an object still uses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from paybill.api.compatibility import Change, definition_differences

Object = Mapping[str, Any]

VERSION_LABEL = "app.kubernetes.io/version"
"""On every CustomResourceDefinition: the version of Paybill that it is of. The chart sets it as well."""
NAMED_AT_MOST = 3
"""Objects named in a refusal; the rest is a number."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What applying one definition would change, and why it must not be applied (empty: it may)."""

    changes: tuple[Change, ...] = ()
    refused: tuple[str, ...] = ()


def marked(definition: Object, version: str) -> dict[str, Any]:
    """The definition with the mark of the version that it is of."""
    metadata = definition["metadata"]
    labels = {**metadata.get("labels", {}), VERSION_LABEL: version}
    return {**definition, "metadata": {**metadata, "labels": labels}}


def version_of(definition: Object | None) -> str | None:
    """The version of Paybill that a definition is of, if it says so."""
    version: str | None = ((definition or {}).get("metadata", {}).get("labels") or {}).get(VERSION_LABEL)
    return version


def takes_away(installed: Object, wanted: Object) -> list[str]:
    """The fields and versions that would go; only for them the stored objects have to be looked at."""
    return [change.path for change in definition_differences(installed, wanted) if change.kind == "removed"]


def judge(installed: Object, wanted: Object, stored: Iterable[Object]) -> Verdict:
    """Compare one definition with the one that is installed; ``stored``: the objects of that kind, where one goes."""
    changes = tuple(definition_differences(installed, wanted))
    removed, objects = takes_away(installed, wanted), list(stored)
    refused = [*_downgrade(installed, wanted), *_versions(installed, wanted), *_immutable(installed, wanted)]
    refused += (words for path in removed for words in _in_use(path, objects))
    return Verdict(changes=changes, refused=tuple(refused))


def _downgrade(installed: Object, wanted: Object) -> Iterator[str]:
    there, here = version_of(installed), version_of(wanted)
    if there is not None and here is not None and _release(there) > _release(here):
        yield f"the cluster has the kinds of Paybill {there}, and this is {here}: use a command of {there} or newer"


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version; what follows them (a build, a candidate) is not told apart."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, found[1].split("."))) if found else ()


def _versions(installed: Object, wanted: Object) -> Iterator[str]:
    served = {version["name"] for version in wanted["spec"]["versions"] if version["served"]}
    for name in installed.get("status", {}).get("storedVersions") or ():
        if name not in served:
            yield f"objects are stored as {name}, which would not be served any more: they could not be read"


def _immutable(installed: Object, wanted: Object) -> Iterator[str]:
    for field in ("group", "scope"):
        before, now = installed["spec"][field], wanted["spec"][field]
        if before != now:
            yield f"spec.{field} is {before} and would be {now}: Kubernetes never changes it"


def _in_use(path: str, objects: Iterable[Object]) -> Iterator[str]:
    users = [obj["metadata"]["name"] for obj in objects if any(True for _ in values(obj, path))]
    if users:
        more = f" and {len(users) - NAMED_AT_MOST} more" if len(users) > NAMED_AT_MOST else ""
        yield f"{path} would go, and {', '.join(users[:NAMED_AT_MOST])}{more} use it: it would be lost"


def values(obj: Any, path: str) -> Iterator[Any]:
    """What an object has at a path of a schema: ``[]`` is each item of a list, ``[*]`` each value of a map."""
    return _below(obj, re.findall(r"\[\*?\]|[^.\[\]]+", path))


def _below(value: Any, parts: list[str]) -> Iterator[Any]:
    if not parts:
        yield value
        return
    head, rest = parts[0], parts[1:]
    match head, value:
        case "[]", list():
            found = value
        case "[*]", Mapping():
            found = list(value.values())
        case _, Mapping() if head in value:
            found = [value[head]]
        case _:
            return
    for one in found:
        yield from _below(one, rest)
