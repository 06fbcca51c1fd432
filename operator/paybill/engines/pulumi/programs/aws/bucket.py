"""The tenant's own bucket, closed on all sides: encrypted with the tenant's key, versioned, never public."""

from __future__ import annotations

import pulumi
from pulumi_aws import s3

from paybill.engines.pulumi.programs.aws import policies
from paybill.engines.pulumi.programs.aws.partition import arn, bucket_name
from paybill.engines.pulumi.programs.stack import Stack

UNDO_DAYS = 30
"""How long an overwritten or deleted object can be had back."""


def bucket(stack: Stack, key_arn: pulumi.Input[str]) -> s3.Bucket:
    """The bucket with its settings. They are resources of their own in S3, and stay as long as it does."""
    made = s3.Bucket(
        "bucket",
        bucket=bucket_name(stack),
        force_destroy=not stack.guarded,  # S3 deletes no bucket that has objects in it
        tags=stack.tags,
        opts=stack.holding(slow=True),
    )
    _encrypted(stack, made, key_arn)
    _private(stack, made)
    _versioned(stack, made)
    return made


def _encrypted(stack: Stack, made: s3.Bucket, key_arn: pulumi.Input[str]) -> None:
    s3.BucketServerSideEncryptionConfiguration(
        "bucket",
        bucket=made.id,
        rules=[
            s3.BucketServerSideEncryptionConfigurationRuleArgs(
                apply_server_side_encryption_by_default=(
                    s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                        sse_algorithm="aws:kms", kms_master_key_id=key_arn
                    )
                ),
                bucket_key_enabled=True,  # one call of KMS for many objects: a hundredth of the price
            )
        ],
        opts=stack.carrying(),
    )


def _private(stack: Stack, made: s3.Bucket) -> None:
    block = s3.BucketPublicAccessBlock(
        "bucket",
        bucket=made.id,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=stack.carrying(),
    )
    s3.BucketOwnershipControls(
        "bucket",
        bucket=made.id,
        rule=s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
        opts=stack.carrying(),
    )
    s3.BucketPolicy(
        "bucket",
        bucket=made.id,
        policy=policies.bucket(arn=arn(stack, "s3", bucket_name(stack)), tenant_id=stack.inputs.tenant_id),
        # S3 refuses two such changes of one bucket at the same time (409 OperationAborted).
        opts=stack.carrying(after=[block]),
    )


def _versioned(stack: Stack, made: s3.Bucket) -> None:
    versioning = s3.BucketVersioning(
        "bucket",
        bucket=made.id,
        versioning_configuration=s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
        opts=stack.carrying(),
    )
    s3.BucketLifecycleConfiguration(
        "bucket",
        bucket=made.id,
        rules=[
            s3.BucketLifecycleConfigurationRuleArgs(
                id="tidy",
                status="Enabled",
                filter=s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                abort_incomplete_multipart_upload=(
                    s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(days_after_initiation=7)
                ),
                noncurrent_version_expiration=s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                    noncurrent_days=UNDO_DAYS
                ),
            )
        ],
        opts=stack.carrying(after=[versioning]),
    )
