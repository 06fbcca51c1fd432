"""The Google Cloud program: which parts a tenant of each model gets, and what is handed over."""

from __future__ import annotations

import pulumi
import pulumi_gcp as gcp

from paybill.desired.stack import StackInputs
from paybill.engines.pulumi.programs.gcp import bucket, database, identity, key, network, secret
from paybill.engines.pulumi.programs.gcp.labels import labels
from paybill.engines.pulumi.programs.stack import Handed, Stack

CANNOT: tuple[str, ...] = (
    (
        "GCP: keys and key rings can never be deleted, only a key's versions can: a cell has one ring per region, and "
        "a key's name stays taken for ever, so it is never made a second time."
    ),
    "GCP: a Cloud SQL instance's name stays taken for about a week after its deletion.",
    (
        "GCP: the operator logs in to a server with a password, which the program draws once and the state holds, "
        "encrypted; it does not rotate by itself. The service account is an administrator beside it."
    ),
    (
        "GCP: a server is reached at an address, and its certificate names none: the operator checks that its own "
        "authority signed it (sslmode verify-ca), not a name."
    ),
    "GCP: the storage of a server grows by itself only; a Plan's larger number counts for new servers alone.",
    "GCP: service accounts, networks, firewalls, folders and bindings carry no labels; they are found by their names.",
    (
        "GCP: deletion_protection and deletion_policy stop the engine alone; against everybody else there are "
        "deletion_protection_enabled (SQL), soft deletion (buckets) and delayed destruction (keys, secrets)."
    ),
)
"""What of the must-have settings does not hold, in sentences for the documentation."""

EXAMPLE: dict[str, str] = {
    "project": "example-cell",
    "project_number": "123456789012",
    "key_ring": "projects/example-cell/locations/europe-west1/keyRings/tenants",
    "shared_bucket": "example-cell-pooled",
    "shared_key": "projects/example-cell/locations/europe-west1/keyRings/tenants/cryptoKeys/pooled",
    "network": "projects/example-cell/global/networks/cell",
    "cluster_network": "projects/example-cell/global/networks/cell",
    "cluster_subnetwork": "projects/example-cell/regions/europe-west1/subnetworks/cell",
    "admin_account": "paybill-operator@example-cell.iam.gserviceaccount.com",
}
"""A foundation to render with, offline."""


def provider(inputs: StackInputs) -> pulumi.ProviderResource:
    """The explicit provider, bound to the cell's project and region; its default labels find what forgot its own."""
    return gcp.Provider(
        "gcp",
        gcp.ProviderArgs(
            project=inputs.required("project"),
            region=inputs.region,
            default_labels=labels(inputs),
            add_pulumi_attribution_label=False,  # a mark of its own would be drift to everybody else
        ),
    )


def describe(stack: Stack) -> Handed:
    """Declare the tenant's resources; raises FoundationMissing where the Cell does not give what they stand on."""
    return _dedicated(stack) if stack.dedicated else _pooled(stack)


def _pooled(stack: Stack) -> Handed:
    who = identity.build(stack)
    return {
        "bucket": stack.inputs.required("shared_bucket"),
        "prefix": bucket.shared(stack, who),
        "key": stack.inputs.required("shared_key"),
        "identity": who.email,
        "secret": secret.build(stack, stack.inputs.required("shared_key"), (), who),
    }


def _dedicated(stack: Stack) -> Handed:
    who = identity.build(stack)
    own = key.build(stack)
    handed: Handed = {
        "bucket": bucket.build(stack, own, who),
        "key": own.key.id,
        "identity": who.email,
        "secret": secret.build(stack, own.key.id, own.usable, who),
    }
    grounds = network.build(stack) if stack.silo else None
    if grounds is not None:
        handed["network"] = grounds.network_id
    if stack.inputs.database is not None:
        handed["database"] = database.build(stack, stack.inputs.database, grounds or network.shared(stack), own)
    return handed
