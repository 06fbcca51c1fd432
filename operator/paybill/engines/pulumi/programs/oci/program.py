"""The Oracle Cloud program: which parts a tenant of each model gets, and what is handed over."""

from __future__ import annotations

import pulumi
import pulumi_oci as oci

from paybill.desired.stack import StackInputs
from paybill.engines.pulumi.programs.oci import bucket, database, identity, key, network, scope, secret
from paybill.engines.pulumi.programs.stack import Handed, Stack

CANNOT: tuple[str, ...] = (
    (
        "OCI: Postgres systems and buckets have no deletion protection of their own; the engine protects them, and a "
        "policy of the tenancy must deny their deletion to everybody else."
    ),
    "OCI: a bucket has versions or retention rules, never both; tenants' buckets have versions.",
    "OCI: keys rotate by themselves only in virtual private vaults, which these are not; rotate them from outside.",
    (
        "OCI: the operator logs in to a Postgres system with a password, which the program draws once and puts in the "
        "vault; the state holds it too, encrypted. It does not rotate by itself: Oracle rotates those of an Autonomous "
        "Database or a function only."
    ),
    (
        "OCI: the certificate authority of a Postgres system is told by a look-up only, not by the resource, so the "
        "operator's connection is encrypted (sslmode require) but does not check who answers; the network is private."
    ),
    "OCI: the TLS versions of a Postgres system cannot be set; it takes TLS 1.2 and refuses connections without TLS.",
    "OCI: new major versions of Postgres are offered late; a Plan for this cloud must name one that is.",
    "OCI: the storage of a Postgres system grows by itself and has no size to set.",
    "OCI: keys, vaults and secrets are not deleted at once but scheduled for deletion, keys and vaults in 30 days.",
    (
        "OCI: networks of Silo tenants take their range by the tenant's id; two may take the same, which the gateway "
        "refuses: give one of them a range of its own (silo_range_TENANT)."
    ),
    "OCI: rules of security groups carry no tags; they belong to a group that does.",
)
"""What of the must-have settings does not hold, in sentences for the documentation."""

EXAMPLE: dict[str, str] = {
    "cluster_id": "ocid1.cluster.oc1.eu-frankfurt-1.example",
    "object_namespace": "examplens",
    "vault_id": "ocid1.vault.oc1.eu-frankfurt-1.example",
    "vault_management_endpoint": "https://example-management.kms.eu-frankfurt-1.oraclecloud.com",
    "compartment": "ocid1.compartment.oc1..pooled",
    "shared_bucket": "cell-pooled",
    "shared_key_id": "ocid1.key.oc1.eu-frankfurt-1.pooled",
    "parent_compartment": "ocid1.compartment.oc1..tenants",
    "drg_id": "ocid1.drg.oc1.eu-frankfurt-1.example",
    "cluster_cidr": "10.0.0.0/16",
    "silo_range": "10.64.0.0/10",
    "services_id": "ocid1.service.oc1.eu-frankfurt-1.example",
    "services_cidr": "all-fra-services-in-oracle-services-network",
    "database_principal": "dynamic-group postgres-systems",
    "database_subnet_id": "ocid1.subnet.oc1.eu-frankfurt-1.databases",
    "database_nsg_id": "ocid1.networksecuritygroup.oc1.eu-frankfurt-1.databases",
}
"""A foundation to render with, offline."""


def provider(inputs: StackInputs) -> pulumi.ProviderResource:
    """The explicit provider, bound to the cell's region; it has no default tags, so every resource carries its own."""
    return oci.Provider(
        "oci",
        oci.ProviderArgs(
            region=inputs.region,
            # Tenancies mark what is made by themselves; to us that would be drift.
            ignore_defined_tags=["Oracle-Tags.CreatedBy", "Oracle-Tags.CreatedOn"],
        ),
    )


def describe(stack: Stack) -> Handed:
    """Declare the tenant's resources; raises FoundationMissing where the Cell does not give what they stand on."""
    return _dedicated(stack) if stack.dedicated else _pooled(stack)


def _pooled(stack: Stack) -> Handed:
    inputs = stack.inputs
    compartment = inputs.required("compartment")
    shared = inputs.required("shared_bucket")
    own = secret.build(stack, compartment, key.shared(stack))
    who = identity.build(stack, compartment, bucket=shared, prefix=stack.name, secret_id=own.id)
    return {"bucket": shared, "prefix": f"{stack.name}/", "identity": who.id, "secret": own.id}


def _dedicated(stack: Stack) -> Handed:
    compartment = scope.own(stack)
    grounds = network.build(stack, compartment) if stack.silo else None
    own_key = key.build(stack, compartment)
    own_bucket = bucket.build(stack, compartment, own_key)
    own_secret = secret.build(stack, compartment, own_key)
    who = identity.build(stack, compartment, bucket=own_bucket.name, prefix="", secret_id=own_secret.id)
    handed: Handed = {
        "bucket": own_bucket.name,
        "key": own_key.key_id,
        "identity": who.id,
        "secret": own_secret.id,
    }
    if grounds is not None:
        handed["network"] = grounds.vcn_id
    if stack.inputs.database is not None:
        placed = grounds or network.shared(stack)
        handed["database"] = database.build(stack, stack.inputs.database, compartment, placed, own_key)
    return handed
