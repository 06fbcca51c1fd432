"""Manifests in the words of the tests: what is not said is as small as it can be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cluster.api import OURS, Object

FAR = "2099-01-01T00:00:00Z"
QUOTA = {"requests.cpu": "4", "limits.memory": "8Gi", "pods": "40"}
OPERATOR_NAMESPACE = "paybill-system"


def plan(name: str, compute: str = "Namespace", database: str = "Schema", **spec: Any) -> Object:
    """A Plan by its layers; only with compute Namespace it has a quota."""
    limits: Object = {"database": {"connections": 5}}
    if compute == "Namespace":
        limits["quota"] = QUOTA
    model = {"Database": "Bridge", "Server": "Silo"}.get(database, "Pooled")
    isolation = {"model": model, "compute": compute, "database": database}
    return ours("Plan", name, {"isolation": isolation, "limits": limits, **spec})


def tenant(name: str, **spec: Any) -> Object:
    """A Tenant that can be deleted without a backup."""
    return ours("Tenant", name, {"deletionPolicy": "Delete", **spec})


def subscription(name: str, plan_name: str, *, to: str | None = None, paid: str | None = FAR, **spec: Any) -> Object:
    """A contract of the Tenant of the same name, paid for long unless ``paid`` says otherwise."""
    payment = {"provider": "Manual"} | ({"paidUntilTime": paid} if paid else {})
    references = {"tenantRef": {"name": to or name}, "planRef": {"name": plan_name}}
    return ours("Subscription", name, {**references, "payment": payment, **spec})


def cell(name: str, servers: list[Object] | None = None, **spec: Any) -> Object:
    """A Cell that is not the default; by default with one server for schemas."""
    return ours(
        "Cell", name, {"provider": "Embedded", "notices": "EventsOnly", "servers": servers or [server()], **spec}
    )


def server(name: str = "schemas-1", holds: str = "Schemas", secret: str = "paybill-servers", **spec: Any) -> Object:
    """A server of a Cell, by default the local Postgres."""
    key = "rows-1" if holds == "Rows" else "schemas-1"
    return {"name": name, "holds": holds, "adminSecretRef": {"name": secret, "key": key}, **spec}


def ours(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": OURS, "kind": kind, "metadata": {"name": name}, "spec": spec}


def moment(**ago: float) -> str:
    """The time so long ago (negative: to come), as manifests write it."""
    return written(datetime.now(UTC) - timedelta(**ago))


def written(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def read(text: str) -> datetime:
    return datetime.fromisoformat(text)
