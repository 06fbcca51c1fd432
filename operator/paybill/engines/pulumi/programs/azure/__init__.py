"""Azure: a tenant's resource group, network, vault, database, storage and identity, one module each.

What a subscription's tenants share comes from the Cell's foundation:

| name | models | what |
|---|---|---|
| subscription | all | the subscription's id |
| directory | all | the id of the Entra directory |
| oidc_issuer | all | the issuer of the cluster's service account tokens, with ``https://`` |
| resource_group | Pooled | the group of what pooled tenants share |
| storage_account | Pooled | the account that holds a container for each of them |
| vault | Pooled | the key vault that holds a secret for each of them |
| endpoint_subnet_id | Bridge | the subnet of the private endpoints |
| blob_zone_id, vault_zone_id | Bridge, Silo | private DNS zones of blobs and vaults that the cluster asks |
| network_id, cluster_cidr | Silo | the cluster's network, which is peered with the tenant's, and its range |
| ipam_pool_id | Silo | the IPAM pool that gives each tenant a range of its own, so that networks can be peered |
| admin_object_id, admin_name | with a server | an Entra principal that administers databases beside the operator |
| database_subnet_id, database_zone_id | Bridge with a server | the delegated subnet and the DNS zone of its servers |
| geo_key_uri, geo_identity_id | optional | a key in the paired region and its user: backups are then kept there too |

Silo networks are peered with the cluster's, of which Azure allows 500 for one network: that bounds a cell's Silo
tenants. The provider logs in by the ``ARM_*`` variables of the worker's environment.
"""

from paybill.engines.pulumi.programs.azure.program import CANNOT, EXAMPLE, describe, provider

__all__ = ["CANNOT", "EXAMPLE", "describe", "provider"]
