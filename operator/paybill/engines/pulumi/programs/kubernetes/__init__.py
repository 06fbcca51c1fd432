"""A bare Kubernetes cluster: a Postgres server of the tenant's own, in a namespace that the tenant has no login to.

There are no cloud services, so a tenant gets neither bucket nor cloud identity here: Bridge and Pooled tenants, whose
databases are on a shared server, get nothing, and nor does anyone whose database level is not Server. What the cell's
tenants share comes from its foundation:

| name | what |
|---|---|
| storage_class | encrypted, with ``reclaimPolicy: Retain``: the disk's encryption is the only one there is |
| operator_namespace | where the operator runs, which administers the server |
| postgres_image | optional: the image, by digest if it can be; the official one where absent |
| context | optional: the context of the kubeconfig in the worker's environment |

What a cloud does and a cluster does not: backups (Paybill's own remain), a standby in another zone, a key of the
tenant's own, and deletion protection by anyone but the engine.
"""

from paybill.engines.pulumi.programs.kubernetes.program import CANNOT, EXAMPLE, describe, provider

__all__ = ["CANNOT", "EXAMPLE", "describe", "provider"]
