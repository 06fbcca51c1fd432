"""The tenant's secret: a place in a vault that only the tenant's identity reads.

It is made empty and filled by whom it is for; its content never goes through the engine's state.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import keyvault, managedidentity

from paybill.engines.pulumi.programs.azure import roles
from paybill.engines.pulumi.programs.azure.key import Vault
from paybill.engines.pulumi.programs.azure.scope import Place
from paybill.engines.pulumi.programs.stack import Stack

EMPTY = "{}"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The vault that a secret is in."""

    name: pulumi.Input[str]
    id: pulumi.Input[str]


def shared_vault(stack: Stack) -> Kept:
    """The vault of the cell's pooled tenants."""
    inputs = stack.inputs
    name = inputs.required("vault")
    group = f"/subscriptions/{inputs.required('subscription')}/resourceGroups/{inputs.required('resource_group')}"
    return Kept(name=name, id=f"{group}/providers/Microsoft.KeyVault/vaults/{name}")


def own_vault(vault: Vault) -> Kept:
    """The tenant's own."""
    return Kept(name=vault.vault.name, id=vault.vault.id)


def build(stack: Stack, place: Place, kept: Kept, who: managedidentity.UserAssignedIdentity) -> pulumi.Output[str]:
    """The secret, and the right to read this one alone; gives its URI."""
    made = keyvault.Secret(
        "secret",
        keyvault.SecretArgs(
            resource_group_name=place.group,
            vault_name=kept.name,
            secret_name=stack.inputs.suffixed,  # a deleted one blocks its name for 90 days
            properties=keyvault.SecretPropertiesArgs(
                value=EMPTY,
                content_type="application/json",
                attributes=keyvault.SecretAttributesArgs(enabled=True),
            ),
            tags=stack.tags,
        ),
        stack.holding(ignore=["properties.value"]),
    )
    roles.grant(
        stack,
        "secret",
        role="SecretReader",
        principal=who.principal_id,
        scope=pulumi.Output.concat(kept.id, "/secrets/", made.name),
    )
    return made.properties.secret_uri
