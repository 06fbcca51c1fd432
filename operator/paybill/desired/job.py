"""The Job that carries out one operation of an engine: one pod, tried once, with nothing that it does not need.

Its pod satisfies the strictest Pod Security, has no token for the API server and no right there, and is told what to do
by a Secret that goes with the Job. The Job is made suspended: its pod must not begin before that Secret is there,
and whoever finds a suspended one knows that nothing ever began.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import Field

from paybill.desired import names, pod
from paybill.desired.pod import Pods
from paybill.desired.resource import encoded, texts

CONTAINER = "operation"
REQUEST_FILE = "request.json"
KEY_FILE = "key"
REQUEST_FOLDER = "/var/run/secrets/paybill.dev/operation"
WORK_FOLDER = "/var/lib/paybill"
MARGIN = 15
"""Seconds that a pod has beside what its operation has: to start an interpreter, and to write its answer."""

_RESOURCES = {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}


class OperationPods(Pods):
    """What all pods of operations have in common; their image has what the Cells' engines need: CLI, SDKs, modules."""

    service_account_name: str = "paybill-operation"
    """An account without rights."""
    resources: dict[str, Any] = Field(default_factory=lambda: dict(_RESOURCES))
    """What an operation asks for and may use."""
    folder_size: str = "2Gi"
    """How much it may write: plugins, a plan, a state."""
    env: tuple[dict[str, Any], ...] = ()
    """Where tools and plugins are, proxies."""
    volumes: tuple[dict[str, Any], ...] = ()
    """Further volumes: modules, certificates, a mirror of providers."""
    volume_mounts: tuple[dict[str, Any], ...] = ()
    """Where they are mounted."""


def pods_of(text: str) -> OperationPods:
    """What is set, from JSON; raises Invalid."""
    return pod.read(OperationPods, text, "PAYBILL_OPERATION_PODS")


def build(
    operation: str, tenant_id: str, installation: str, namespace: str, pods: OperationPods, *,
    lasts: timedelta, grace: timedelta,
) -> dict[str, Any]:  # fmt: skip
    """The Job of one operation, suspended. ``lasts``: at most, with all patience. ``grace``: to stop when asked."""
    labels = names.operation_labels(operation, tenant_id, installation)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": names.operation_job(operation), "namespace": namespace, "labels": labels},
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": int(lasts.total_seconds()),
            "template": {
                "metadata": {
                    "labels": dict(pods.labels) | labels | _PARTS,
                    # Whoever moves pods about waits for it: it is over in minutes, and dear to begin anew.
                    "annotations": {
                        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
                        "karpenter.sh/do-not-disrupt": "true",
                    },
                },
                "spec": _pod(operation, tenant_id, pods, int(grace.total_seconds()) + MARGIN),
            },
        },
    }


_PARTS = {"app.kubernetes.io/name": "paybill", "app.kubernetes.io/component": "operation"}


def _pod(operation: str, tenant_id: str, pods: OperationPods, grace: int) -> dict[str, Any]:
    secret = {"secretName": names.operation_job(operation), "defaultMode": 0o440}
    own = {
        "restartPolicy": "Never",
        "hostname": names.operation_host(tenant_id),
        "containers": [_container(pods)],
        "volumes": [
            {"name": "request", "secret": secret},
            {"name": "work", "emptyDir": {"sizeLimit": pods.folder_size}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            *pods.volumes,
        ],
    }
    return pod.spec(pods, grace, own)


def _container(pods: OperationPods) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": pods.image,
        "imagePullPolicy": pods.image_pull_policy,
        # -P: nothing in a work folder is ever imported instead of a library.
        "command": ["python", "-P", "-m", "paybill.engines.pod", REQUEST_FOLDER, WORK_FOLDER],
        "env": list(pods.env),
        "resources": dict(pods.resources),
        "securityContext": dict(pod.CONFINED),
        "volumeMounts": [
            {"name": "request", "mountPath": REQUEST_FOLDER, "readOnly": True},
            {"name": "work", "mountPath": WORK_FOLDER},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
            *pods.volume_mounts,
        ],
    }


def request_secret(job: Mapping[str, Any], request: str, key: str) -> dict[str, Any]:
    """What the Job's pod is asked, and the key that it seals its answer with; it goes when the Job goes."""
    metadata = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": dict(metadata["labels"]),
            "ownerReferences": [owner],
        },
        "type": "Opaque",
        "data": encoded({REQUEST_FILE: request, KEY_FILE: key}),
    }


def key_in(secret: Mapping[str, Any] | None) -> str | None:
    """The key in such a Secret; None where there is none."""
    return texts(secret).get(KEY_FILE) or None
