"""The admission policies as they are written; what they do is tested against the API server (tests/cluster)."""

from __future__ import annotations

import re

import pytest
import yaml

from paybill.api.kinds import KINDS
from paybill.cli.admission import policies
from paybill.desired import admission, names, permissions
from paybill.desired.marks import GUARDED
from paybill.desired.permissions import Rule
from paybill.desired.policy import Place, Policy
from tests.unit.desired.tenants import ACME

PLACE = Place(namespace="billing", service_account="runner", installation="blue")

each = pytest.mark.parametrize("policy", admission.POLICIES, ids=[policy.name for policy in admission.POLICIES])


def looks_at(policy: Policy) -> set[tuple[str, str]]:
    return {(match.group, resource) for match in policy.match for resource in match.resources}


@each
def test_what_cannot_be_evaluated_is_refused_and_what_is_refused_is_denied(policy: Policy) -> None:
    assert policy.wire(PLACE)["spec"]["failurePolicy"] == "Fail"
    assert policy.binding()["spec"] == {"policyName": policy.name, "validationActions": ["Deny"]}


@each
def test_the_path_of_pods_is_free(policy: Policy) -> None:
    assert not {resource for _, resource in looks_at(policy)} & {"pods", "pods/eviction", "pods/binding", "*", "*/*"}


@each
def test_nothing_is_left_to_fill_in_and_every_word_is_the_installations(policy: Policy) -> None:
    text = yaml.safe_dump(policy.wire(PLACE))
    assert not re.search(r"@\w+@", text)
    # "paybill" is also a prefix of our names; the defaults of an installation are not.
    assert "paybill-system" not in text
    assert "system:serviceaccount:paybill" not in text


@each
def test_no_namespace_is_found_by_its_labels(policy: Policy) -> None:
    """A request that takes the label off would not match: the new object's labels are what is selected by."""
    assert set(policy.wire(PLACE)["spec"]["matchConstraints"]) == {"resourceRules"}


@each
def test_the_file_in_the_chart_says_why_and_holds_what_is_built(policy: Policy) -> None:
    text = policies()[f"{policy.name}.yaml"]
    assert f"# {policy.reason}\n" in text
    assert list(yaml.safe_load_all(text)) == [policy.wire(None), policy.binding()]


WRITES = {"create", "delete", "deletecollection", "patch", "update"}


@pytest.mark.parametrize(
    "rule", [*permissions.OPERATOR, *permissions.OPERATOR_TENANT_NAMESPACE], ids=lambda rule: rule.reason
)
def test_every_right_to_write_in_namespaces_is_confined(rule: Rule) -> None:
    """Whoever gives the operator another right confines it with that, or says here why it cannot be."""
    if not WRITES & set(rule.verbs):
        return
    cluster_wide = {("", "namespaces")} | {
        (group, resource) for group in ("paybill.dev", "agents.paybill.dev") for resource in rule.resources
    }
    written = {(rule.group, resource) for resource in rule.resources} - cluster_wide
    assert written - {("", "pods"), ("", "pods/eviction")} <= looks_at(admission.CONFINEMENT)
    operations = {operation for match in admission.CONFINEMENT.match for operation in match.operations}
    assert operations == {"CREATE", "UPDATE", "DELETE"}


def test_namespaces_are_looked_at_with_both_subresources_that_take_metadata() -> None:
    wanted = {("", "namespaces"), ("", "namespaces/status"), ("", "namespaces/finalize")}
    assert looks_at(admission.OWN_NAMESPACES) == wanted
    assert looks_at(admission.NAMESPACE_MARKS) == wanted


def test_the_status_of_every_kind_is_the_operators() -> None:
    assert looks_at(admission.STATUSES) == {(kind.group, f"{kind.plural}/status") for kind in KINDS}


def test_every_kind_that_the_operator_applies_in_a_tenants_namespace_keeps_its_marks() -> None:
    applied = {(rule.group, resource) for rule in permissions.OPERATOR for resource in rule.resources
               if "create" in rule.verbs}  # fmt: skip
    guarded = {(group, resource) for group, resources in GUARDED.items() for resource in resources}
    asked = {("paybill.dev", "tenantbackups"), ("paybill.dev", "tenantrestores")}
    assert guarded == applied - {("", "namespaces"), ("", "events")} - asked | {("", "secrets")}


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        (names.namespace(ACME.id), True),
        (names.pool_namespace("eu-west-1"), True),
        (names.pool_namespace("a" * 63), True),
        (f"x{names.namespace(ACME.id)}", False),
        (f"{names.namespace(ACME.id)}x", False),
        ("t-UPPER123", False),
        ("kube-system", False),
        ("paybill-pool-", False),
        ("paybill-system", False),
    ],
)
def test_the_names_of_namespaces_are_those_that_are_given(name: str, ours: bool) -> None:
    # RE2 and Python agree on these; the API server's own answers are in tests/cluster/test_admission.py.
    pattern = f"{names.TENANT_NAMESPACE_PATTERN}|{names.POOL_NAMESPACE_PATTERN}"
    assert bool(re.search(pattern, name)) is ours
