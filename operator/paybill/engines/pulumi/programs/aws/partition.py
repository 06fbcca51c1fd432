"""The tenant's account, and how AWS writes the names of what is in it."""

from __future__ import annotations

from paybill.engines.pulumi.programs.stack import Stack


def arn(stack: Stack, service: str, rest: str, *, region: str = "", account: str = "") -> str:
    """An ARN in the stack's partition (GovCloud has its own)."""
    partition = stack.inputs.foundation.get("partition", "aws")
    return f"arn:{partition}:{service}:{region}:{account}:{rest}"


def role_name(stack: Stack) -> str:
    """The name of the tenant's role."""
    return stack.inputs.suffixed


def bucket_name(stack: Stack) -> str:
    """The tenant's bucket: names of buckets are one space over all accounts, so it carries the account's number."""
    return f"{stack.inputs.suffixed}-{stack.inputs.required('account_id')}"


def listed(stack: Stack, name: str) -> list[str]:
    """A value of the foundation that is several, separated by commas."""
    return [one.strip() for one in stack.inputs.required(name).split(",") if one.strip()]
