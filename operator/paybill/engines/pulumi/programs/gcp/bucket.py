"""The tenant's object storage: a bucket of its own, or a folder in the shared one."""

from __future__ import annotations

import pulumi
from pulumi_gcp import serviceaccount, storage

from paybill.engines.pulumi.programs.gcp.key import Key, deletion_policy
from paybill.engines.pulumi.programs.gcp.labels import labels
from paybill.engines.pulumi.programs.stack import Stack

KEEP_DAYS = 30
ROLE = "roles/storage.objectUser"


def shared(stack: Stack, who: serviceaccount.Account) -> str:
    """A managed folder and the right to it alone; gives the prefix.

    A folder, not a condition on the bucket: those share one policy, which is full after some hundred tenants.
    """
    bucket = stack.inputs.required("shared_bucket")
    prefix = f"{stack.name}/"
    folder = storage.ManagedFolder(
        "bucket",
        storage.ManagedFolderArgs(
            bucket=bucket, name=prefix, force_destroy=False, deletion_policy=deletion_policy(stack)
        ),
        stack.holding(),
    )
    storage.ManagedFolderIamMember(
        "bucket-pods",
        storage.ManagedFolderIamMemberArgs(
            bucket=bucket,
            managed_folder=folder.name,
            role=ROLE,
            member=pulumi.Output.concat("serviceAccount:", who.email),
        ),
        stack.options(),
    )
    return prefix


def build(stack: Stack, key: Key, who: serviceaccount.Account) -> pulumi.Output[str]:
    """A bucket that only the tenant's identity uses; gives its name."""
    bucket = storage.Bucket(
        "bucket",
        storage.BucketArgs(
            # Bucket names are one namespace of the whole world; with the project's id nobody else's is in the way.
            name=f"{stack.name}-{stack.inputs.required('project')}",
            project=stack.inputs.required("project"),
            location=stack.inputs.region.upper(),
            storage_class="STANDARD",
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            encryption=storage.BucketEncryptionArgs(default_kms_key_name=key.key.id),
            versioning=storage.BucketVersioningArgs(enabled=True),
            soft_delete_policy=storage.BucketSoftDeletePolicyArgs(retention_duration_seconds=KEEP_DAYS * 86400),
            lifecycle_rules=_lifecycle(),
            force_destroy=False,
            deletion_policy=deletion_policy(stack),
            labels=labels(stack.inputs),
        ),
        stack.holding(after=key.usable),
    )
    storage.BucketIAMMember(
        "bucket-pods",
        storage.BucketIAMMemberArgs(
            bucket=bucket.name, role=ROLE, member=pulumi.Output.concat("serviceAccount:", who.email)
        ),
        stack.options(),
    )
    return bucket.name


def _lifecycle() -> list[storage.BucketLifecycleRuleArgs]:
    """Old versions end after a month and uploads that were given up after a week; live objects are never touched."""
    return [
        storage.BucketLifecycleRuleArgs(
            action=storage.BucketLifecycleRuleActionArgs(type="Delete"),
            condition=storage.BucketLifecycleRuleConditionArgs(
                days_since_noncurrent_time=KEEP_DAYS, with_state="ARCHIVED"
            ),
        ),
        storage.BucketLifecycleRuleArgs(
            action=storage.BucketLifecycleRuleActionArgs(type="AbortIncompleteMultipartUpload"),
            condition=storage.BucketLifecycleRuleConditionArgs(age=7),
        ),
    ]
