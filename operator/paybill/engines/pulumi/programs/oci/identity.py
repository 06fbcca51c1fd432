"""What the tenant's pods may do: one policy for one ServiceAccount of one cluster.

Oracle knows pods by cluster, namespace and ServiceAccount; there is no identity to make, so the policy is the identity.
"""

from __future__ import annotations

import pulumi
from pulumi_oci import identity

from paybill.engines.pulumi.programs.stack import Stack


def build(
    stack: Stack,
    compartment: pulumi.Input[str],
    *,
    bucket: pulumi.Input[str],
    prefix: str,
    secret_id: pulumi.Input[str],
) -> identity.Policy:
    """The rights to one bucket (below ``prefix``, where it is shared) and to read one secret."""
    who = _pods(stack)
    # A pattern: what begins so. Ids have one length, so none begins with another.
    below = f", target.object.name = /{prefix}*/" if prefix else ""
    statements: list[pulumi.Input[str]] = [
        pulumi.Output.concat(
            "allow any-user to manage objects in compartment id ",
            compartment,
            f" where all {{{who}, target.bucket.name = '",
            bucket,
            f"'{below}}}",
        ),
        pulumi.Output.concat(
            "allow any-user to read secret-bundles in compartment id ",
            compartment,
            f" where all {{{who}, target.secret.id = '",
            secret_id,
            "'}",
        ),
    ]
    return identity.Policy(
        "identity",
        identity.PolicyArgs(
            compartment_id=compartment,
            name=stack.name,
            description=f"Pods of tenant {stack.inputs.tenant_uid}",
            statements=statements,
            freeform_tags=stack.tags,
        ),
        stack.options(),
    )


def _pods(stack: Stack) -> str:
    """The tenant's pods, as conditions of a policy."""
    inputs = stack.inputs
    return (
        f"request.principal.type = 'workload', request.principal.cluster_id = '{inputs.required('cluster_id')}', "
        f"request.principal.namespace = '{inputs.namespace}', "
        f"request.principal.service_account = '{inputs.service_account}'"
    )
