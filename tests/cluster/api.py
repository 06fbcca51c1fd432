"""The API server as its users see it: a client of a few lines that leans on nothing it might test."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from paybill.cluster.session import Session, open_session

Object = dict[str, Any]

OURS = "paybill.dev/v1alpha1"
AGENTS = "agents.paybill.dev/v1alpha1"
KINDS: dict[str, tuple[str, str, bool]] = {
    "Namespace": ("v1", "namespaces", False),
    "ResourceQuota": ("v1", "resourcequotas", True),
    "LimitRange": ("v1", "limitranges", True),
    "ServiceAccount": ("v1", "serviceaccounts", True),
    "Secret": ("v1", "secrets", True),
    "ConfigMap": ("v1", "configmaps", True),
    "Pod": ("v1", "pods", True),
    "Event": ("v1", "events", True),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies", True),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings", True),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "Deployment": ("apps/v1", "deployments", True),
    "Service": ("v1", "services", True),
    "ReplicaSet": ("apps/v1", "replicasets", True),
    "StatefulSet": ("apps/v1", "statefulsets", True),
    "DaemonSet": ("apps/v1", "daemonsets", True),
    "ControllerRevision": ("apps/v1", "controllerrevisions", True),
    "Job": ("batch/v1", "jobs", True),
    "CronJob": ("batch/v1", "cronjobs", True),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets", True),
    "Plan": (OURS, "plans", False),
    "Tenant": (OURS, "tenants", False),
    "Subscription": (OURS, "subscriptions", False),
    "Cell": (OURS, "cells", False),
    "Approval": (OURS, "approvals", False),
    "TenantBackup": (OURS, "tenantbackups", False),
    "TenantRestore": (OURS, "tenantrestores", False),
    "AgentPolicy": (AGENTS, "agentpolicies", True),
    "AgentWorkflow": (AGENTS, "agentworkflows", True),
    "AgentRun": (AGENTS, "agentruns", True),
}


class Reference(NamedTuple):
    """One object."""

    kind: str
    name: str
    namespace: str = ""


class Refused(Exception):  # noqa: N818 - what the API server did
    """The API server said no."""

    def __init__(self, status: int, answer: Object) -> None:
        super().__init__(f"HTTP {status}: {answer.get('message', answer)}")
        self.status = status


@dataclass
class Api:
    """One user's session. ``made`` holds what was applied or created through it, for whoever tidies up."""

    session: Session
    made: dict[Reference, None] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, body: Any = None, kind: str = "application/json", *, by: str = "", **query: str
    ) -> tuple[int, Object]:
        """One request; the status and the answer, whatever they are. ``by``: an administrator of another name."""
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": kind} if body is not None else {}
        headers |= {"Impersonate-User": by, "Impersonate-Group": "system:masters"} if by else {}
        url = self.session.server + path
        async with self.session.http.request(method, url, data=content, headers=headers, params=query) as answer:
            text = await answer.read() or b"{}"
            # What is served nowhere is answered in plain text.
            return answer.status, json.loads(text) if text[:1] in b"{[" else {"message": text.decode()}

    async def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        status, answer = await self.call("GET", path(kind, namespace, name))
        return None if status == 404 else accepted(status, answer)

    async def list(self, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        query = {"labelSelector": labels} if labels else {}
        answer = accepted(*await self.call("GET", path(kind, namespace), **query))
        return [{**item, "kind": kind} for item in answer["items"]]

    async def apply(self, *objects: Object) -> list[Object]:
        """Server-side apply, as kubectl does it; several objects one after the other."""
        answers = []
        for obj in objects:
            reference = reference_of(obj)
            self.made[reference] = None
            where = path(reference.kind, reference.namespace, reference.name)
            answer = await self.call(
                "PATCH", where, obj, "application/apply-patch+yaml", fieldManager="kubectl", force="true"
            )
            answers.append(accepted(*answer))
        return answers

    async def create(self, obj: Object, *, by: str = "") -> Object:
        reference = reference_of(obj)
        self.made[reference] = None
        return accepted(*await self.call("POST", path(reference.kind, reference.namespace), obj, by=by))

    async def edit(self, kind: str, name: str, change: Object, namespace: str = "", *, status: bool = False) -> Object:
        """A merge patch, as ``kubectl patch`` or ``kubectl edit`` sends it."""
        where = path(kind, namespace, name) + ("/status" if status else "")
        return accepted(*await self.call("PATCH", where, change, "application/merge-patch+json", fieldManager="hand"))

    async def delete(
        self, kind: str, name: str, namespace: str = "", *, cascade: str = "Background", meant: bool = True
    ) -> bool:
        """Delete an object; a Tenant, if it is ``meant``, as its delete protection asks."""
        if kind == "Tenant" and meant and await self.get(kind, name) is not None:
            try:
                await self.edit(kind, name, {"metadata": {"annotations": {"paybill.dev/allow-delete": name}}})
            except Refused as refused:
                if refused.status == 404:  # it went meanwhile
                    return False
                raise
        options = {"propagationPolicy": cascade}
        status, answer = await self.call("DELETE", path(kind, namespace, name), options)
        if status == 404:
            return False
        accepted(status, answer)
        return True

    async def strip(self, kind: str, name: str, namespace: str = "") -> None:
        """Take every finalizer off, as somebody does who knows no better."""
        if await self.get(kind, name, namespace) is not None:
            with contextlib.suppress(Refused):
                await self.edit(kind, name, {"metadata": {"finalizers": None}}, namespace)

    async def watch(self, kind: str, since: str, namespace: str = "") -> AsyncIterator[tuple[str, Object]]:
        """Events from a resourceVersion on, until the caller leaves."""
        url = self.session.server + path(kind, namespace)
        timeout = aiohttp.ClientTimeout(total=600)
        query = {"watch": "1", "resourceVersion": since}
        async with self.session.http.get(url, params=query, timeout=timeout) as answer:
            async for line in answer.content:
                event = json.loads(line)
                yield event["type"], event["object"]

    async def version(self, kind: str, namespace: str = "") -> str:
        """Where a watch of a kind can begin."""
        answer = accepted(*await self.call("GET", path(kind, namespace), limit="1"))
        return str(answer["metadata"]["resourceVersion"])


@contextlib.asynccontextmanager
async def user(kubeconfig: Path) -> AsyncIterator[Api]:
    """The API server as the user of a kubeconfig."""
    async with open_session(kubeconfig) as session:
        yield Api(session)


def path(kind: str, namespace: str = "", name: str = "") -> str:
    """Where a collection or an object is."""
    version, plural, namespaced = KINDS[kind]
    if version == AGENTS:
        namespace = namespace or "default"  # where a test does not care
    parts = ["/api" if version == "v1" else "/apis", version]
    parts += ["namespaces", namespace] if namespaced and namespace else []
    return "/".join([*parts, plural, *([name] if name else [])])


def reference_of(obj: Object) -> Reference:
    """The object that a manifest is about."""
    return Reference(obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", ""))


def accepted(status: int, answer: Object) -> Object:
    """The answer of a request that went well; raises Refused otherwise."""
    if status >= 300:
        raise Refused(status, answer)
    return answer


def condition(obj: Object | None, kind: str) -> Object:
    """One condition of an object; empty when it has none of that type."""
    found = (obj or {}).get("status", {}).get("conditions") or []
    return next((one for one in found if one["type"] == kind), {})


def holds(obj: Object | None, kind: str, reason: str = "", status: str = "True") -> bool:
    """Whether a condition has a status, and a reason if one is given, for the object's present generation."""
    if obj is None or obj["status" if "status" in obj else "metadata"].get("observedGeneration") != obj["metadata"].get(
        "generation"
    ):
        return False
    found = condition(obj, kind)
    return found.get("status") == status and reason in ("", found.get("reason"))
