"""What a new schema changes for those who wrote objects under the old one: removed, required, narrowed or added.

There is no conversion webhook, so a stored object must stay valid under every later schema of its version, and a
manifest must go on meaning what it meant. Whoever compares gets each difference with its path; whether it is allowed
(a release may add, nothing else) is the caller's decision. What cannot be decided from two texts, such as whether one
CEL rule is weaker than another, counts as narrowed: a person has to look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from paybill.api.rules import INT_OR_STRING, LIST_MAP_KEYS, LIST_TYPE, PRESERVE, VALIDATIONS

Schema = Mapping[str, Any]
ChangeKind = Literal["removed", "required", "narrowed", "added"]

_UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "minLength", "minItems", "minProperties")
_SAME = ("type", "format", "pattern", "multipleOf", LIST_TYPE, LIST_MAP_KEYS, INT_OR_STRING)
"""What may be dropped but neither set nor changed; dropping ``type`` or a list's keys is a change as well."""
_KEPT = ("type", LIST_TYPE, LIST_MAP_KEYS, INT_OR_STRING)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference. ``path`` is a field as in ``spec.servers[].name``, a map's values being ``spec.quota[*]``."""

    path: str
    kind: ChangeKind
    detail: str

    @property
    def breaks(self) -> bool:
        """Whether something that was right before may be wrong, or mean something else, now."""
        return self.kind != "added"

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}: {self.detail}"


def differences(old_schema: Schema, new_schema: Schema, path: str = "") -> list[Change]:
    """Every difference between two structural schemas of one kind, from the root down, in order of their fields.

    A field that is new as a whole is one ``added``, whatever is inside of it.
    """
    return list(_differences(old_schema, new_schema, path))


def definition_differences(old: Schema, new: Schema) -> list[Change]:
    """Every difference between two CustomResourceDefinitions of one kind: names, scope, versions and their schemas."""
    return list(_definitions(old["spec"], new["spec"]))


def _definitions(old: Schema, new: Schema) -> Iterator[Change]:
    for name, before, now in (
        ("group", old["group"], new["group"]),
        ("scope", old["scope"], new["scope"]),
        *((f"names.{key}", old["names"].get(key), new["names"].get(key)) for key in ("kind", "plural", "singular")),
    ):
        if before != now:
            yield _change(name, "narrowed", f"{before} became {now}")
    for name in ("shortNames", "categories"):
        yield from _gone(f"names.{name}", old["names"].get(name, ()), new["names"].get(name, ()))
    versions = {version["name"]: version for version in new["versions"]}
    for before in old["versions"]:
        name = before["name"]
        now = versions.get(name)
        if now is None or (before["served"] and not now["served"]):
            yield _change(name, "removed", "the version is not served any more")
            continue
        yield from _gone(f"{name}.selectableFields", _paths(before), _paths(now))
        yield from _differences(before["schema"]["openAPIV3Schema"], now["schema"]["openAPIV3Schema"], "")


def _paths(version: Schema) -> list[str]:
    return [field["jsonPath"] for field in version.get("selectableFields", ())]


def _gone(path: str, old: Iterable[str], new: Iterable[str]) -> Iterator[Change]:
    kept = set(new)
    yield from (_change(path, "removed", f"{name} is gone") for name in old if name not in kept)


def _differences(old: Schema, new: Schema, path: str) -> Iterator[Change]:
    yield from _unlike(old, new, path)
    yield from _bounds(old, new, path)
    yield from _choices(old, new, path)
    yield from _rules(old, new, path)
    yield from _fields(old, new, path)
    for key, mark in (("items", "[]"), ("additionalProperties", "[*]")):
        before, now = old.get(key), new.get(key)
        if before is not None and now is not None:
            yield from _differences(before, now, f"{path}{mark}")
        elif before is not None:
            yield _change(path, "narrowed", f"{key} is gone")


def _unlike(old: Schema, new: Schema, path: str) -> Iterator[Change]:
    """What must stay as it is, because no value of it is weaker than another."""
    for key in _SAME:
        before, now = old.get(key), new.get(key)
        if before != now and (now is not None or key in _KEPT):
            yield _change(path, "narrowed", f"{key} {before} became {now}" if before is not None else f"{key} {now}")
    for key in (PRESERVE, "nullable"):
        if old.get(key) and not new.get(key):
            yield _change(path, "narrowed", f"{key} is gone")
    if old.get("default") != new.get("default") and "default" in old:
        yield _change(path, "narrowed", f"default {old['default']} became {new.get('default')}")


def _bounds(old: Schema, new: Schema, path: str) -> Iterator[Change]:
    tighter: tuple[tuple[tuple[str, ...], Callable[[Any, Any], bool]], ...] = (
        (_UPPER, lambda before, now: bool(now < before)),
        (_LOWER, lambda before, now: bool(now > before)),
    )
    for keys, closer in tighter:
        for key in keys:
            before, now = old.get(key), new.get(key)
            if now is not None and (before is None or closer(before, now)):
                yield _change(
                    path, "narrowed", f"{key} {before} became {now}" if before is not None else f"{key} {now}"
                )
    for key, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if new.get(key) and not old.get(key) and old.get(bound) == new.get(bound):
            yield _change(path, "narrowed", f"{bound} {new.get(bound)} is excluded")


def _choices(old: Schema, new: Schema, path: str) -> Iterator[Change]:
    before, now = old.get("enum"), new.get("enum")
    if now is None:
        return
    if before is None:
        yield _change(path, "narrowed", f"only {', '.join(map(str, now))}")
        return
    yield from (_change(path, "narrowed", f"{value} is no choice any more") for value in before if value not in now)


def _rules(old: Schema, new: Schema, path: str) -> Iterator[Change]:
    known = {rule["rule"] for rule in old.get(VALIDATIONS, ())}
    for rule in new.get(VALIDATIONS, ()):
        if rule["rule"] not in known:
            yield _change(path, "narrowed", f"a rule that was not there: {rule.get('message', rule['rule'])}")


def _fields(old: Schema, new: Schema, path: str) -> Iterator[Change]:
    before, now = old.get("properties", {}), new.get("properties", {})
    known, needed = set(old.get("required", ())), set(new.get("required", ()))
    for name in (*before, *(name for name in now if name not in before)):
        below = f"{path}.{name}" if path else name
        if name not in now:
            yield _change(below, "removed", "the field is gone")
            continue
        # The API server fills a default in before it asks for what is required.
        if name in needed - known and "default" not in now[name]:
            yield _change(below, "required", "it could be left out before" if name in before else "a new field")
        elif name not in before:
            yield _change(below, "added", "a new field")
        if name in before:
            yield from _differences(before[name], now[name], below)


def _change(path: str, kind: ChangeKind, detail: str) -> Change:
    return Change(path=path or "object", kind=kind, detail=detail)
