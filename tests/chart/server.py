"""What the chart's tests ask of a real API server, for kinds that the operator itself has nothing to do with."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator

from tests.chart.helm import Object
from tests.cluster.api import Api, Refused, accepted

KINDS = {
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "Service": ("/api/v1", "services"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Secret": ("/api/v1", "secrets"),
    "Namespace": ("/api/v1", "namespaces"),
    "Pod": ("/api/v1", "pods"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "ValidatingAdmissionPolicy": ("/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicies"),
    "ValidatingAdmissionPolicyBinding": (
        "/apis/admissionregistration.k8s.io/v1",
        "validatingadmissionpolicybindings",
    ),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
}


def where(kind: str, namespace: str = "", name: str = "") -> str:
    """The path of an object, or of its collection."""
    root, plural = KINDS[kind]
    return "/".join([root, *(["namespaces", namespace] if namespace else []), plural, *([name] if name else [])])


async def would_apply(api: Api, obj: Object) -> Object:
    """What the API server would make of an object: all of its admission, nothing kept. Raises Refused."""
    metadata = obj["metadata"]
    path = where(obj["kind"], metadata.get("namespace", ""), metadata["name"])
    query = {"fieldManager": "test", "force": "true", "dryRun": "All", "fieldValidation": "Strict"}
    return accepted(*await api.call("PATCH", path, obj, "application/apply-patch+yaml", **query))


async def would_create(api: Api, obj: Object) -> Object:
    """The same for a new object."""
    path = where(obj["kind"], obj["metadata"].get("namespace", ""))
    return accepted(*await api.call("POST", path, obj, dryRun="All", fieldValidation="Strict"))


async def create(api: Api, obj: Object) -> Object:
    """Make an object. Raises Refused."""
    return accepted(*await api.call("POST", where(obj["kind"], obj["metadata"].get("namespace", "")), obj))


async def read(api: Api, kind: str, name: str, namespace: str = "") -> Object | None:
    """An object, or None."""
    status, answer = await api.call("GET", where(kind, namespace, name))
    return None if status == 404 else accepted(status, answer)


async def remove(api: Api, kind: str, name: str, namespace: str = "") -> None:
    """Delete an object that may be gone."""
    status, answer = await api.call("DELETE", where(kind, namespace, name))
    if status != 404:
        accepted(status, answer)


@contextlib.asynccontextmanager
async def namespace(api: Api, *, level: str = "privileged", accounts: tuple[str, ...] = ()) -> AsyncIterator[str]:
    """A namespace with a PodSecurity level and ServiceAccounts."""
    name = f"chart-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": level}
    await create(api, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    try:
        for account in accounts:
            metadata = {"name": account, "namespace": name}
            await create(api, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        yield name
    finally:
        await remove(api, "Namespace", name)


async def ensure_namespace(api: Api, name: str) -> None:
    """Make a namespace if it is not there."""
    with contextlib.suppress(Refused):
        await create(api, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
