"""AWS: a tenant's network, key, database, bucket, identity and secret, one module each; ``program.py`` joins them.

What an account's tenants share comes from the Cell's foundation:

| name | models | what |
|---|---|---|
| account_id | all | the account's number: the provider refuses any other account, and bucket names carry it |
| oidc_provider_arn | all | the IAM OIDC provider of the cluster that the tenant's pods run in |
| oidc_issuer | all | its issuer, without ``https://`` |
| permissions_boundary | all | ARN of the policy that no tenant's role may exceed |
| bucket, key_arn | Pooled | the bucket of all pooled tenants and the key that it is encrypted with |
| vpc_id, vpc_cidr | Silo; Bridge with a server | the cluster's network and its range of addresses |
| subnet_ids | Bridge with a server | private subnets in at least two zones, separated by commas |
| availability_zones | Silo | three names, separated by commas |
| ipam_pool_id | Silo | the IPAM pool that gives each tenant a range of its own, so that networks can be peered |
| route_table_ids | Silo | the cluster's route tables, which learn the way to the tenant, separated by commas |
| flow_log_bucket_arn | Silo | where the records of a network's traffic go |
| partition | optional | ``aws-us-gov``; ``aws`` where absent |
| database_ca | optional | the certificate (PEM) of RDS's authority, without which no server is connected |

Silo networks are peered with the cluster's, of which AWS allows 125 for one network: that bounds a cell's Silo tenants.
"""

from paybill.engines.pulumi.programs.aws.program import CANNOT, EXAMPLE, describe, provider

__all__ = ["CANNOT", "EXAMPLE", "describe", "provider"]
