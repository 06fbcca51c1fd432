"""Google Cloud: a tenant's network, key, database, bucket, identity and secret, one module each.

What a project's tenants share comes from the Cell's foundation:

| name | models | what |
|---|---|---|
| project | all | the project's id |
| project_number | Bridge, Silo | its number, by which the service agents are named |
| key_ring | Bridge, Silo | the id of the region's ring of keys: no ring can ever be deleted |
| shared_bucket, shared_key | Pooled | the bucket of all pooled tenants and the key of their secrets |
| network | Bridge with a server | the cluster's network, with a range peered to Google's services |
| cluster_network, cluster_subnetwork | Silo with a server | where the cluster's pods reach the server from |
| admin_account | with a server | a service account that administers databases beside the operator |

The service agents exist once in a project: its foundation makes them (``projects.ServiceIdentity``), not a tenant.
The provider logs in by ``GOOGLE_CREDENTIALS`` in the worker's environment.
"""

from paybill.engines.pulumi.programs.gcp.program import CANNOT, EXAMPLE, describe, provider

__all__ = ["CANNOT", "EXAMPLE", "describe", "provider"]
