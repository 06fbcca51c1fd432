"""The network of a Silo tenant: its database is in it, and nothing else comes in or goes out.

It is no peer of the cluster's network: Google's own peering to the database is not transitive, so pods could not pass.
They reach the server by Private Service Connect, at an address of the cluster's own (database.py). So ranges may
overlap, and no tenant's network reaches another's.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_gcp import compute, servicenetworking

from paybill.engines.pulumi.programs.gcp.labels import labels
from paybill.engines.pulumi.programs.stack import Stack

RANGE = "10.0.0.0/24"
SERVICES_PREFIX = 24


@dataclass(frozen=True, kw_only=True)
class Grounds:
    """What the server is placed in."""

    network_id: pulumi.Input[str]
    own: bool = False
    ready: tuple[pulumi.Resource, ...] = ()
    """What must be there before a server is."""


def shared(stack: Stack) -> Grounds:
    """The cluster's network, which has its peering already."""
    return Grounds(network_id=stack.inputs.required("network"))


def build(stack: Stack) -> Grounds:
    """The network, its subnetwork, its shut doors, and the range that Google puts the server in."""
    project = stack.inputs.required("project")
    network = compute.Network(
        "network",
        compute.NetworkArgs(
            name=stack.name,
            project=project,
            description=f"Tenant {stack.inputs.tenant_uid} of {stack.inputs.installation}",
            auto_create_subnetworks=False,
            delete_default_routes_on_create=True,
            routing_mode="REGIONAL",
        ),
        stack.carrying(slow=True),
    )
    compute.Subnetwork(
        "subnetwork",
        compute.SubnetworkArgs(
            name=stack.name,
            project=project,
            network=network.id,
            region=stack.inputs.region,
            ip_cidr_range=RANGE,
            private_ip_google_access=True,
            log_config=compute.SubnetworkLogConfigArgs(
                aggregation_interval="INTERVAL_10_MIN", flow_sampling=0.5, metadata="INCLUDE_ALL_METADATA"
            ),
        ),
        stack.carrying(slow=True),
    )
    _shut(stack, network, "INGRESS")
    _shut(stack, network, "EGRESS")
    return Grounds(network_id=network.id, own=True, ready=(_services(stack, network),))


def _shut(stack: Stack, network: compute.Network, direction: str) -> None:
    """Deny everything in one direction, and write down what tried."""
    inward = direction == "INGRESS"
    compute.Firewall(
        f"deny-{direction.lower()}",
        compute.FirewallArgs(
            name=f"{stack.name}-deny-{direction.lower()}",
            project=stack.inputs.required("project"),
            network=network.id,
            direction=direction,
            priority=65534,
            denies=[compute.FirewallDenyArgs(protocol="all")],
            source_ranges=["0.0.0.0/0"] if inward else None,
            destination_ranges=None if inward else ["0.0.0.0/0"],
            log_config=compute.FirewallLogConfigArgs(metadata="INCLUDE_ALL_METADATA"),
        ),
        stack.carrying(),
    )


def _services(stack: Stack, network: compute.Network) -> servicenetworking.Connection:
    reserved = compute.GlobalAddress(
        "services-range",
        compute.GlobalAddressArgs(
            name=f"{stack.name}-services",
            project=stack.inputs.required("project"),
            network=network.id,
            purpose="VPC_PEERING",
            address_type="INTERNAL",
            prefix_length=SERVICES_PREFIX,
            labels=labels(stack.inputs),
        ),
        stack.carrying(),
    )
    return servicenetworking.Connection(
        "services",
        servicenetworking.ConnectionArgs(
            network=network.id,
            service="servicenetworking.googleapis.com",
            reserved_peering_ranges=[reserved.name],
            # Google refuses to end a connection for days after the last server is gone; the network may go before.
            deletion_policy="REMOVE_PEERING",
        ),
        stack.carrying(slow=True),
    )
