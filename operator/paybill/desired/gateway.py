"""The gateway of a tenant's agents: one pod with a Service, and who may reach it and whom it may reach.

It runs in the operator's namespace. In the tenant's own, its owners could read what it is given, run something else in
its place, and a suspension would have to stop it first. One pod and never two: an agent's sessions are limited by its
policy, and the second one would find none left; so a new one begins when the old one has ended. All gateways share an
account that the chart makes, which may ask whose a token is and nothing else: an account for each tenant would take the
right to give rights away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic import Field

from paybill.api import quantity
from paybill.desired import names, network, pod
from paybill.desired.handover import Endpoint
from paybill.desired.pod import Pods

CONTAINER: Final = "gateway"
FOLDER: Final = "/var/run/secrets/paybill.dev/agents"
TOKEN_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - where every client looks
PORT: Final = 8080
METRICS_PORT: Final = 9090
TOKEN_SECONDS: Final = 3600
GRACE: Final = 20
"""Seconds that a gateway has to end."""

_RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}


class GatewayPods(Pods):
    """What all gateways have in common. The image is the operator's own."""

    service_account_name: str = names.GATEWAY_ROLE
    """An account that may create TokenReviews, and nothing else."""
    resources: dict[str, Any] = Field(default_factory=lambda: dict(_RESOURCES))
    """What a gateway asks for and may use."""
    listen: str = "0.0.0.0"  # noqa: S104 - a pod's address is not known before
    """The address that it listens on; `::` in a cluster with IPv6 alone."""
    api_server_ports: tuple[int, ...] = (443, 6443)
    """The ports of the API server, as its endpoints show them."""
    metrics_from: tuple[dict[str, Any], ...] = ()
    """Who may scrape it, as peers of a NetworkPolicy."""


def pods_of(text: str) -> GatewayPods:
    """What is set, from JSON; raises Invalid."""
    return pod.read(GatewayPods, text, "PAYBILL_AGENT_GATEWAY")


def url(identity: names.Identity, namespace: str) -> str:
    """Where agents find it, inside the cluster."""
    return f"http://{names.agents(identity.id)}.{namespace}.svc:{PORT}/mcp"


def audience(identity: names.Identity) -> str:
    """What its agents' tokens are made for: no other gateway's, of whatever tenant or installation."""
    return f"https://paybill.dev/agents/{identity.installation}/{identity.id}"


def build(
    identity: names.Identity, namespace: str, pods: GatewayPods, endpoint: Endpoint, callers: Iterable[str]
) -> list[dict[str, Any]]:
    """Everything of a tenant's gateway; ``callers`` are the namespaces that its agents call from."""
    return [
        _network_policy(identity, namespace, pods, endpoint, callers),
        _service(identity, namespace),
        _deployment(identity, namespace, pods),
    ]


def selector(tenant_id: str) -> dict[str, str]:
    """The labels that its pod is found by; a Deployment can never change them."""
    return {
        "app.kubernetes.io/name": "paybill",
        "app.kubernetes.io/component": "agent-gateway",
        names.TENANT_LABEL: tenant_id,
    }


def _metadata(identity: names.Identity, namespace: str) -> dict[str, Any]:
    labels = names.labels(identity) | selector(identity.id)
    annotations = names.tenant_annotations(identity)
    return {
        "name": names.agents(identity.id), "namespace": namespace, "labels": labels, "annotations": annotations,
    }  # fmt: skip


def _service(identity: names.Identity, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(identity, namespace),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(identity.id),
            "ports": [{"name": "mcp", "protocol": "TCP", "port": PORT, "targetPort": "mcp"}],
        },
    }


def _network_policy(
    identity: names.Identity, namespace: str, pods: GatewayPods, endpoint: Endpoint, callers: Iterable[str]
) -> dict[str, Any]:
    peers = [{"namespaceSelector": {"matchLabels": {names.NAMESPACE_LABEL: one}}} for one in sorted(set(callers))]
    scraped = {"from": list(pods.metrics_from), "ports": [{"protocol": "TCP", "port": METRICS_PORT}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(identity, namespace),
        "spec": {
            "podSelector": {"matchLabels": selector(identity.id)},
            "policyTypes": ["Ingress", "Egress"],
            # A rule without peers would be everybody.
            "ingress": [
                *([{"from": peers, "ports": [{"protocol": "TCP", "port": PORT}]}] if peers else []),
                *([scraped] if pods.metrics_from else []),
            ],
            "egress": [
                {"ports": network.DNS_PORTS},
                network.database(endpoint.host, endpoint.port),
                # To any address: the API server is no pod, and no selector knows it.
                {"ports": [{"protocol": "TCP", "port": port} for port in pods.api_server_ports]},
            ],
        },
    }


def _deployment(identity: names.Identity, namespace: str, pods: GatewayPods) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(identity, namespace),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector(identity.id)},
            "template": {
                "metadata": {"labels": dict(pods.labels) | names.labels(identity) | selector(identity.id)},
                "spec": _pod(identity, namespace, pods),
            },
        },
    }


def _pod(identity: names.Identity, namespace: str, pods: GatewayPods) -> dict[str, Any]:
    # The one that is mounted unasked holds a year where this one holds an hour.
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}}
    authority = {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    secret = {"secretName": names.agents(identity.id), "defaultMode": 0o440}
    own = {
        "containers": [_container(identity, namespace, pods)],
        "volumes": [
            {"name": "agents", "secret": secret},
            {"name": "token", "projected": {"defaultMode": 0o440, "sources": [token, authority]}},
        ],
    }
    return pod.spec(pods, GRACE, own)


def _container(identity: names.Identity, namespace: str, pods: GatewayPods) -> dict[str, Any]:
    service = f"{names.agents(identity.id)}.{namespace}"
    hosts = [f"{service}.svc:{PORT}", f"{service}.svc.cluster.local:{PORT}", f"{service}:{PORT}"]
    return {
        "name": CONTAINER,
        "image": pods.image,
        "imagePullPolicy": pods.image_pull_policy,
        "args": [
            "agents", "gateway", FOLDER, "--tenant", identity.id, "--audience", audience(identity),
            *(word for host in hosts for word in ("--host-name", host)),
            "--listen", pods.listen, "--port", str(PORT), "--metrics-port", str(METRICS_PORT),
        ],
        "ports": [
            {"name": "mcp", "containerPort": PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "livenessProbe": _probe("/healthz", 6),
        # Whether it reaches the database, with any of its agents' logins.
        "readinessProbe": _probe("/readyz", 2),
        "resources": _resources(pods),
        "securityContext": dict(pod.CONFINED),
        "volumeMounts": [
            {"name": "agents", "mountPath": FOLDER, "readOnly": True},
            {"name": "token", "mountPath": TOKEN_FOLDER, "readOnly": True},
        ],
    }  # fmt: skip


def _resources(pods: GatewayPods) -> dict[str, Any]:
    """In the API server's own notation: what is written otherwise would look like somebody's edit at each look."""
    whole: dict[str, Any] = {}
    for name, value in pods.resources.items():
        amounts = isinstance(value, dict)
        whole[name] = {one: quantity.canonical(str(of)) for one, of in value.items()} if amounts else value
    return whole


def _probe(path: str, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "metrics", "scheme": "HTTP"},
        "periodSeconds": 10,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
