"""The tenant's cloud identity: a role that only the pods of one ServiceAccount can take on, and what it may do."""

from __future__ import annotations

import pulumi
from pulumi_aws import iam

from paybill.engines.pulumi.programs.aws import policies
from paybill.engines.pulumi.programs.aws.partition import role_name
from paybill.engines.pulumi.programs.stack import Stack

SESSION_SECONDS = 3600


def role(stack: Stack) -> iam.Role:
    """The role; its tags are what key, bucket and secret know other tenants by."""
    inputs = stack.inputs
    return iam.Role(
        "identity",
        name=role_name(stack),
        description=f"Pods of tenant {inputs.tenant_id}",
        assume_role_policy=policies.trust(
            provider_arn=inputs.required("oidc_provider_arn"),
            issuer=inputs.required("oidc_issuer"),
            namespace=inputs.namespace,
            service_account=inputs.service_account,
        ),
        permissions_boundary=inputs.required("permissions_boundary"),
        max_session_duration=SESSION_SECONDS,
        tags=stack.tags,
        opts=stack.options(),
    )


def permissions(
    stack: Stack,
    made: iam.Role,
    *,
    bucket_arn: pulumi.Input[str],
    prefix: str,
    key_arn: pulumi.Input[str],
    secret_arn: pulumi.Input[str],
) -> None:
    """What the role may do: the objects, the key through the services that keep them, its secret; nothing else."""
    region = stack.inputs.region

    def written(arns: list[str]) -> str:
        bucket, key, secret = arns
        return policies.document(
            *policies.objects(arn=bucket, prefix=prefix),
            policies.key_use(key, region=region),
            policies.secret_use(secret),
        )

    iam.RolePolicy(
        "identity",
        name="tenant",
        role=made.id,
        policy=pulumi.Output.all(bucket_arn, key_arn, secret_arn).apply(written),
        opts=stack.options(),
    )
