"""The tenant's own encryption key. Destroying it, after a waiting period, destroys all that it encrypted."""

from __future__ import annotations

from pulumi_aws import kms

from paybill.engines.pulumi.programs.aws import policies
from paybill.engines.pulumi.programs.aws.partition import arn
from paybill.engines.pulumi.programs.stack import Stack

WAITING_DAYS = 30
"""The longest that AWS offers: a deletion by mistake can be taken back for so long."""


def key(stack: Stack) -> kms.Key:
    """A key that rotates every year, with an alias that people find it by."""
    inputs = stack.inputs
    made = kms.Key(
        "key",
        description=f"Data of tenant {inputs.tenant_id}",
        enable_key_rotation=True,
        deletion_window_in_days=WAITING_DAYS,
        policy=policies.key(
            root=arn(stack, "iam", "root", account=inputs.required("account_id")),
            tenant_id=inputs.tenant_id,
            region=inputs.region,
        ),
        tags=stack.tags,
        opts=stack.holding(),
    )
    kms.Alias("key", name=f"alias/{inputs.suffixed}", target_key_id=made.key_id, opts=stack.carrying())
    return made
