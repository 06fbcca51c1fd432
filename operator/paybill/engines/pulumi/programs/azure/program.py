"""The Azure program: which parts a tenant of each model gets, and what is handed over."""

from __future__ import annotations

import pulumi
import pulumi_azure_native as azure

from paybill.desired.stack import StackInputs
from paybill.engines.pulumi.programs.azure import bucket, database, identity, key, network, scope, secret
from paybill.engines.pulumi.programs.stack import Handed, Stack

CANNOT: tuple[str, ...] = (
    (
        "Azure: a server's backups are kept in the paired region too only where the foundation gives a key there "
        "(geo_key_uri); elsewhere they stay in the region."
    ),
    (
        "Azure: containers, subnets, peerings, role assignments, federated credentials and locks carry no tags; they "
        "are found by their names and by what they belong to."
    ),
    (
        "Azure: the operator logs in to a server with a password, which the program draws once and the state holds, "
        "encrypted; it does not rotate by itself. The Entra principal is an administrator beside it."
    ),
    "Azure: a deleted vault keeps its name and its key for 90 days; purge protection cannot be taken back.",
    "Azure: flow logs of a Silo network are made by the network watcher of the region, not by a tenant's stack.",
)
"""What of the must-have settings does not hold, in sentences for the documentation."""

_GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/cell/providers/Microsoft.Network"

EXAMPLE: dict[str, str] = {
    "subscription": "00000000-0000-0000-0000-000000000001",
    "directory": "00000000-0000-0000-0000-000000000002",
    "oidc_issuer": "https://westeurope.oic.prod-aks.azure.com/00000000-0000-0000-0000-000000000002/cell/",
    "resource_group": "cell-pooled",
    "storage_account": "cellpooled",
    "vault": "cell-pooled",
    "endpoint_subnet_id": f"{_GROUP}/virtualNetworks/cell/subnets/endpoints",
    "blob_zone_id": f"{_GROUP}/privateDnsZones/privatelink.blob.core.windows.net",
    "vault_zone_id": f"{_GROUP}/privateDnsZones/privatelink.vaultcore.azure.net",
    "network_id": f"{_GROUP}/virtualNetworks/cell",
    "cluster_cidr": "10.0.0.0/16",
    "ipam_pool_id": f"{_GROUP}/networkManagers/cell/ipamPools/tenants",
    "admin_object_id": "00000000-0000-0000-0000-000000000003",
    "admin_name": "paybill-operator",
    "database_subnet_id": f"{_GROUP}/virtualNetworks/cell/subnets/databases",
    "database_zone_id": f"{_GROUP}/privateDnsZones/cell.private.postgres.database.azure.com",
}
"""A foundation to render with, offline."""


def provider(inputs: StackInputs) -> pulumi.ProviderResource:
    """The explicit provider; it has no default tags, so every resource carries its own.

    No logins of a CLI or of the machine: what is not in the worker's environment does not exist.
    """
    return azure.Provider(
        "azure",
        azure.ProviderArgs(
            location=inputs.region,
            subscription_id=inputs.required("subscription"),
            tenant_id=inputs.required("directory"),
            use_msi=False,
            use_default_azure_credential=False,
            disable_pulumi_partner_id=True,
        ),
    )


def describe(stack: Stack) -> Handed:
    """Declare the tenant's resources; raises FoundationMissing where the Cell does not give what they stand on."""
    return _dedicated(stack) if stack.dedicated else _pooled(stack)


def _pooled(stack: Stack) -> Handed:
    place = scope.shared(stack)
    who = identity.build(stack, place)
    container = bucket.shared(stack, place, who)
    return {
        "bucket": container,
        "identity": who.client_id,
        "secret": secret.build(stack, place, secret.shared_vault(stack), who),
    }


def _dedicated(stack: Stack) -> Handed:
    place = scope.own(stack)
    grounds = network.build(stack, place) if stack.silo else network.shared(stack)
    who = identity.build(stack, place)
    vault = key.build(stack, place, grounds)
    handed: Handed = {
        "bucket": bucket.build(stack, place, grounds, vault, who),
        "key": vault.key.key_uri,
        "identity": who.client_id,
        "secret": secret.build(stack, place, secret.own_vault(vault), who),
    }
    if stack.silo:
        handed["network"] = grounds.network_id
    if stack.inputs.database is not None:
        handed["database"] = database.build(stack, stack.inputs.database, place, grounds, vault)
    return handed
