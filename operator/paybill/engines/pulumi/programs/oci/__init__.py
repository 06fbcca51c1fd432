"""Oracle Cloud: a tenant's compartment, network, key, database, bucket and policies, one module each.

What a tenancy's tenants share comes from the Cell's foundation:

| name | models | what |
|---|---|---|
| cluster_id | all | the OCID of the cluster (an enhanced one) whose pods get the tenant's rights |
| object_namespace | all | the tenancy's namespace of buckets |
| vault_id | Pooled, Bridge | the vault that holds their keys and secrets |
| compartment, shared_bucket, shared_key_id | Pooled | what all pooled tenants are in |
| parent_compartment | Bridge, Silo | the compartment that each tenant's own is made in |
| vault_management_endpoint | Bridge | where keys of the shared vault are made |
| drg_id, cluster_cidr | Silo | the gateway between networks, and the cluster's range |
| silo_range | Silo | the range that each tenant's network takes a part of |
| silo_range_TENANT | optional | the range of one tenant's network, where the part it would take is taken already |
| services_id, services_cidr | Silo | OCID and label of the region's services |
| database_principal | with a server | who Postgres systems are in policies: a dynamic group |
| database_subnet_id, database_nsg_id | Bridge with a server | private subnet and security group of its servers |

The provider logs in by the variables ``OCI_*`` (or ``TF_VAR_*``) of the worker's environment.
"""

from paybill.engines.pulumi.programs.oci.program import CANNOT, EXAMPLE, describe, provider

__all__ = ["CANNOT", "EXAMPLE", "describe", "provider"]
