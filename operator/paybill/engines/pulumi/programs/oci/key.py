"""The tenant's key: in the shared vault for Bridge, in a vault of its own for Silo.

Vaults are few (a tenancy has ten unless it asks for more), keys are not. Neither is deleted at once: deletion is
scheduled, and until then it can be called off.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_oci import identity, kms

from paybill.engines.pulumi.programs.stack import Stack

BYTES = 32
"""AES-256."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key, the vault it is in, and what must be there before a service can use it."""

    key_id: pulumi.Input[str]
    vault_id: pulumi.Input[str]
    usable: tuple[pulumi.Resource, ...] = ()


def shared(stack: Stack) -> Key:
    """The key and vault of the cell's pooled tenants."""
    return Key(key_id=stack.inputs.required("shared_key_id"), vault_id=stack.inputs.required("vault_id"))


def build(stack: Stack, compartment: pulumi.Input[str]) -> Key:
    """A key of the tenant's own, kept in hardware, and the rights of the services that encrypt with it."""
    vault_id, endpoint = _vault(stack, compartment)
    key = kms.Key(
        "key",
        kms.KeyArgs(
            compartment_id=compartment,
            display_name=stack.inputs.suffixed,
            management_endpoint=endpoint,
            key_shape=kms.KeyKeyShapeArgs(algorithm="AES", length=BYTES),
            protection_mode="HSM",
            desired_state="ENABLED",
            freeform_tags=stack.tags,
        ),
        stack.holding(),
    )
    return Key(key_id=key.id, vault_id=vault_id, usable=(_users(stack, compartment, key),))


def _vault(stack: Stack, compartment: pulumi.Input[str]) -> tuple[pulumi.Input[str], pulumi.Input[str]]:
    """The vault's OCID and where keys are made in it."""
    if not stack.silo:
        return stack.inputs.required("vault_id"), stack.inputs.required("vault_management_endpoint")
    vault = kms.Vault(
        "vault",
        kms.VaultArgs(
            compartment_id=compartment,
            display_name=stack.inputs.suffixed,
            vault_type="DEFAULT",
            freeform_tags=stack.tags,
        ),
        stack.holding(slow=True),
    )
    return vault.id, vault.management_endpoint


def _users(stack: Stack, compartment: pulumi.Input[str], key: kms.Key) -> identity.Policy:
    """Who encrypts with the key. It stays as long as the data, which is unreadable without."""
    inputs = stack.inputs
    services = [f"service objectstorage-{inputs.region}"]
    if inputs.database is not None:
        services.append(inputs.required("database_principal"))
    return identity.Policy(
        "key-users",
        identity.PolicyArgs(
            compartment_id=compartment,
            name=f"{inputs.suffixed}-key-users",
            description=f"Services that encrypt for tenant {inputs.tenant_id}",
            statements=[
                pulumi.Output.format(
                    "allow {0} to use keys in compartment id {1} where target.key.id = '{2}'", who, compartment, key.id
                )
                for who in services
            ],
            freeform_tags=stack.tags,
        ),
        stack.carrying(),
    )
