"""The schemas of the working tree only widen those of the last release, and the comparison sees what does not."""

from __future__ import annotations

import copy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from paybill.api import crd
from paybill.api.base import Resource
from paybill.api.compatibility import Change, definition_differences, differences
from paybill.api.kinds import KINDS

ROOT = Path(__file__).parents[3]
CRDS = "crds"
NAME = {"type": "string", "maxLength": 63}


def object_of(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def found(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str]]:
    return [(change.path, change.kind) for change in differences(old, new)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param({"type": "integer", "maximum": 5}, {"type": "integer", "maximum": 4}, id="a lower maximum"),
        pytest.param({"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 2}, id="a higher minimum"),
        pytest.param({"type": "integer"}, {"type": "integer", "minimum": 0}, id="a minimum where there was none"),
        pytest.param({"type": "integer", "maximum": 5},
                     {"type": "integer", "maximum": 5, "exclusiveMaximum": True}, id="a bound that excludes itself"),
        pytest.param(NAME, {**NAME, "maxLength": 62}, id="a shorter text"),
        pytest.param(NAME, {**NAME, "pattern": "^a"}, id="a pattern where there was none"),
        pytest.param({**NAME, "pattern": "^a"}, {**NAME, "pattern": "^b"}, id="another pattern"),
        pytest.param(NAME, {"type": "integer"}, id="another type"),
        pytest.param(NAME, {**NAME, "format": "date-time"}, id="a format where there was none"),
        pytest.param(NAME, {**NAME, "enum": ["a"]}, id="choices where there were none"),
        pytest.param({**NAME, "enum": ["a", "b"]}, {**NAME, "enum": ["b", "c"]}, id="a choice less"),
        pytest.param({**NAME, "default": "a"}, {**NAME, "default": "b"}, id="another default"),
        pytest.param({**NAME, "default": "a"}, NAME, id="no default any more"),
        pytest.param(NAME, {**NAME, "x-kubernetes-validations": [{"rule": "self != ''"}]}, id="a rule more"),
        pytest.param({"type": "array", "items": NAME, "x-kubernetes-list-type": "set"},
                     {"type": "array", "items": NAME}, id="a list that merges in another way"),
        pytest.param({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, {"type": "object"},
                     id="unknown fields that are dropped"),
        pytest.param({"type": "object", "additionalProperties": NAME}, {"type": "object", "properties": {}},
                     id="a map that is none any more"),
        pytest.param({"x-kubernetes-int-or-string": True}, {"type": "string"}, id="a number that must be text"),
    ],
)  # fmt: skip
def test_what_takes_away_a_value_or_its_meaning_is_narrowed(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert set(found(old, new)) == {("object", "narrowed")}
    deep = [{"type": "object", "additionalProperties": {"type": "array", "items": one}} for one in (old, new)]
    assert {kind for path, kind in found(object_of(a=deep[0]), object_of(a=deep[1])) if path == "a[*][]"} == {
        "narrowed"
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param({"type": "integer", "maximum": 4}, {"type": "integer", "maximum": 5}, id="a higher maximum"),
        pytest.param({"type": "integer", "minimum": 2}, {"type": "integer"}, id="no minimum any more"),
        pytest.param({**NAME, "pattern": "^a"}, NAME, id="no pattern any more"),
        pytest.param({**NAME, "enum": ["a"]}, {**NAME, "enum": ["a", "b"]}, id="a choice more"),
        pytest.param({**NAME, "enum": ["a"]}, NAME, id="any choice"),
        pytest.param({**NAME, "x-kubernetes-validations": [{"rule": "self != ''"}]}, NAME, id="a rule less"),
        pytest.param({**NAME, "description": "a"}, {**NAME, "description": "b"}, id="another description"),
        pytest.param(NAME, {**NAME, "default": "a"}, id="a default where there was none"),
        pytest.param(object_of("a", a=NAME), object_of(a=NAME), id="a field that may be left out"),
        pytest.param(object_of(a=NAME), object_of("a", a={**NAME, "default": "x"}), id="required, with a default"),
    ],
)
def test_what_allows_more_is_no_difference(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert found(old, new) == []


def test_fields_are_removed_added_or_required_with_their_path() -> None:
    old = object_of("a", a=NAME, gone=NAME, list={"type": "array", "items": object_of(x=NAME, y=NAME)})
    new = object_of(
        "a",
        "need",
        a=NAME,
        list={"type": "array", "items": object_of("y", y=NAME)},
        need=NAME,
        more=object_of("z", z=NAME),
    )
    assert found(old, new) == [
        ("gone", "removed"),
        ("list[].x", "removed"),
        ("list[].y", "required"),
        ("need", "required"),
        ("more", "added"),
    ]


def test_only_an_addition_breaks_nobody() -> None:
    assert not Change(path="a", kind="added", detail="").breaks
    assert all(Change(path="a", kind=kind, detail="").breaks for kind in ("removed", "required", "narrowed"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("scope", "Namespaced"),
        ("names.plural", "others"),
        ("names.shortNames", []),
        ("versions.0.served", False),
        ("versions.0.selectableFields", []),
        ("versions.0.schema.openAPIV3Schema.properties.spec.properties", {}),
    ],
)
def test_a_definition_is_compared_as_a_whole(path: str, value: Any) -> None:
    old = crd.build(next(kind for kind in KINDS if kind.kind == "Tenant"))
    new = copy.deepcopy(old)
    node: Any = new["spec"]
    *parents, last = path.split(".")
    for part in parents:
        node = node[int(part)] if part.isdigit() else node[part]
    node[last] = value
    assert any(change.breaks for change in definition_differences(old, new))
    assert definition_differences(old, old) == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_nothing_is_taken_away_that_the_last_release_had(kind: type[Resource]) -> None:
    tag, path = last_release(), f"{CRDS}/{kind.group}_{kind.plural}.yaml"
    if path not in git("ls-tree", "--name-only", tag, f"{CRDS}/").splitlines():
        pytest.skip(f"{kind.kind} is new since {tag}")
    old = yaml.safe_load(git("show", f"{tag}:{path}"))
    broken = [str(change) for change in definition_differences(old, crd.build(kind)) if change.breaks]
    assert broken == [], f"objects stored by {tag} would break or mean something else: widen instead"


def test_no_kind_is_gone_that_the_last_release_had() -> None:
    released = set(git("ls-tree", "--name-only", last_release(), f"{CRDS}/").splitlines())
    assert not released - {f"{CRDS}/{kind.group}_{kind.plural}.yaml" for kind in KINDS}


def last_release() -> str:
    """The tag of the last release; skips where there is none, or no git to ask."""
    if shutil.which("git") is None:
        pytest.skip("there is no git to ask for the last release")
    try:
        return git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*").strip()
    except subprocess.CalledProcessError:
        pytest.skip("nothing has been released yet: there is no tag v* to compare with")


def git(*args: str) -> str:
    return subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=True).stdout
