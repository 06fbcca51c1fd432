"""The AWS program: what each isolation model gets, of the parts that the other modules describe."""

from __future__ import annotations

import pulumi
import pulumi_aws

from paybill.desired.stack import StackInputs
from paybill.engines.pulumi.programs.aws.bucket import bucket
from paybill.engines.pulumi.programs.aws.database import database
from paybill.engines.pulumi.programs.aws.identity import permissions, role
from paybill.engines.pulumi.programs.aws.key import key
from paybill.engines.pulumi.programs.aws.network import network
from paybill.engines.pulumi.programs.aws.partition import arn, bucket_name
from paybill.engines.pulumi.programs.aws.secret import secret
from paybill.engines.pulumi.programs.stack import Handed, Stack

CANNOT: tuple[str, ...] = (
    (
        "AWS: routes, associations of subnets, aliases and the settings of buckets, roles and secrets carry no tags; "
        "they are found by what they belong to."
    ),
    "AWS: RDS itself makes the secret of a server's administrator; it carries its tags and goes with the server.",
)
"""What of the must-have settings does not hold, in sentences for the documentation."""

EXAMPLE: dict[str, str] = {
    "account_id": "000000000000",
    "oidc_provider_arn": "arn:aws:iam::000000000000:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/CELL",
    "oidc_issuer": "oidc.eks.eu-central-1.amazonaws.com/id/CELL",
    "permissions_boundary": "arn:aws:iam::000000000000:policy/paybill-tenants",
    "bucket": "cell-pooled-000000000000",
    "key_arn": "arn:aws:kms:eu-central-1:000000000000:key/cell-pooled",
    "vpc_id": "vpc-cell",
    "vpc_cidr": "10.0.0.0/16",
    "subnet_ids": "subnet-cell-a,subnet-cell-b",
    "availability_zones": "eu-central-1a,eu-central-1b,eu-central-1c",
    "ipam_pool_id": "ipam-pool-tenants",
    "route_table_ids": "rtb-cell-a,rtb-cell-b",
    "flow_log_bucket_arn": "arn:aws:s3:::cell-flow-logs-000000000000",
}
"""A foundation to render with, offline."""


def provider(inputs: StackInputs) -> pulumi.ProviderResource:
    """Logs in with the worker's environment variables alone, and to no account but the cell's."""
    return pulumi_aws.Provider(
        "aws",
        region=inputs.region,
        allowed_account_ids=[inputs.required("account_id")],
        skip_metadata_api_check=True,  # the node's own role is nobody's login
        shared_config_files=[],
        shared_credentials_files=[],
        default_tags=pulumi_aws.ProviderDefaultTagsArgs(tags=inputs.tags()),
    )


def describe(stack: Stack) -> Handed:
    """A tenant's resources. Pooled: identity, prefix and secret; Bridge: key and bucket too; Silo: network too."""
    inputs = stack.inputs
    handed: Handed = {}
    if stack.dedicated:
        key_arn: pulumi.Input[str] = key(stack).arn
        bucket(stack, key_arn)
        name, prefix = bucket_name(stack), ""
    else:
        key_arn = inputs.required("key_arn")
        name, prefix = inputs.required("bucket"), f"{inputs.tenant_id}/"
        handed["prefix"] = prefix
    own_secret = secret(stack, key_arn)
    identity = role(stack)
    permissions(
        stack, identity, bucket_arn=arn(stack, "s3", name), prefix=prefix, key_arn=key_arn, secret_arn=own_secret.arn
    )
    handed |= {"key": key_arn, "bucket": name, "secret": own_secret.arn, "identity": identity.arn}
    if stack.silo or inputs.database:
        where = network(stack)
        handed |= {"network": where.vpc_id} if stack.silo else {}
        if inputs.database:
            handed["database"] = database(stack, inputs.database, where, key_arn)
    return handed
