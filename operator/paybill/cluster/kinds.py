"""The kinds Paybill may read or write, with their paths and scope.

This table is the allow-list of the one door to Kubernetes: an object of another kind is refused before a request
is made, whoever asked. (Peers were broken by "apply whatever the template says": see docs/concepts/security.md.)
"""

from __future__ import annotations

from dataclasses import dataclass

from paybill.api.failures import Invalid


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind: its apiVersion, plural and whether it lives in a namespace."""

    name: str
    api_version: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, or of one object or its subresource."""
        root = "/api/" if "/" not in self.api_version else "/apis/"
        parts = [f"{root}{self.api_version}"]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


def _kind(name: str, api_version: str, plural: str, *, namespaced: bool = True) -> Kind:
    return Kind(name=name, api_version=api_version, plural=plural, namespaced=namespaced)


_ALL = (
    _kind("Namespace", "v1", "namespaces", namespaced=False),
    _kind("ResourceQuota", "v1", "resourcequotas"),
    _kind("LimitRange", "v1", "limitranges"),
    _kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies"),
    _kind("ServiceAccount", "v1", "serviceaccounts"),
    _kind("RoleBinding", "rbac.authorization.k8s.io/v1", "rolebindings"),
    _kind("Secret", "v1", "secrets"),
    _kind("ConfigMap", "v1", "configmaps"),
    _kind("Service", "v1", "services"),
    _kind("Pod", "v1", "pods"),
    _kind("Event", "v1", "events"),
    _kind("Deployment", "apps/v1", "deployments"),
    _kind("ReplicaSet", "apps/v1", "replicasets"),
    _kind("StatefulSet", "apps/v1", "statefulsets"),
    _kind("DaemonSet", "apps/v1", "daemonsets"),
    _kind("Job", "batch/v1", "jobs"),
    _kind("ControllerRevision", "apps/v1", "controllerrevisions"),
    _kind("Lease", "coordination.k8s.io/v1", "leases"),
    _kind("Plan", "paybill.dev/v1alpha1", "plans", namespaced=False),
    _kind("Tenant", "paybill.dev/v1alpha1", "tenants", namespaced=False),
    _kind("Subscription", "paybill.dev/v1alpha1", "subscriptions", namespaced=False),
    _kind("Cell", "paybill.dev/v1alpha1", "cells", namespaced=False),
    _kind("Approval", "paybill.dev/v1alpha1", "approvals", namespaced=False),
    _kind("TenantBackup", "paybill.dev/v1alpha1", "tenantbackups", namespaced=False),
    _kind("TenantRestore", "paybill.dev/v1alpha1", "tenantrestores", namespaced=False),
    _kind("AgentPolicy", "agents.paybill.dev/v1alpha1", "agentpolicies"),
    _kind("AgentWorkflow", "agents.paybill.dev/v1alpha1", "agentworkflows"),
    _kind("AgentRun", "agents.paybill.dev/v1alpha1", "agentruns"),
    # Only `paybill up`, `paybill crds apply` and the chart's tests write these; the operator may read two kinds' own.
    _kind("CustomResourceDefinition", "apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False),
    _kind("ClusterRole", "rbac.authorization.k8s.io/v1", "clusterroles", namespaced=False),
    _kind("ClusterRoleBinding", "rbac.authorization.k8s.io/v1", "clusterrolebindings", namespaced=False),
    _kind("Role", "rbac.authorization.k8s.io/v1", "roles"),
    _kind(
        "ValidatingAdmissionPolicy",
        "admissionregistration.k8s.io/v1",
        "validatingadmissionpolicies",
        namespaced=False,
    ),
    _kind(
        "ValidatingAdmissionPolicyBinding",
        "admissionregistration.k8s.io/v1",
        "validatingadmissionpolicybindings",
        namespaced=False,
    ),
)
_BY_NAME = {kind.name: kind for kind in _ALL}


def kind_named(name: str) -> Kind:
    """The kind of that name; raises Invalid for what is not on the list."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise Invalid("KindNotAllowed", f"kind {name} is not one that Paybill reads or writes") from None
