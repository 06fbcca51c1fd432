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
        key_arn = inputs.required("shared_key_arn")
        name, prefix = inputs.required("shared_bucket"), f"{inputs.tenant_id}/"
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
