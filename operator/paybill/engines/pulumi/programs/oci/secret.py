"""Secrets: the tenant's own, and the password of its database's administrator.

The tenant's is made empty and filled by whom it is for; its content never goes through the engine's state. The password
does: the operator has to be told it, so the program draws it (password.py) and the state holds it, encrypted.
"""

from __future__ import annotations

import base64

import pulumi
from pulumi_oci import vault

from paybill.engines.pulumi.programs.oci.key import Key
from paybill.engines.pulumi.programs.stack import Stack

EMPTY = base64.b64encode(b"{}").decode()


def build(stack: Stack, compartment: pulumi.Input[str], key: Key) -> vault.Secret:
    """A place for the tenant's secrets, encrypted with ``key``."""
    return vault.Secret(
        "secret",
        vault.SecretArgs(
            compartment_id=compartment,
            vault_id=key.vault_id,
            key_id=key.key_id,
            secret_name=stack.inputs.suffixed,  # taken until the deletion that is scheduled
            description=f"Tenant {stack.inputs.tenant_id}",
            secret_content=vault.SecretSecretContentArgs(content_type="BASE64", content=EMPTY, name="empty"),
            secret_rules=[
                vault.SecretSecretRuleArgs(rule_type="SECRET_REUSE_RULE", is_enforced_on_deleted_secret_versions=True)
            ],
            freeform_tags=stack.tags,
        ),
        stack.holding(ignore=["secretContent"]),
    )


def password(stack: Stack, compartment: pulumi.Input[str], key: Key, drawn: pulumi.Output[str]) -> vault.Secret:
    """The administrator's password, where the database reads it.

    The database was made with the first version; another content would be one that nobody logs in with.
    """
    content = drawn.apply(lambda text: base64.b64encode(text.encode()).decode())
    return vault.Secret(
        "database-password",
        vault.SecretArgs(
            compartment_id=compartment,
            vault_id=key.vault_id,
            key_id=key.key_id,
            secret_name=f"{stack.inputs.suffixed}-database",
            description=f"Administrator of the database of tenant {stack.inputs.tenant_id}",
            secret_content=vault.SecretSecretContentArgs(content_type="BASE64", content=content, name="drawn"),
            freeform_tags=stack.tags,
        ),
        stack.holding(ignore=["secretContent"]),
    )
