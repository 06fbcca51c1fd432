"""The tenant's vault and the key that everything of the tenant is encrypted with.

Whoever uses the key for storage and database is an identity of its own, which stays as long as the data: without it the
data could not be read again. The pods' identity goes with the tenant.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization, keyvault, managedidentity

from paybill.engines.pulumi.programs.azure import endpoint, identity, roles
from paybill.engines.pulumi.programs.azure.network import Grounds
from paybill.engines.pulumi.programs.azure.scope import Place, lock
from paybill.engines.pulumi.programs.stack import Stack

SOFT_DELETE_DAYS = 90
ROTATE_EVERY = "P365D"
BITS = 3072


@dataclass(frozen=True, kw_only=True)
class Vault:
    """The key, where it is and who uses it."""

    vault: keyvault.Vault
    key: keyvault.Key
    user: managedidentity.UserAssignedIdentity
    """The identity that storage and database use the key as."""
    usable: authorization.RoleAssignment
    """The right to do so; what uses the key waits for it."""


def build(stack: Stack, place: Place, grounds: Grounds) -> Vault:
    """A vault with one key, reached by a private endpoint only."""
    vault = _vault(stack, place)
    key = _key(stack, place, vault)
    user = identity.managed(stack, place, "key-user", named=f"{stack.name}-key-user", options=stack.holding())
    usable = roles.grant(
        stack,
        "key-user",
        role="KeyUser",
        principal=user.principal_id,
        scope=pulumi.Output.concat(vault.id, "/keys/", key.name),
    )
    endpoint.build(
        stack, place, grounds, "vault", target=vault.id, part="vault", zone=stack.inputs.required("vault_zone_id")
    )
    lock(stack, "vault", vault)
    return Vault(vault=vault, key=key, user=user, usable=usable)


def _vault(stack: Stack, place: Place) -> keyvault.Vault:
    return keyvault.Vault(
        "vault",
        keyvault.VaultArgs(
            resource_group_name=place.group,
            location=place.location,
            vault_name=stack.inputs.suffixed,  # the name stays taken while the vault is only soft-deleted
            properties=keyvault.VaultPropertiesArgs(
                tenant_id=stack.inputs.required("directory"),
                sku=keyvault.SkuArgs(family=keyvault.SkuFamily.A, name=keyvault.SkuName.STANDARD),
                enable_rbac_authorization=True,
                enable_soft_delete=True,
                soft_delete_retention_in_days=SOFT_DELETE_DAYS,
                enable_purge_protection=True,
                enabled_for_deployment=False,
                enabled_for_disk_encryption=False,
                enabled_for_template_deployment=False,
                public_network_access="Disabled",
                # Storage and Postgres come in as trusted services to use the key.
                network_acls=keyvault.NetworkRuleSetArgs(
                    default_action=keyvault.NetworkRuleAction.DENY,
                    bypass=keyvault.NetworkRuleBypassOptions.AZURE_SERVICES,
                ),
            ),
            tags=stack.tags,
        ),
        stack.holding(),
    )


def _key(stack: Stack, place: Place, vault: keyvault.Vault) -> keyvault.Key:
    """The key. It rotates and never expires: an expired one would make the database unreachable."""
    rotation = keyvault.LifetimeActionArgs(
        action=keyvault.ActionArgs(type=keyvault.KeyRotationPolicyActionType.ROTATE),
        trigger=keyvault.TriggerArgs(time_after_create=ROTATE_EVERY),
    )
    return keyvault.Key(
        "key",
        keyvault.KeyArgs(
            resource_group_name=place.group,
            vault_name=vault.name,
            key_name=stack.inputs.suffixed,
            properties=keyvault.KeyPropertiesArgs(
                kty=keyvault.JsonWebKeyType.RSA,
                key_size=BITS,
                key_ops=[keyvault.JsonWebKeyOperation.WRAP_KEY, keyvault.JsonWebKeyOperation.UNWRAP_KEY],
                attributes=keyvault.KeyAttributesArgs(enabled=True, exportable=False),
                rotation_policy=keyvault.RotationPolicyArgs(lifetime_actions=[rotation]),
            ),
            tags=stack.tags,
        ),
        stack.holding(),
    )
