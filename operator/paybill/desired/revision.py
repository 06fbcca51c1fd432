"""The ControllerRevision that keeps what a Plan said, for the tenants that run on it."""

from __future__ import annotations

from typing import Any

from paybill.api.plan import Plan
from paybill.desired import names


def build(plan: Plan, revision: str, namespace: str, installation: str) -> dict[str, Any]:
    """The object; its name carries the hash of its content, so it is never edited."""
    name = plan.metadata.name
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": names.revision(name, revision),
            "namespace": namespace,
            "labels": {
                names.MANAGED_BY_LABEL: names.MANAGER,
                names.INSTALLATION_LABEL: installation,
                names.PLAN_LABEL: name,
            },
        },
        "data": {"plan": name, "revision": revision, "content": plan.content()},
        "revision": plan.metadata.generation,
    }
