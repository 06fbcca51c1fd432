"""The namespace of a tenant, with Pod Security at its strictest level.

``restricted`` is enforced, audited and warned about: a tenant's pod that asks for more is refused by the API
server itself, with no webhook of ours in the path.
"""

from __future__ import annotations

from typing import Any

from paybill.desired import names

POD_SECURITY = "restricted"


def build(identity: names.Identity) -> dict[str, Any]:
    """The Namespace of one tenant."""
    pod_security = {f"pod-security.kubernetes.io/{mode}": POD_SECURITY for mode in ("enforce", "audit", "warn")}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": names.namespace(identity.id),
            "labels": names.labels(identity) | pod_security,
            "annotations": names.tenant_annotations(identity),
        },
    }


def build_pool(cell: str, installation: str) -> dict[str, Any]:
    """The namespace shared by the tenants of a cell with compute Shared; it belongs to the provider alone."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": names.pool_namespace(cell),
            "labels": names.cell_labels(cell, installation),
        },
    }
