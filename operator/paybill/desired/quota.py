"""What bounds a tenant's namespace: its ResourceQuota and the LimitRange that makes the quota usable.

A quota on ``requests.cpu`` refuses every pod that asks for nothing, so the LimitRange gives each container
modest defaults. Nothing that costs money outside the cluster (load balancers, node ports) is allowed unless
the Plan says so. Suspension is a quota too: no pods, no Jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from paybill.api import quantity
from paybill.desired import names

REFUSED_BY_DEFAULT = {"services.loadbalancers": "0", "services.nodeports": "0"}
STOPPED = {"pods": "0", "count/jobs.batch": "0"}
PODS_ANNOTATION = "paybill.dev/pods"
SINCE_ANNOTATION = "paybill.dev/stopped-time"
CONTAINER_REQUEST = {"cpu": "50m", "memory": "64Mi"}
CONTAINER_LIMIT = {"cpu": "500m", "memory": "256Mi"}


class Pods(StrEnum):
    """Whether a tenant's pods may run. ``RESUMING`` stays on the object until every workload was told, so that a
    crash in between is mended: controllers that backed off would otherwise wait for minutes.
    """

    RUNNING = "running"
    STOPPED = "stopped"
    RESUMING = "resuming"


def pods_of(observed: Mapping[str, Any] | None) -> Pods:
    """What the quota that exists says."""
    said = _annotation(observed, PODS_ANNOTATION)
    # A mark that is none of ours was edited by hand: to resume once more costs little and mends what it hid.
    return Pods.RUNNING if said is None else Pods(said) if said in set(Pods) else Pods.RESUMING


def stopped_since(observed: Mapping[str, Any] | None) -> datetime | None:
    """When the quota that exists stopped the pods."""
    said = _annotation(observed, SINCE_ANNOTATION)
    try:
        return datetime.fromisoformat(said) if said is not None else None
    except ValueError:
        return None


def _annotation(observed: Mapping[str, Any] | None, name: str) -> str | None:
    annotations = (observed or {}).get("metadata", {}).get("annotations") or {}
    value: str | None = annotations.get(name)
    return value


def hard(quota: Mapping[str, str], *, stopped: bool) -> dict[str, str]:
    """``spec.hard``: the Plan's keys verbatim over our defaults, in the API server's own notation."""
    merged = REFUSED_BY_DEFAULT | dict(quota) | (STOPPED if stopped else {})
    return {name: quantity.canonical(value) for name, value in sorted(merged.items())}


def build(
    identity: names.Identity, quota: Mapping[str, str], pods: Pods, since: datetime | None = None
) -> dict[str, Any]:
    """The ResourceQuota of one tenant; ``since`` is when its pods were stopped, while they are."""
    marks = {} if pods is Pods.RUNNING else {PODS_ANNOTATION: str(pods)}
    if pods is Pods.STOPPED and since is not None:
        marks[SINCE_ANNOTATION] = since.isoformat()
    marked = {"annotations": marks} if marks else {}
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {
            "name": names.QUOTA,
            "namespace": names.namespace(identity.id),
            "labels": names.labels(identity),
            **marked,
        },
        "spec": {"hard": hard(quota, stopped=pods is Pods.STOPPED)},
    }


def build_limits(identity: names.Identity) -> dict[str, Any]:
    """The LimitRange of one tenant."""
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {
            "name": names.LIMITS,
            "namespace": names.namespace(identity.id),
            "labels": names.labels(identity),
        },
        "spec": {"limits": [{"type": "Container", "default": CONTAINER_LIMIT, "defaultRequest": CONTAINER_REQUEST}]},
    }


def enforced(observed: Mapping[str, Any] | None, desired: Mapping[str, Any]) -> bool:
    """Whether admission acts on this quota: it reads ``status.hard``, which the controller-manager fills later.

    After a suspension what stopped the pods must be gone from there too, where the Plan itself does not bound them.
    """
    if observed is None:
        return False
    acted_on, wanted = observed.get("status", {}).get("hard", {}), desired["spec"]["hard"]
    left_over = (name for name, value in STOPPED.items() if name not in wanted and acted_on.get(name) == value)
    return all(acted_on.get(name) == value for name, value in wanted.items()) and not any(left_over)
