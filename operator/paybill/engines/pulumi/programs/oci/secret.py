"""Secrets: the tenant's own, and the password of its database's administrator.

The tenant's is made empty and filled by whom it is for; the password is drawn by Oracle. Neither content ever goes
through the engine's state.
"""

from __future__ import annotations

import base64

import pulumi
from pulumi_oci import vault

from paybill.engines.pulumi.programs.oci.key import Key
from paybill.engines.pulumi.programs.stack import Stack

EMPTY = base64.b64encode(b"{}").decode()
PASSWORD_LENGTH = 30


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


def password(stack: Stack, compartment: pulumi.Input[str], key: Key) -> vault.Secret:
    """The administrator's password, drawn by Oracle where the database reads it."""
    return vault.Secret(
        "database-password",
        vault.SecretArgs(
            compartment_id=compartment,
            vault_id=key.vault_id,
            key_id=key.key_id,
            secret_name=f"{stack.inputs.suffixed}-database",
            description=f"Administrator of the database of tenant {stack.inputs.tenant_id}",
            enable_auto_generation=True,
            secret_generation_context=vault.SecretSecretGenerationContextArgs(
                generation_type="PASSPHRASE",
                generation_template="DBAAS_DEFAULT_PASSWORD",
                passphrase_length=PASSWORD_LENGTH,
            ),
            freeform_tags=stack.tags,
        ),
        stack.holding(),
    )
