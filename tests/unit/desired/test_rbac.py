"""Who may act in a tenant's namespace, and what the roles do not give: each denial against the role with it added."""

from __future__ import annotations

import itertools

import pytest

from paybill.api.tenant import Owner
from paybill.desired import names, permissions, rbac
from paybill.desired.permissions import (
    APPROVER,
    OPERATOR,
    OPERATOR_OWN_NAMESPACE,
    OPERATOR_TENANT_NAMESPACE,
    OWNER,
    Rule,
)
from tests.unit.desired.tenants import ACCOUNT, ACME, OWNERS, SYSTEM

EVERY = {
    "operator": OPERATOR, "operator at home": OPERATOR_OWN_NAMESPACE, "operator at a tenant": OPERATOR_TENANT_NAMESPACE,
    "owner": OWNER, "approver": APPROVER,
}  # fmt: skip


def allows(rules: tuple[Rule, ...], verb: str, group: str, resource: str, name: str = "any") -> bool:
    """What Kubernetes' own authorizer would answer."""
    return any(
        {verb, "*"} & set(rule["verbs"])
        and {group, "*"} & set(rule["apiGroups"])
        and {resource, "*"} & set(rule["resources"])
        and name in rule.get("resourceNames", [name])
        for rule in (each.wire() for each in rules)
    )


def test_owners_come_in_an_order_of_their_own_whatever_the_spec_says():
    made = [rbac.owners(ACME, each)["subjects"] for each in itertools.permutations(OWNERS)]
    assert all(one == made[0] for one in made)
    assert made[0] == [
        {"kind": "Group", "name": "acme-admins", "apiGroup": "rbac.authorization.k8s.io"},
        {"kind": "ServiceAccount", "name": "deployer", "namespace": "acme-ci"},
        {"kind": "User", "name": "zoe@acme.example", "apiGroup": "rbac.authorization.k8s.io"},
    ]


def test_owners_get_our_role_in_their_namespace_and_nowhere_else():
    made = rbac.owners(ACME, [Owner(kind="Group", name="acme-admins")])
    assert made["kind"] == "RoleBinding"
    assert made["metadata"]["namespace"] == names.namespace(ACME.id)
    assert made["roleRef"]["name"] == "paybill-tenant-owner"


def test_the_operator_binds_itself_where_it_works():
    made = rbac.operator(ACME, SYSTEM, ACCOUNT)
    assert made["subjects"] == [{"kind": "ServiceAccount", "namespace": SYSTEM, "name": ACCOUNT}]
    assert made["roleRef"]["name"] == "paybill-operator-tenant"


def test_a_tenants_pods_get_no_token_unasked():
    assert rbac.service_account(ACME)["automountServiceAccountToken"] is False


DENIED = [
    pytest.param("owner", "create", "networking.k8s.io", "networkpolicies", id="an allow-all beside ours"),
    pytest.param("owner", "patch", "networking.k8s.io", "networkpolicies", id="ours, opened"),
    pytest.param("owner", "update", "", "resourcequotas", id="a larger quota"),
    pytest.param("owner", "delete", "", "resourcequotas", id="no quota"),
    pytest.param("owner", "patch", "", "limitranges", id="other defaults"),
    pytest.param("owner", "create", "rbac.authorization.k8s.io", "rolebindings", id="more owners"),
    pytest.param("owner", "create", "rbac.authorization.k8s.io", "roles", id="roles"),
    pytest.param("owner", "create", "", "serviceaccounts/token", id="a token of another account"),
    pytest.param("owner", "patch", "", "namespaces", id="Pod Security of the namespace"),
    pytest.param("owner", "patch", "paybill.dev", "tenants", id="its own Tenant"),
    pytest.param("owner", "create", "agents.paybill.dev", "agentruns", id="a run of its own"),
    pytest.param("operator", "approve", "agents.paybill.dev", "agentruns", id="approving what it carries out"),
    pytest.param("operator", "create", "paybill.dev", "approvals", id="an Approval of its own"),
    pytest.param("approver", "approve", "agents.paybill.dev", "agentruns", id="approving without being an owner"),
    pytest.param("approver", "list", "paybill.dev", "approvals", id="what others approved"),
    pytest.param("operator", "get", "", "secrets", id="everybody's Secrets"),
    pytest.param("operator", "list", "", "secrets", id="all Secrets"),
    pytest.param("operator", "delete", "", "pods", id="everybody's pods"),
    pytest.param("operator", "escalate", "rbac.authorization.k8s.io", "clusterroles", id="more than it has"),
    pytest.param("operator", "update", "paybill.dev", "tenants", id="people's specs"),
    pytest.param("operator", "delete", "paybill.dev", "tenants", id="Tenants themselves"),
    pytest.param("operator", "patch", "rbac.authorization.k8s.io", "clusterroles", id="its own role"),
    pytest.param("operator", "impersonate", "", "users", id="being somebody else"),
    pytest.param("operator at a tenant", "list", "", "secrets", id="reading along in a tenant's Secrets"),
    pytest.param("operator at a tenant", "create", "", "pods/exec", id="a shell in a tenant's pod"),
    pytest.param("operator at home", "list", "", "secrets", id="every Secret at home at once"),
]


@pytest.mark.parametrize(("who", "verb", "group", "resource"), DENIED)
def test_what_nobody_was_given(who, verb, group, resource):
    assert not allows(EVERY[who], verb, group, resource)
    with_it = (*EVERY[who], Rule(reason="the attack", group=group, resources=(resource,), verbs=(verb,)))
    assert allows(with_it, verb, group, resource)


@pytest.mark.parametrize("who", EVERY)
def test_no_wildcard_is_given_and_every_rule_has_its_reason(who):
    for rule in EVERY[who]:
        assert "*" not in {rule.group, *rule.resources, *rule.verbs}
        assert rule.reason
        assert rule.resources
        assert rule.verbs
        assert len(set(rule.verbs)) == len(rule.verbs)


@pytest.mark.parametrize(
    ("role", "given"), [("paybill-operator-tenant", True), ("paybill-tenant-owner", True), ("cluster-admin", False)]
)
def test_only_our_two_roles_can_be_given_away(role, given):
    assert allows(OPERATOR, "bind", "rbac.authorization.k8s.io", "clusterroles", role) is given


def test_owners_approve_what_agents_do_with_their_data():
    assert allows(OWNER, "approve", "agents.paybill.dev", "agentruns")


def test_the_roles_are_the_tables():
    assert {role["metadata"]["name"]: len(role["rules"]) for role in permissions.cluster_roles()} == {
        "paybill-operator": len(OPERATOR),
        "paybill-operator-tenant": len(OPERATOR_TENANT_NAMESPACE),
        "paybill-tenant-owner": len(OWNER),
        "paybill-agent-approver": len(APPROVER),
    }
    home = permissions.namespace_role(SYSTEM)
    assert (home["kind"], home["metadata"]["namespace"]) == ("Role", SYSTEM)
    assert len(home["rules"]) == len(OPERATOR_OWN_NAMESPACE)
    everywhere, at_home = permissions.bindings(SYSTEM, ACCOUNT)
    assert everywhere["roleRef"]["kind"] == "ClusterRole"
    assert (at_home["roleRef"]["kind"], at_home["metadata"]["namespace"]) == ("Role", SYSTEM)
