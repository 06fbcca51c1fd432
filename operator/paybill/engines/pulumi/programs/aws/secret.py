"""The tenant's secret in Secrets Manager, for what the provider's application keeps there for this tenant."""

from __future__ import annotations

import pulumi
from pulumi_aws import secretsmanager

from paybill.engines.pulumi.programs.aws import policies
from paybill.engines.pulumi.programs.stack import Stack

RECOVERY_DAYS = 30
"""How long a deleted secret can be had back; its name stays taken meanwhile."""


def secret(stack: Stack, key_arn: pulumi.Input[str]) -> secretsmanager.Secret:
    """An empty document at first. It is write-only, so neither the state nor a later run knows what people put in."""
    inputs = stack.inputs
    made = secretsmanager.Secret(
        "secret",
        name=inputs.suffixed,
        description=f"For tenant {inputs.tenant_id}",
        kms_key_id=key_arn,
        recovery_window_in_days=RECOVERY_DAYS,
        tags=stack.tags,
        opts=stack.holding(),
    )
    secretsmanager.SecretPolicy(
        "secret",
        secret_arn=made.arn,
        policy=policies.secret(inputs.tenant_id),
        block_public_policy=True,
        opts=stack.carrying(),
    )
    secretsmanager.SecretVersion(
        "secret",
        secret_id=made.id,
        secret_string_wo=pulumi.Output.secret("{}"),
        secret_string_wo_version=1,
        opts=stack.carrying(),
    )
    return made
