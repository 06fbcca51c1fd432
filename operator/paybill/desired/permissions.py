"""What the operator, and a tenant's owners, may do in Kubernetes: each rule with its reason, and no wildcard.

One table feeds the chart (``paybill rbac`` writes it), the local control plane and the tests, so that what is tested is
what is installed. Rights to Secrets and pods are not cluster-wide: they apply where the operator has bound itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paybill.api.base import AGENTS_GROUP
from paybill.desired import names
from paybill.desired.rbac import RBAC

OPERATOR_ROLE = "paybill-operator"
SIGNUP_ROLE = "paybill-operator-signup"
APPROVER_ROLE = "paybill-agent-approver"
APPROVE = "approve"
"""What no request does: admission asks whether who writes an Approval of an AgentRun may do it."""
GATEWAYS_ROLE = "paybill-operator-gateways"
APPLY = ("get", "list", "watch", "create", "patch")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One RBAC rule and why it is there."""

    reason: str
    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    only: tuple[str, ...] = ()

    def wire(self) -> dict[str, Any]:
        """As a ClusterRole holds it."""
        rule: dict[str, Any] = {
            "apiGroups": [self.group],
            "resources": list(self.resources),
            "verbs": list(self.verbs),
        }
        return rule | ({"resourceNames": list(self.only)} if self.only else {})


OPERATOR = (
    Rule(
        reason="declared objects are read; our finalizer is put on them and taken off",
        group="paybill.dev",
        resources=("cells", "plans", "subscriptions", "tenants"),
        verbs=("get", "list", "patch", "watch"),
    ),
    Rule(
        reason="backups are made by the Plan's schedule and before a deletion, and go with what is kept",
        group="paybill.dev",
        resources=("tenantbackups",),
        verbs=(*APPLY, "delete"),
    ),
    Rule(
        reason="restores are carried out as people ask for them, and asked for when an archived tenant is paid again",
        group="paybill.dev",
        resources=("tenantrestores",),
        verbs=APPLY,
    ),
    Rule(
        reason="what agents may do is read; our finalizer is put on it and taken off",
        group=AGENTS_GROUP,
        resources=("agentpolicies", "agentruns", "agentworkflows"),
        verbs=("get", "list", "patch", "watch"),
    ),
    Rule(
        reason="whether the database holds an agent's limits, and how its runs stand, is reported",
        group=AGENTS_GROUP,
        resources=("agentpolicies/status", "agentruns/status", "agentworkflows/status"),
        verbs=("patch",),
    ),
    Rule(
        reason="what people approved is read, and our finalizer taken off; its spec cannot be changed by anybody",
        group="paybill.dev",
        resources=("approvals",),
        verbs=("get", "list", "patch", "watch"),
    ),
    Rule(
        reason="an object that is deleted with its whole kind is told from one that is deleted for itself",
        group="apiextensions.k8s.io",
        resources=("customresourcedefinitions",),
        verbs=("get",),
        only=("subscriptions.paybill.dev", "tenants.paybill.dev"),
    ),
    Rule(
        reason="status is reported",
        group="paybill.dev",
        resources=(
            "approvals/status",
            "cells/status",
            "plans/status",
            "subscriptions/status",
            "tenantbackups/status",
            "tenantrestores/status",
            "tenants/status",
        ),
        verbs=("patch",),
    ),
    Rule(
        reason="a tenant's namespace is made, watched for drift, and deleted with its tenant",
        group="",
        resources=("namespaces",),
        verbs=(*APPLY, "delete"),
    ),
    Rule(
        reason="what bounds a tenant is made and healed",
        group="",
        resources=("configmaps", "limitranges", "resourcequotas", "serviceaccounts"),
        verbs=APPLY,
    ),
    Rule(
        reason="a tenant's NetworkPolicy is made and healed",
        group="networking.k8s.io",
        resources=("networkpolicies",),
        verbs=APPLY,
    ),
    Rule(
        reason="owners' and our own RoleBindings are made, healed and taken away",
        group=RBAC,
        resources=("rolebindings",),
        verbs=(*APPLY, "delete"),
    ),
    Rule(
        reason="only these two roles can be given away",
        group=RBAC,
        resources=("clusterroles",),
        verbs=("bind",),
        only=(names.OPERATOR_TENANT_ROLE, names.OWNER_ROLE),
    ),
    Rule(reason="transitions are told as Events", group="", resources=("events",), verbs=("create",)),
)
"""Cluster-wide."""

OPERATOR_OWN_NAMESPACE = (
    Rule(
        reason="leadership",
        group="coordination.k8s.io",
        resources=("leases",),
        verbs=("create", "get", "update"),
    ),
    Rule(
        reason="database administrators' URIs are read, the provider's logins of each tenant are kept",
        group="",
        resources=("secrets",),
        verbs=("create", "delete", "get", "patch"),
    ),
    Rule(
        reason="a lock on a stack is freed when the pod that took it is gone",
        group="",
        resources=("pods",),
        verbs=("get",),
    ),
    Rule(
        reason="the content of Plan revisions is kept",
        group="apps",
        resources=("controllerrevisions",),
        verbs=("create", "delete", "get", "list", "patch"),
    ),
    Rule(
        reason="operations as Jobs: made suspended, let go, stopped, removed",
        group="batch",
        resources=("jobs",),
        verbs=("create", "delete", "get", "list", "patch"),
    ),
    Rule(reason="whether an operation's pod has begun", group="", resources=("pods",), verbs=("list",)),
    Rule(reason="an operation's answer, which is sealed", group="", resources=("pods/log",), verbs=("get",)),
)
"""In the operator's own namespace."""

OPERATOR_TENANT_NAMESPACE = (
    Rule(
        reason="the database is handed over",
        group="",
        resources=("secrets",),
        verbs=("create", "delete", "get", "patch"),
    ),
    Rule(
        reason="what a deleted tenant left in a pool namespace",
        group="",
        resources=("configmaps",),
        verbs=("delete",),
    ),
    Rule(reason="suspension: what runs is listed and stopped", group="", resources=("pods",), verbs=("delete", "list")),
    Rule(reason="suspension respects disruption budgets", group="", resources=("pods/eviction",), verbs=("create",)),
    Rule(
        reason="resumption tells every controller to look again",
        group="apps",
        resources=("daemonsets", "replicasets", "statefulsets"),
        verbs=("list", "patch"),
    ),
    Rule(reason="the same for Jobs", group="batch", resources=("jobs",), verbs=("list", "patch")),
)
"""In each tenant's namespace, by the RoleBinding that the operator makes for itself."""

OPERATOR_SIGNUP = (
    Rule(
        reason="who paid at a checkout gets a Tenant and its Subscription",
        group="paybill.dev",
        resources=("subscriptions", "tenants"),
        verbs=("create",),
    ),
)
"""Cluster-wide, and only with a template of those who sign up by paying."""

OPERATOR_GATEWAYS = (
    Rule(
        reason="a gateway comes with the first agent that is let in, is healed, and goes with the last",
        group="apps",
        resources=("deployments",),
        verbs=("create", "delete", "get", "patch"),
    ),
    Rule(
        reason="a gateway is found by its Service",
        group="",
        resources=("services",),
        verbs=("create", "delete", "get", "patch"),
    ),
    Rule(
        reason="what bounds a gateway goes with it",
        group="networking.k8s.io",
        resources=("networkpolicies",),
        verbs=("delete",),
    ),
)
"""In the operator's own namespace, and only where it runs the gateways of agents."""

GATEWAY = (
    Rule(
        reason="whose a token is",
        group="authentication.k8s.io",
        resources=("tokenreviews",),
        verbs=("create",),
    ),
)
"""The gateways of agents, cluster-wide."""

_WORK = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_LOOK = ("get", "list", "watch")

OWNER = (
    Rule(
        reason="the tenant's own workloads and their configuration",
        group="",
        resources=("configmaps", "persistentvolumeclaims", "pods", "secrets", "services"),
        verbs=_WORK,
    ),
    Rule(
        reason="debugging",
        group="",
        resources=("pods/attach", "pods/exec", "pods/portforward"),
        verbs=("create", "get"),
    ),
    Rule(
        reason="looking",
        group="",
        resources=("endpoints", "events", "limitranges", "pods/log", "resourcequotas", "serviceaccounts"),
        verbs=_LOOK,
    ),
    Rule(
        reason="controllers of workloads",
        group="apps",
        resources=(
            "daemonsets",
            "deployments",
            "deployments/scale",
            "replicasets",
            "statefulsets",
            "statefulsets/scale",
        ),
        verbs=_WORK,
    ),
    Rule(reason="batch work", group="batch", resources=("cronjobs", "jobs"), verbs=_WORK),
    Rule(
        reason="scaling",
        group="autoscaling",
        resources=("horizontalpodautoscalers",),
        verbs=_WORK,
    ),
    Rule(reason="availability", group="policy", resources=("poddisruptionbudgets",), verbs=_WORK),
    # Ingresses yes, NetworkPolicies only to look at: policies add up, so an allow-all would undo ours.
    Rule(reason="being reached", group="networking.k8s.io", resources=("ingresses",), verbs=_WORK),
    Rule(reason="looking", group="networking.k8s.io", resources=("networkpolicies",), verbs=_LOOK),
    # What agents may do with a tenant's data is the provider's to write: it is carried out by a superuser.
    Rule(
        reason="what agents may do with its data, and do",
        group=AGENTS_GROUP,
        resources=("agentpolicies", "agentruns", "agentworkflows"),
        verbs=_LOOK,
    ),
    Rule(
        reason="what an agent may do with its data after a person has looked: it is the owner's data",
        group=AGENTS_GROUP,
        resources=("agentruns",),
        verbs=(APPROVE,),
    ),
)
"""A tenant's owners, in its namespace."""

APPROVER = (
    Rule(
        reason="an Approval is written and looked after; what it may be of, admission asks",
        group="paybill.dev",
        resources=("approvals",),
        verbs=("create", "get"),
    ),
)
"""Who approves what agents wait with: cluster-wide, since Approvals are, and worth nothing without the verb."""


def cluster_roles(*, signup: bool = False) -> list[dict[str, Any]]:
    """The four ClusterRoles, and with ``signup`` the one that lets the operator make Tenants."""
    roles = {OPERATOR_ROLE: OPERATOR, names.OPERATOR_TENANT_ROLE: OPERATOR_TENANT_NAMESPACE, names.OWNER_ROLE: OWNER}
    roles |= {APPROVER_ROLE: APPROVER}
    roles |= {SIGNUP_ROLE: OPERATOR_SIGNUP} if signup else {}
    return [_role("ClusterRole", name, rules) for name, rules in roles.items()]


def namespace_role(namespace: str) -> dict[str, Any]:
    """The operator's Role in its own namespace."""
    role = _role("Role", OPERATOR_ROLE, OPERATOR_OWN_NAMESPACE)
    return {**role, "metadata": {**role["metadata"], "namespace": namespace}}


def gateways(namespace: str, service_account: str, account: str) -> list[dict[str, Any]]:
    """What the gateways of agents may do, what the operator may do with them, and their bindings.

    ``account`` is the gateways' ServiceAccount.
    """
    labels = {names.MANAGED_BY_LABEL: names.MANAGER}
    role = _role("Role", GATEWAYS_ROLE, OPERATOR_GATEWAYS)
    return [
        _role("ClusterRole", names.GATEWAY_ROLE, GATEWAY),
        {**role, "metadata": {**role["metadata"], "namespace": namespace}},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": names.GATEWAY_ROLE, "labels": labels},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": names.GATEWAY_ROLE},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": account}],
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": GATEWAYS_ROLE, "namespace": namespace, "labels": labels},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": GATEWAYS_ROLE},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": service_account}],
        },
    ]


def bindings(namespace: str, service_account: str, *, signup: bool = False) -> list[dict[str, Any]]:
    """What gives the operator's ServiceAccount its cluster-wide roles and the one in its own namespace."""
    subjects = [{"kind": "ServiceAccount", "namespace": namespace, "name": service_account}]
    everywhere = [
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
            "subjects": subjects,
        }
        for role in (OPERATOR_ROLE, *((SIGNUP_ROLE,) if signup else ()))
    ]
    at_home = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": OPERATOR_ROLE, "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": OPERATOR_ROLE},
        "subjects": subjects,
    }
    return [*everywhere, at_home]


def _role(kind: str, name: str, rules: tuple[Rule, ...]) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": {names.MANAGED_BY_LABEL: names.MANAGER}},
        "rules": [rule.wire() for rule in rules],
    }
