"""The program for a bare cluster: a Postgres server for tenants that get one, and nothing for the others."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes

from paybill.desired.stack import DatabaseInputs, StackInputs
from paybill.engines.pulumi.programs.kubernetes import credentials, place
from paybill.engines.pulumi.programs.kubernetes.server import ADMIN, disk, server, settings
from paybill.engines.pulumi.programs.stack import Handed, Stack

CANNOT: tuple[str, ...] = (
    "Kubernetes: there is no key of the tenant's own; encryption at rest is the storage class's.",
    "Kubernetes: nobody backs the disk up; Paybill's own backups remain.",
    "Kubernetes: there is no standby; a server that loses its node comes back when its disk can be attached elsewhere.",
    "Kubernetes: nobody but the engine protects against deletion; a cluster's administrator can delete the namespace.",
)
"""What of the must-have settings does not hold, in sentences for the documentation."""

EXAMPLE: dict[str, str] = {"storage_class": "encrypted-retain", "operator_namespace": "paybill-system"}
"""A foundation to render with, offline."""


def provider(inputs: StackInputs) -> pulumi.ProviderResource:
    """Logs in with the kubeconfig that the worker's environment names (``KUBECONFIG``).

    The kubeconfig itself is no input: a renewed token would look like a change of every resource. The cell's name
    identifies the cluster, so another kubeconfig of the same cluster replaces nothing.
    """
    return pulumi_kubernetes.Provider(
        "kubernetes",
        context=inputs.foundation.get("context"),
        cluster_identifier=inputs.cell,
        enable_server_side_apply=True,
        enable_patch_force=False,
        delete_unreachable=False,
    )


def describe(stack: Stack) -> Handed:
    """The tenant's own server, where it gets one."""
    return {"database": _database(stack, stack.inputs.database)} if stack.inputs.database else {}


def _database(stack: Stack, inputs: DatabaseInputs) -> dict[str, pulumi.Input[str | int]]:
    namespace = place.place(stack)
    place.fence(stack, namespace)
    host = place.service(stack, namespace)
    # The certificate needs the name now, in a preview too: the same one, put together from what is given.
    secret = credentials.credentials(stack, namespace, f"{place.NAME}.{stack.inputs.suffixed}.svc")
    needs = [secret, settings(stack, namespace), disk(stack, namespace, inputs.storage_gib)]
    server(stack, namespace, inputs, account=place.account(stack, namespace), needs=needs)
    return {
        "host": host,
        "port": place.PORT,
        "admin_user": ADMIN,
        "admin_password": credentials.kept(secret, credentials.PASSWORD),
        "sslmode": "verify-full",
        "ca": credentials.kept(secret, credentials.CERTIFICATE),
    }
