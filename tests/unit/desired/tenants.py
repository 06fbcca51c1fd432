"""One tenant with a bit of everything, and all the objects that are made for it."""

from __future__ import annotations

from typing import Any

from paybill.api.plan import Network, Plan
from paybill.api.tenant import Owner
from paybill.desired import handover, names, namespace, network, quota, rbac
from paybill.lifecycle.entitlements import Entitlement

INSTALLATION = "paybill"
SYSTEM = "paybill-system"
ACCOUNT = "paybill-operator"
ACME = names.Identity(
    id="k3x9m2qd", tenant_name="acme", tenant_uid="3f0c9a52-8a0e-4b5f-9f5b-2d3c1c7a9e11", installation=INSTALLATION
)
OWNERS = (
    Owner(kind="User", name="zoe@acme.example"),
    Owner(kind="Group", name="acme-admins"),
    Owner(kind="ServiceAccount", name="deployer", namespace="acme-ci"),
)
QUOTA = {"requests.cpu": "4000m", "limits.memory": "8Gi", "pods": "40", "services.loadbalancers": "1"}
NETWORK = Network.model_validate({
    "ingressFrom": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "ingress-nginx"}},
            "ports": [{"port": 8080}, {"port": 9090, "protocol": "UDP"}],
        },
    ],
    "egressTo": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}, "ports": [{"port": 443}]}],
})  # fmt: skip
DATABASES = [("10.20.30.40", 5432), ("pg-rw.databases.svc.cluster.local", 6432)]
ENDPOINT = handover.Endpoint(host="10.20.30.40", port=5432, database="pb_k3x9m2qd", sslmode="verify-full", ca="PEM")
ENTITLEMENTS = (
    Entitlement(name="region", value="eu", source="Plan"),
    Entitlement(name="seats", value=40, source="Subscription"),
    Entitlement(name="sso", value=True, source="AddOn"),
)
PLAN = Plan.model_validate({
    "metadata": {"name": "growth", "generation": 3},
    "spec": {
        "displayName": "Growth",
        "isolation": {"model": "Bridge", "database": "Database"},
        "limits": {"quota": QUOTA},
        "features": [{"name": "sso", "boolean": True}, {"name": "seats", "integer": 25}],
        "trialDays": 14,
    },
})  # fmt: skip


def own_namespace(pods: quota.Pods, phase: str, access: str) -> list[dict[str, Any]]:
    """Everything of a tenant with compute Namespace."""
    place = names.namespace(ACME.id)
    return [
        namespace.build(ACME),
        quota.build(ACME, QUOTA, pods),
        quota.build_limits(ACME),
        network.build(ACME, NETWORK, DATABASES),
        rbac.service_account(ACME),
        rbac.operator(ACME, SYSTEM, ACCOUNT),
        rbac.owners(ACME, OWNERS),
        *handed_over(place, phase, access),
    ]


def shared(phase: str, access: str) -> list[dict[str, Any]]:
    """Everything of a tenant with compute Shared."""
    return [
        namespace.build_pool("eu-west-1", INSTALLATION),
        rbac.pool_operator("eu-west-1", INSTALLATION, SYSTEM, ACCOUNT),
        *handed_over(names.pool_namespace("eu-west-1"), phase, access),
    ]


def handed_over(place: str, phase: str, access: str) -> list[dict[str, Any]]:
    logins = {"ro": ("pb_k3x9m2qd_ro", "ro secret"), "mig": ("pb_k3x9m2qd_mig", "mig/secret")}
    return [
        handover.binding(ACME, place, handover.binding_data(ENDPOINT, "pb_k3x9m2qd_app", "p@ss:w/rd")),
        handover.provider_binding(ACME, SYSTEM, handover.provider_data(ENDPOINT, logins)),
        handover.entitlements(ACME, place, phase, access, ENTITLEMENTS),
    ]
