"""The tenant's secret: a place that only the tenant's identity reads.

It is made without a version and filled by whom it is for; its content never goes through the engine's state.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_gcp import secretmanager, serviceaccount

from paybill.engines.pulumi.programs.gcp.key import deletion_policy
from paybill.engines.pulumi.programs.gcp.labels import labels
from paybill.engines.pulumi.programs.stack import Stack

WAITING = f"{30 * 86400}s"


def build(
    stack: Stack, key: pulumi.Input[str], after: Sequence[pulumi.Resource], who: serviceaccount.Account
) -> pulumi.Output[str]:
    """The secret in the cell's region alone, encrypted with ``key``; gives its id."""
    replica = secretmanager.SecretReplicationUserManagedReplicaArgs(
        location=stack.inputs.region,
        customer_managed_encryption=(
            secretmanager.SecretReplicationUserManagedReplicaCustomerManagedEncryptionArgs(kms_key_name=key)
        ),
    )
    secret = secretmanager.Secret(
        "secret",
        secretmanager.SecretArgs(
            secret_id=stack.inputs.suffixed,
            project=stack.inputs.required("project"),
            replication=secretmanager.SecretReplicationArgs(
                user_managed=secretmanager.SecretReplicationUserManagedArgs(replicas=[replica])
            ),
            version_destroy_ttl=WAITING,  # a version that somebody destroys can be had back for a month
            deletion_protection=stack.guarded,
            deletion_policy=deletion_policy(stack),
            labels=labels(stack.inputs),
        ),
        stack.holding(after=after),
    )
    secretmanager.SecretIamMember(
        "secret-pods",
        secretmanager.SecretIamMemberArgs(
            project=stack.inputs.required("project"),
            secret_id=secret.secret_id,
            role="roles/secretmanager.secretAccessor",
            member=pulumi.Output.concat("serviceAccount:", who.email),
        ),
        stack.options(),
    )
    return secret.id
