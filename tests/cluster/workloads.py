"""What a tenant runs, small and as strict as Pod Security ``restricted`` wants it.

No node exists, so pods stay Pending unless a test says of them what the kubelet would say.
"""

from __future__ import annotations

from tests.cluster.api import Api, Object

STRICT = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONFINED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def pod_spec(**spec: object) -> Object:
    containers = [{"name": "app", "image": "app", "securityContext": CONFINED}]
    return {"securityContext": STRICT, "containers": containers, **spec}


def _template(app: str, **spec: object) -> Object:
    return {"metadata": {"labels": {"app": app}}, "spec": pod_spec(**spec)}


def _named(version: str, kind: str, name: str, namespace: str, spec: Object) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def bare_pod(namespace: str, name: str = "bare") -> Object:
    return _named("v1", "Pod", name, namespace, pod_spec())


def deployment(namespace: str, name: str = "web", replicas: int = 2) -> Object:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": _template(name)}
    return _named("apps/v1", "Deployment", name, namespace, spec)


def stateful_set(namespace: str, name: str = "store") -> Object:
    spec = {"serviceName": name, "replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": _template(name)}
    return _named("apps/v1", "StatefulSet", name, namespace, spec)


def job(namespace: str, name: str = "import") -> Object:
    return _named("batch/v1", "Job", name, namespace, {"template": _template(name, restartPolicy="Never")})


def cron_job(namespace: str, name: str = "nightly") -> Object:
    template = {"spec": {"template": _template(name, restartPolicy="Never")}}
    return _named("batch/v1", "CronJob", name, namespace, {"schedule": "0 3 * * *", "jobTemplate": template})


def disruption_budget(namespace: str, app: str = "web", available: int = 2) -> Object:
    spec = {"minAvailable": available, "selector": {"matchLabels": {"app": app}}}
    return _named("policy/v1", "PodDisruptionBudget", app, namespace, spec)


async def make_ready(api: Api, namespace: str, app: str) -> None:
    """Say of an app's pods what the kubelet would say: they run and are ready."""
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    for pod in await api.list("Pod", namespace, f"app={app}"):
        await api.edit("Pod", pod["metadata"]["name"], {"status": ready}, namespace, status=True)


async def pods(api: Api, namespace: str) -> dict[str, str]:
    """The pods that are there and not on their way out: name → app."""
    return {
        pod["metadata"]["name"]: pod["metadata"].get("labels", {}).get("app", "")
        for pod in await api.list("Pod", namespace)
        if "deletionTimestamp" not in pod["metadata"]
    }


async def count(api: Api, namespace: str) -> dict[str, int]:
    """How many pods each app has."""
    found = list((await pods(api, namespace)).values())
    return {app: found.count(app) for app in set(found)}
