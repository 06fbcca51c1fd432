"""Where the server runs: a namespace of its own, under the strictest Pod Security level, that only two others reach.

It is not the tenant's namespace: whoever may read Secrets or start pods there must not get at the server's
administrator or its disk.
"""

from __future__ import annotations

import pulumi
from pulumi_kubernetes import core, meta, networking

from paybill.engines.pulumi.programs.stack import Stack

PORT = 5432
NAME = "database"
"""Of every object in the namespace, which has one of each kind."""
SELECTED = {"app.kubernetes.io/name": NAME}


def place(stack: Stack) -> core.v1.Namespace:
    """The namespace. It holds data: deleting it would delete the disk's claim with it."""
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return core.v1.Namespace(
        "place",
        metadata=meta.v1.ObjectMetaArgs(name=stack.inputs.suffixed, labels=stack.tags | levels),
        opts=stack.holding(),
    )


def about(
    stack: Stack, namespace: core.v1.Namespace, annotations: dict[str, str] | None = None
) -> meta.v1.ObjectMetaArgs:
    """Name, place and marks of an object."""
    return meta.v1.ObjectMetaArgs(
        name=NAME, namespace=namespace.metadata.name, labels=stack.tags | SELECTED, annotations=annotations
    )


def fence(stack: Stack, namespace: core.v1.Namespace) -> None:
    """In from the tenant's pods and the operator, to Postgres alone; out nowhere."""
    callers = (stack.inputs.namespace, stack.inputs.required("operator_namespace"))
    networking.v1.NetworkPolicy(
        "fence",
        metadata=about(stack, namespace),
        spec=networking.v1.NetworkPolicySpecArgs(
            pod_selector=meta.v1.LabelSelectorArgs(),
            policy_types=["Ingress", "Egress"],
            ingress=[
                networking.v1.NetworkPolicyIngressRuleArgs(
                    from_=[_pods_of(name) for name in callers],
                    ports=[networking.v1.NetworkPolicyPortArgs(protocol="TCP", port=PORT)],
                )
            ],
            egress=[],
        ),
        opts=stack.carrying(),
    )


def account(stack: Stack, namespace: core.v1.Namespace) -> core.v1.ServiceAccount:
    """An account with no rights, whose token no pod gets."""
    return core.v1.ServiceAccount(
        "account",
        metadata=about(stack, namespace),
        automount_service_account_token=False,
        opts=stack.carrying(),
    )


def service(stack: Stack, namespace: core.v1.Namespace) -> pulumi.Output[str]:
    """The server's address within the cluster; returns the host name."""
    made = core.v1.Service(
        "database",
        metadata=about(stack, namespace),
        spec=core.v1.ServiceSpecArgs(
            type="ClusterIP",
            selector=SELECTED,
            ports=[core.v1.ServicePortArgs(name="postgres", port=PORT, target_port="postgres", protocol="TCP")],
        ),
        # The engine waits until it leads to a pod, so the server may not wait for it in turn.
        opts=stack.carrying(),
    )
    return pulumi.Output.format("{0}.{1}.svc", made.metadata.name, namespace.metadata.name)


def _pods_of(namespace: str) -> networking.v1.NetworkPolicyPeerArgs:
    return networking.v1.NetworkPolicyPeerArgs(
        namespace_selector=meta.v1.LabelSelectorArgs(match_labels={"kubernetes.io/metadata.name": namespace})
    )
