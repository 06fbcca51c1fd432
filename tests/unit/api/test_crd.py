"""The CRDs as a whole: every rule is seen to fire, everything a rule reads is bounded, and every path exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from paybill.api import crd
from paybill.api.base import Resource
from paybill.api.kinds import BY_KIND, KINDS
from tests.cases.api import CASES, CHANGES

Path = tuple[str, ...]


def nodes(schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every node of a schema with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, (*path, name))
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], (*path, "*"))


def spec_nodes(kind: type[Resource]) -> Iterator[tuple[Path, dict[str, Any]]]:
    yield from nodes(crd.schema(kind)["properties"]["spec"], ("spec",))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_rule_has_a_case_that_it_refuses(kind: type[Resource]) -> None:
    refusals = [case.refused for case in (*CASES, *CHANGES) if case.refused and case.kind == kind.kind]
    # What is refused in a status, written by hand, is for tests/fuzz to find out.
    whole = crd.schema(kind)
    people_write = {**whole, "properties": {**whole["properties"], "status": {}}}
    rules = {rule["message"] for _, node in nodes(people_write) for rule in node.get("x-kubernetes-validations", ())}
    # A rule of a shared type is seen to fire in each kind that writes it, because its place decides what it is given.
    assert not {message for message in rules if not any(refusal in message for refusal in refusals)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_rule_says_what_to_do_and_ends_without_a_full_stop(kind: type[Resource]) -> None:
    for path, node in nodes(crd.schema(kind)):
        for rule in node.get("x-kubernetes-validations", ()):
            assert len(rule["message"]) > 20, path
            assert not rule["message"].endswith("."), path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_everything_in_a_spec_is_bounded(kind: type[Resource]) -> None:
    for path, node in spec_nodes(kind):
        match node:
            case {"type": "array"}:
                assert "maxItems" in node, path
            case {"type": "object", "additionalProperties": _}:
                assert "maxProperties" in node, path
            case {"type": "string"} | {"x-kubernetes-int-or-string": True}:
                assert {"maxLength", "enum"} & node.keys() or node.get("format") == "date-time", path
            case {"type": "integer"}:
                assert {"minimum", "maximum"} <= node.keys(), path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_is_documented(kind: type[Resource]) -> None:
    for path, node in nodes(crd.schema(kind)):
        if path and path[-1] not in ("*", "metadata"):
            assert node.get("description"), path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_nothing_in_a_status_has_a_default(kind: type[Resource]) -> None:
    assert not [path for path, node in nodes(crd.schema(kind)["properties"]["status"]) if "default" in node]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_names_follow_the_conventions(kind: type[Resource]) -> None:
    for path, node in nodes(crd.schema(kind)):
        if node.get("format") == "date-time":
            assert path[-1].lower().endswith("time"), path
        # What an agent says in its calls is written as it says it.
        first = "[a-z]" if {"op", "functions"} & set(path[-2:]) else "[A-Z]"
        for value in node.get("enum", ()):
            assert re.fullmatch(f"{first}[A-Za-z]*", value), path
        assert path == () or path[-1] == "*" or re.fullmatch("[a-z][A-Za-z]*", path[-1]), path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_columns_and_selectable_fields_name_fields_that_exist(kind: type[Resource]) -> None:
    paths = {"." + ".".join(path) for path, _ in nodes(crd.schema(kind))}
    written = {column.path.split("[")[0] for column in kind.columns} - {".metadata.creationTimestamp"}
    assert written <= paths
    assert set(kind.selectable_fields) <= paths
    assert len(kind.selectable_fields) <= 8


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_conditions_are_told_apart_by_type(kind: type[Resource]) -> None:
    conditions = crd.schema(kind)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert conditions["items"]["required"] == ["type", "status", "lastTransitionTime", "reason"]


def test_the_kinds_are_what_the_design_names() -> None:
    shown = {kind.kind: (kind.plural, kind.short_names, kind.scope, kind.categories) for kind in KINDS}
    assert shown == {
        "Plan": ("plans", (), "Cluster", ("paybill",)),
        "Tenant": ("tenants", ("tn",), "Cluster", ("paybill",)),
        "Subscription": ("subscriptions", ("sub",), "Cluster", ("paybill",)),
        "Cell": ("cells", (), "Cluster", ("paybill",)),
        "Approval": ("approvals", (), "Cluster", ("paybill",)),
        "TenantBackup": ("tenantbackups", ("tb",), "Cluster", ("paybill",)),
        "TenantRestore": ("tenantrestores", ("tr",), "Cluster", ("paybill",)),
        "AgentPolicy": ("agentpolicies", ("ap",), "Namespaced", ("paybill",)),
        "AgentWorkflow": ("agentworkflows", ("aw",), "Namespaced", ("paybill",)),
        "AgentRun": ("agentruns", ("ar",), "Namespaced", ("paybill",)),
    }
    assert set(BY_KIND) == set(shown)


def test_the_whole_definition_of_a_kind() -> None:
    definition = crd.build(BY_KIND["Tenant"])
    version = definition["spec"]["versions"][0]
    assert definition["metadata"]["name"] == "tenants.paybill.dev"
    assert definition["spec"]["names"]["listKind"] == "TenantList"
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert version["subresources"] == {"status": {}}
    assert version["additionalPrinterColumns"][0] == {"name": "Phase", "type": "string", "jsonPath": ".status.phase"}


def test_cases_are_told_apart_by_their_reasons() -> None:
    for kind in BY_KIND:
        for table in (CASES, CHANGES):
            reasons = [case.reason for case in table if case.kind == kind]
            assert len(reasons) == len(set(reasons))
