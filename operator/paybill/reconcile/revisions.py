"""The content of every Plan revision that a tenant is on, kept as ControllerRevisions in the operator's namespace.

A Plan may be edited or deleted while tenants still run on what it said before; the revision is what they are held
to. A ControllerRevision has no ownerReference, because a garbage collection that follows the Plan would take
away exactly what must outlive it.
"""

from __future__ import annotations

from typing import Any

from paybill.api.plan import Plan, PlanSpec
from paybill.cluster.client import Cluster
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.desired.revision import build
from paybill.lifecycle.rollout import Orders, orders


class Revisions:
    """The kept revisions, mirrored in memory. They are few: one per edit of a Plan."""

    def __init__(self, cluster: Cluster, namespace: str, installation: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._installation = installation
        self._kept: dict[tuple[str, str], PlanSpec] = {}

    async def load(self) -> None:
        """Read all of them once at start."""
        labels = f"{names.INSTALLATION_LABEL}={self._installation},{names.PLAN_LABEL}"
        for obj in await self._cluster.list("ControllerRevision", namespace=self._namespace, labels=labels):
            self._take(obj)

    def get(self, plan: str | None, revision: str | None) -> PlanSpec | None:
        """The content of one revision; None when it is not kept, or none is named."""
        return self._kept.get((plan, revision)) if plan is not None and revision is not None else None

    def desired(self, plan: Plan) -> dict[str, Any] | None:
        """The ControllerRevision that is missing for the Plan as it is now, or None."""
        revision = plan.revision()
        if (plan.metadata.name, revision) in self._kept:
            return None
        return build(plan, revision, self._namespace, self._installation)

    def orders(self, plan: Plan) -> Orders:
        """Which revision the Plan's tenants are to be on, and whether its rollout goes on."""
        said = plan.metadata.annotations.get(names.ROLLOUT_ANNOTATION)
        return orders(said, plan.revision(), self.of_plan(plan.metadata.name))

    async def keep(self, obj: dict[str, Any]) -> None:
        """Write one and mirror it."""
        self._take(await self._cluster.apply(obj))

    def of_plan(self, plan: str) -> tuple[str, ...]:
        """The revisions kept of a Plan."""
        return tuple(revision for name, revision in self._kept if name == plan)

    async def drop(self, plan: str, revision: str) -> None:
        """Delete one that no tenant names any more."""
        key = Key("ControllerRevision", self._namespace, names.revision(plan, revision))
        found = await self._cluster.get(key)
        if found is not None:
            metadata = found["metadata"]
            await self._cluster.delete(key, uid=metadata["uid"], resource_version=metadata["resourceVersion"])
        self._kept.pop((plan, revision), None)

    def _take(self, obj: dict[str, Any]) -> None:
        data = obj["data"]
        self._kept[data["plan"], data["revision"]] = PlanSpec.model_validate(data["content"])
