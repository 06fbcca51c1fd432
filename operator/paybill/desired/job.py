"""The Job that carries out one operation of an engine: one pod, tried once, with nothing that it does not need.

Its pod satisfies the strictest Pod Security, has no token for the API server and no right there, and is told what to do
by a Secret that goes with the Job. The Job is made suspended: its pod must not begin before that Secret is there,
and whoever finds a suspended one knows that nothing ever began.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import Field, ValidationError

from paybill.api.base import ApiModel
from paybill.api.failures import Invalid
from paybill.desired import names
from paybill.desired.resource import texts

CONTAINER = "operation"
REQUEST_FILE = "request.json"
KEY_FILE = "key"
REQUEST_FOLDER = "/var/run/secrets/paybill.dev/operation"
WORK_FOLDER = "/var/lib/paybill"
USER = 65532
MARGIN = 15
"""Seconds that a pod has beside what its operation has: to start an interpreter, and to write its answer."""

_RESOURCES = {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}


class OperationPods(ApiModel):
    """What all pods of operations have in common, in the words of a pod's own fields."""

    image: str = Field(min_length=1)
    """The image, with the CLI, the SDKs and the modules that the Cells' engines need."""
    image_pull_policy: str = "IfNotPresent"
    """When the image is fetched."""
    image_pull_secrets: tuple[dict[str, Any], ...] = ()
    """What it is fetched with."""
    service_account_name: str = "paybill-operation"
    """An account without rights."""
    resources: dict[str, Any] = Field(default_factory=lambda: dict(_RESOURCES))
    """What an operation asks for and may use."""
    folder_size: str = "2Gi"
    """How much it may write: plugins, a plan, a state."""
    priority_class_name: str | None = None
    """Its priority."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Where it may run."""
    tolerations: tuple[dict[str, Any], ...] = ()
    """Where it may run all the same."""
    affinity: dict[str, Any] = Field(default_factory=dict)
    """Where it would rather run."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of its pod; none of ours."""
    env: tuple[dict[str, Any], ...] = ()
    """Where tools and plugins are, proxies."""
    volumes: tuple[dict[str, Any], ...] = ()
    """Further volumes: modules, certificates, a mirror of providers."""
    volume_mounts: tuple[dict[str, Any], ...] = ()
    """Where they are mounted."""


def pods_of(text: str) -> OperationPods:
    """What is set, from JSON; raises Invalid."""
    try:
        return OperationPods.model_validate_json(text)
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors())
        raise Invalid("InvalidSetting", f"PAYBILL_OPERATION_PODS says no pod: {where}") from None


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
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "hostname": names.operation_host(tenant_id),
        "serviceAccountName": pods.service_account_name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            # The Secret's files are root's; their group is what lets us read them.
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(pods)],
        "volumes": [
            {"name": "request", "secret": secret},
            {"name": "work", "emptyDir": {"sizeLimit": pods.folder_size}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            *pods.volumes,
        ],
        "imagePullSecrets": list(pods.image_pull_secrets),
        "priorityClassName": pods.priority_class_name,
        "nodeSelector": dict(pods.node_selector),
        "tolerations": list(pods.tolerations),
        "affinity": dict(pods.affinity),
    }
    return {field: value for field, value in spec.items() if value not in (None, [], {})}


def _container(pods: OperationPods) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": pods.image,
        "imagePullPolicy": pods.image_pull_policy,
        # -P: nothing in a work folder is ever imported instead of a library.
        "command": ["python", "-P", "-m", "paybill.engines.pod", REQUEST_FOLDER, WORK_FOLDER],
        "env": list(pods.env),
        "resources": dict(pods.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
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
        "data": {
            name: base64.b64encode(value.encode()).decode()
            for name, value in ((REQUEST_FILE, request), (KEY_FILE, key))
        },
    }


def key_in(secret: Mapping[str, Any] | None) -> str | None:
    """The key in such a Secret; None where there is none."""
    return texts(secret).get(KEY_FILE) or None
