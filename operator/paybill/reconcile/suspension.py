"""Takes a tenant's pods away and brings them back, without touching the specs of its objects.

The quota does it (``pods: 0``), so GitOps tools see no difference and do not fight. It acts from its status, so
nothing is evicted before the status shows it; and on the way back every controller is told by an annotation, because
one that backed off while it was refused waits for up to a quarter of an hour (measured: 233 s after 7 minutes, 0.1 s
with the annotation).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any

from paybill.api.failures import Retry
from paybill.cluster.events import News
from paybill.desired import names, quota
from paybill.desired.resource import Key
from paybill.lifecycle.budget import SUSPENSIONS
from paybill.reconcile.site import Site
from paybill.reconcile.steps import Step, take
from paybill.reconcile.world import World

PATIENCE = timedelta(seconds=60)
"""How long a PodDisruptionBudget may refuse an eviction before the pod is deleted."""
WORKLOADS = ("ReplicaSet", "StatefulSet", "DaemonSet", "Job")
NAMED_AT_MOST = 10


async def suspend(world: World, site: Site, act: Callable[[], Awaitable[Any]], inputs: object) -> Any:
    """Take the step that suspends a tenant; returns what it returns, raises Retry when it is not its turn."""
    target = f"Tenant/{site.tenant.metadata.name}"
    due = world.brakes.cell(site.claim.cell).due.get(site.claim.id)
    step = Step(action=SUSPENSIONS.action, target=target, act=act, inputs=inputs, budget=SUSPENSIONS, due=due)
    return (await take(world, site.scope, [step]))[0]


async def announce(world: World, site: Site) -> None:
    """Say, before acting, what a suspension loses on purpose: pods without a controller and running Jobs."""
    pods = await world.cluster.list("Pod", namespace=site.namespace)
    jobs = await world.cluster.list("Job", namespace=site.namespace)
    bare = [pod["metadata"]["name"] for pod in pods if not _controlled(pod)]
    running = [job["metadata"]["name"] for job in jobs if job.get("status", {}).get("active")]
    lost = [*(f"pod {name}" for name in bare), *(f"job {name}" for name in running)]
    said = f"; these do not come back: {_some(lost)}" if lost else ""
    world.events.post(
        News(about=site.tenant, reason="Suspending", message=f"{len(pods)} pods are stopped{said}", warning=bool(lost))
    )


async def drain(world: World, site: Site) -> None:
    """Evict what still runs, and after the patience delete it; raises Retry until no pod is left.

    The patience is counted from the moment the quota was set, which stands on the quota itself. Until it ends pods are
    listed: the controller-manager counts for the quota from what it has seen, and a pod that was made a moment before
    the quota may be missing from its count for minutes. Later the count is enough, and costs no request.
    """
    row = quota_row(world, site) or {}
    since = quota.stopped_since(row) or world.now()
    patient = world.now() < since + PATIENCE
    if not patient and _counted(row) == "0":
        return
    pods = [pod for pod in await world.cluster.list("Pod", namespace=site.namespace) if _running(pod)]
    if not pods and _counted(row) == "0":
        return
    steps = [_evict(world, site, pod) for pod in pods] if patient else [_delete(world, pod) for pod in pods]
    refused = [name for name in await take(world, site.scope, steps) if name is not None]
    held = f"; a PodDisruptionBudget holds {_some(refused)} until {since + PATIENCE:%H:%M:%S}" if refused else ""
    raise Retry("PodsLeaving", f"{len(pods)} pods of namespace {site.namespace} are leaving{held}", after=0.5)


def _counted(row: dict[str, Any]) -> str:
    return str(row.get("status", {}).get("used", {}).get("pods", "0"))


async def evict_all(world: World, site: Site) -> None:
    """Evict every pod once; what a PodDisruptionBudget holds goes with the namespace."""
    pods = [pod for pod in await world.cluster.list("Pod", namespace=site.namespace) if _running(pod)]
    await take(world, site.scope, [_evict(world, site, pod) for pod in pods])


async def tell_workloads(world: World, site: Site) -> None:
    """Annotate every workload, so that its controller looks again at once."""
    stamp = world.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    steps: list[Step] = []
    for kind in WORKLOADS:
        found = await world.cluster.list(kind, namespace=site.namespace)
        steps += (_tell(world, Key(kind, site.namespace, one["metadata"]["name"]), stamp) for one in found)
    await take(world, site.scope, steps)


def _tell(world: World, key: Key, stamp: str) -> Step:
    return Step(
        action="workload.resume",
        target=str(key),
        act=lambda: world.cluster.annotate(key, {names.RESUMED_ANNOTATION: stamp}),
    )


def _evict(world: World, site: Site, pod: dict[str, Any]) -> Step:
    name = pod["metadata"]["name"]

    async def act() -> str | None:
        return None if await world.cluster.evict(site.namespace, name) else name

    return Step(action="pod.evict", target=f"Pod/{site.namespace}/{name}", act=act, destructive=True)


def _delete(world: World, pod: dict[str, Any]) -> Step:
    metadata = pod["metadata"]
    key = Key("Pod", metadata["namespace"], metadata["name"])

    async def act() -> None:
        await world.cluster.delete(key, uid=metadata["uid"], resource_version=metadata["resourceVersion"])

    return Step(action="pod.delete", target=str(key), act=act, destructive=True)


def _quota_key(site: Site) -> Key:
    return Key("ResourceQuota", site.namespace, names.QUOTA)


def quota_row(world: World, site: Site) -> dict[str, Any] | None:
    """The tenant's ResourceQuota as last seen."""
    row = world.children.get(_quota_key(site))
    return row.parsed() if row is not None else None


def quota_state(world: World, site: Site) -> quota.Pods:
    """What the tenant's quota says of its pods."""
    return quota.pods_of(quota_row(world, site))


def _controlled(pod: dict[str, Any]) -> bool:
    return any(owner.get("controller") for owner in pod["metadata"].get("ownerReferences") or ())


def _running(pod: dict[str, Any]) -> bool:
    done = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
    return not done and "deletionTimestamp" not in pod["metadata"]


def _some(names_: Iterable[str]) -> str:
    listed = list(names_)
    more = f" and {len(listed) - NAMED_AT_MOST} more" if len(listed) > NAMED_AT_MOST else ""
    return ", ".join(listed[:NAMED_AT_MOST]) + more
