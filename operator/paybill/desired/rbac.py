"""Who may act in a tenant's namespace: the tenant's owners, and the operator itself where it needs a Secret.

Owners get our own ClusterRole, not the built-in ``admin``: that one may write NetworkPolicies, and policies add
up, so one allow-all would undo ours. The operator holds no cluster-wide right to Secrets or pods; it binds
itself to ``paybill-operator-tenant`` in each tenant namespace, which leaves a record where the right applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paybill.api.tenant import Owner
from paybill.desired import names

RBAC = "rbac.authorization.k8s.io"


def service_account(identity: names.Identity) -> dict[str, Any]:
    """The account for the tenant's pods; it has no rights and its token is not mounted unasked."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": names.SERVICE_ACCOUNT,
            "namespace": names.namespace(identity.id),
            "labels": names.labels(identity),
        },
        "automountServiceAccountToken": False,
    }


def owners(identity: names.Identity, subjects: Sequence[Owner]) -> dict[str, Any]:
    """The RoleBinding of the tenant's owners; made only once the quota is enforced."""
    return _binding(
        identity,
        names.namespace(identity.id),
        names.OWNERS_BINDING,
        names.OWNER_ROLE,
        [
            _subject(owner)
            for owner in sorted(subjects, key=lambda owner: (owner.kind, owner.namespace or "", owner.name))
        ],
    )


def operator(identity: names.Identity, operator_namespace: str, service_account: str) -> dict[str, Any]:
    """The operator's own RoleBinding in a tenant's namespace."""
    subject = {"kind": "ServiceAccount", "namespace": operator_namespace, "name": service_account}
    return _binding(
        identity, names.namespace(identity.id), names.OPERATOR_BINDING, names.OPERATOR_TENANT_ROLE, [subject]
    )


def pool_operator(cell: str, installation: str, operator_namespace: str, service_account: str) -> dict[str, Any]:
    """The operator's own RoleBinding in the pool namespace of a cell."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {
            "name": names.OPERATOR_BINDING,
            "namespace": names.pool_namespace(cell),
            "labels": names.cell_labels(cell, installation),
        },
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": names.OPERATOR_TENANT_ROLE},
        "subjects": [{"kind": "ServiceAccount", "namespace": operator_namespace, "name": service_account}],
    }


def _binding(
    identity: names.Identity, namespace: str, name: str, role: str, subjects: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace, "labels": names.labels(identity)},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    }


def _subject(owner: Owner) -> dict[str, Any]:
    if owner.kind == "ServiceAccount":
        return {"kind": owner.kind, "name": owner.name, "namespace": owner.namespace or "default"}
    return {"kind": owner.kind, "name": owner.name, "apiGroup": RBAC}
