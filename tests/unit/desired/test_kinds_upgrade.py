"""Which definitions may replace which: a table of pairs; the API server's part is in tests/chart/test_kinds.py."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from paybill.api.crd import build
from paybill.api.tenant import Tenant
from paybill.desired.kinds_upgrade import judge, marked, takes_away, values, version_of

OURS = build(Tenant)
ACME = {"metadata": {"name": "acme"}, "spec": {"displayName": "Acme", "owners": [{"kind": "User", "name": "a"}]}}


def schema(definition: Any) -> Any:
    return definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def without(*names: str) -> Any:
    changed = copy.deepcopy(OURS)
    place = schema(changed)["properties"]
    *path, last = names
    for name in path:
        place = place[name].get("items", place[name])["properties"]
    del place[last]
    return changed


@pytest.mark.parametrize(
    ("installed", "wanted", "refused"),
    [
        ("0.1.0", "0.1.0", False),
        ("0.1.0", "0.2.0", False),
        ("0.9.0", "0.10.0", False),
        ("0.10.0", "0.9.0", True),
        ("1.0.0", "0.99.99", True),
        ("0.2.0-rc.1", "0.2.0", False),
        ("0.2.1", "0.2", True),
        ("v0.1.0", "0.1.0", False),
    ],
)
def test_an_older_version_does_not_replace_a_newer_one(installed: str, wanted: str, refused: bool) -> None:
    verdict = judge(marked(OURS, installed), marked(OURS, wanted), [])
    assert bool(verdict.refused) is refused
    if refused:
        assert f"kinds of Paybill {installed}, and this is {wanted}" in verdict.refused[0]


def test_kinds_of_nobody_knows_which_version_may_be_replaced() -> None:
    """They are those of a version before the mark."""
    assert version_of(OURS) is None
    assert judge(OURS, marked(OURS, "0.1.0"), []).refused == ()


def test_a_field_that_an_object_uses_does_not_go() -> None:
    verdict = judge(OURS, without("spec", "displayName"), [ACME])
    assert verdict.refused == ("spec.displayName would go, and acme use it: it would be lost",)


def test_a_field_in_a_list_that_an_object_uses_does_not_go() -> None:
    assert takes_away(OURS, without("spec", "owners", "namespace")) == ["spec.owners[].namespace"]
    assert judge(OURS, without("spec", "owners", "namespace"), [ACME]).refused == ()
    assert judge(OURS, without("spec", "owners", "name"), [ACME]).refused


def test_many_users_of_a_field_are_counted() -> None:
    many = [{**ACME, "metadata": {"name": f"t{number}"}} for number in range(9)]
    assert "t0, t1, t2 and 6 more use it" in judge(OURS, without("spec", "displayName"), many).refused[0]


def test_a_field_that_nobody_uses_may_go_and_is_told() -> None:
    verdict = judge(OURS, without("spec", "displayName"), [{"metadata": {"name": "a"}, "spec": {}}])
    assert verdict.refused == ()
    assert [(change.path, change.kind) for change in verdict.changes] == [("spec.displayName", "removed")]


def test_a_version_that_objects_are_stored_as_does_not_go() -> None:
    installed = copy.deepcopy(OURS) | {"status": {"storedVersions": ["v1alpha0", "v1alpha1"]}}
    assert "stored as v1alpha0" in judge(installed, OURS, []).refused[0]


@pytest.mark.parametrize(("field", "value"), [("group", "example.com"), ("scope", "Namespaced")])
def test_what_kubernetes_never_changes_is_refused_in_words(field: str, value: str) -> None:
    changed = copy.deepcopy(OURS)
    changed["spec"][field] = value
    assert f"spec.{field}" in judge(OURS, changed, []).refused[0]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("spec.a", [1]),
        ("spec.none", []),
        ("spec.list[].b", [2, 3]),
        ("spec.list[]", [{"b": 2}, {"b": 3}, {}]),
        ("spec.map[*]", ["x"]),
        ("spec.map[*].y", []),
        ("spec.a.deeper", []),
        ("v1alpha1", []),
    ],
)
def test_a_path_of_a_schema_finds_what_an_object_has_there(path: str, found: list[object]) -> None:
    obj = {"spec": {"a": 1, "list": [{"b": 2}, {"b": 3}, {}], "map": {"k": "x"}}}
    assert list(values(obj, path)) == found
