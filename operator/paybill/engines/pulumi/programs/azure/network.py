"""The network of a Silo tenant: its database and its private endpoints are in it, and only the cluster comes in.

Its range comes from an IPAM pool, because it is peered with the cluster's network, where pods run. Peerings are not
transitive: one tenant's network does not reach another's.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import network, privatedns

from paybill.engines.pulumi.programs.azure.scope import Place
from paybill.engines.pulumi.programs.stack import Stack

ADDRESSES = 128
SUBNET_ADDRESSES = 32
DELEGATE = "Microsoft.DBforPostgreSQL/flexibleServers"
POSTGRES_PORTS = ["5432", "6432"]


@dataclass(frozen=True, kw_only=True)
class Grounds:
    """What a tenant's parts are placed in."""

    endpoint_subnet_id: pulumi.Input[str]
    database_subnet_id: pulumi.Input[str] | None = None
    database_zone_id: pulumi.Input[str] | None = None
    network_id: pulumi.Input[str] | None = None
    """The tenant's own network, where it has one."""
    ready: tuple[pulumi.Resource, ...] = ()
    """What must be there before a server is."""


def shared(stack: Stack) -> Grounds:
    """The subnets that the cell's Bridge tenants share."""
    inputs = stack.inputs
    server = inputs.database is not None
    return Grounds(
        endpoint_subnet_id=inputs.required("endpoint_subnet_id"),
        database_subnet_id=inputs.required("database_subnet_id") if server else None,
        database_zone_id=inputs.required("database_zone_id") if server else None,
    )


def build(stack: Stack, place: Place) -> Grounds:
    """A network of two subnets behind one security group, peered with the cluster's."""
    own = network.VirtualNetwork(
        "network",
        network.VirtualNetworkInitArgs(
            resource_group_name=place.group,
            location=place.location,
            virtual_network_name=stack.name,
            address_space=network.AddressSpaceArgs(ipam_pool_prefix_allocations=_addresses(stack, ADDRESSES)),
            tags=stack.tags,
        ),
        stack.carrying(slow=True),
    )
    group = _security_group(stack, place)
    # One after the other: Azure locks the network while a subnet is made.
    endpoints = _subnet(stack, place, own, group, "endpoints", after=[])
    databases = _subnet(stack, place, own, group, "databases", after=[endpoints])
    zone, links = _zone(stack, place, own)
    _peerings(stack, place, own, after=[databases])
    return Grounds(
        endpoint_subnet_id=endpoints.id,
        database_subnet_id=databases.id,
        database_zone_id=zone.id,
        network_id=own.id,
        ready=tuple(links),
    )


def _addresses(stack: Stack, count: int) -> list[network.IpamPoolPrefixAllocationArgs]:
    pool = stack.inputs.required("ipam_pool_id")
    return [network.IpamPoolPrefixAllocationArgs(id=pool, number_of_ip_addresses=str(count))]


def _security_group(stack: Stack, place: Place) -> network.NetworkSecurityGroup:
    return network.NetworkSecurityGroup(
        "network-rules",
        network.NetworkSecurityGroupInitArgs(
            resource_group_name=place.group,
            location=place.location,
            network_security_group_name=stack.name,
            security_rules=[
                _rule("cluster", 100, source=stack.inputs.required("cluster_cidr"), ports=["443", *POSTGRES_PORTS]),
                # Primary and standby speak with each other; Azure refuses a server where they cannot.
                _rule("servers", 110, source="VirtualNetwork", ports=POSTGRES_PORTS),
                _rule("nothing-else", 4096, source="*", ports=["*"], allow=False),
            ],
            tags=stack.tags,
        ),
        stack.carrying(),
    )


def _rule(name: str, priority: int, *, source: str, ports: list[str], allow: bool = True) -> network.SecurityRuleArgs:
    either = network.SecurityRuleAccess
    protocol = network.SecurityRuleProtocol
    return network.SecurityRuleArgs(
        name=name,
        priority=priority,
        direction=network.SecurityRuleDirection.INBOUND,
        access=either.ALLOW if allow else either.DENY,
        protocol=protocol.TCP if allow else protocol.ASTERISK,
        source_address_prefix=source,
        source_port_range="*",
        destination_address_prefix="*",
        destination_port_range=None if allow else "*",
        destination_port_ranges=ports if allow else None,
    )


def _subnet(
    stack: Stack,
    place: Place,
    own: network.VirtualNetwork,
    group: network.NetworkSecurityGroup,
    name: str,
    after: list[pulumi.Resource],
) -> network.Subnet:
    delegation = network.DelegationArgs(name="postgres", service_name=DELEGATE)
    return network.Subnet(
        name,
        network.SubnetInitArgs(
            resource_group_name=place.group,
            virtual_network_name=own.name,
            subnet_name=name,
            ipam_pool_prefix_allocations=_addresses(stack, SUBNET_ADDRESSES),
            default_outbound_access=False,
            network_security_group=network.NetworkSecurityGroupArgs(id=group.id),
            # Without this the rules would not count for private endpoints.
            private_endpoint_network_policies=network.VirtualNetworkPrivateEndpointNetworkPolicies.ENABLED,
            delegations=[delegation] if name == "databases" else None,
        ),
        stack.carrying(slow=True, after=after),
    )


def _zone(
    stack: Stack, place: Place, own: network.VirtualNetwork
) -> tuple[privatedns.PrivateZone, list[pulumi.Resource]]:
    """The private zone of the tenant's server, and who can ask it: the tenant's network and the cluster's."""
    zone = privatedns.PrivateZone(
        "zone",
        privatedns.PrivateZoneArgs(
            resource_group_name=place.group,
            location="global",
            private_zone_name=f"{stack.name}.private.postgres.database.azure.com",
            tags=stack.tags,
        ),
        stack.carrying(slow=True),
    )
    asking: dict[str, pulumi.Input[str]] = {"tenant": own.id, "cluster": stack.inputs.required("network_id")}
    links: list[pulumi.Resource] = [
        privatedns.VirtualNetworkLink(
            f"zone-{who}",
            privatedns.VirtualNetworkLinkArgs(
                resource_group_name=place.group,
                location="global",
                private_zone_name=zone.name,
                virtual_network_link_name=who,
                virtual_network=privatedns.SubResourceArgs(id=network_id),
                registration_enabled=False,
                tags=stack.tags,
            ),
            stack.carrying(slow=True),
        )
        for who, network_id in asking.items()
    ]
    return zone, links


def _peerings(stack: Stack, place: Place, own: network.VirtualNetwork, after: list[pulumi.Resource]) -> None:
    """Both directions: a peering of one side only carries nothing."""
    cluster = stack.inputs.required("network_id")
    parts = cluster.split("/")  # /subscriptions/S/resourceGroups/G/providers/Microsoft.Network/virtualNetworks/N
    sides: list[tuple[str, pulumi.Input[str], pulumi.Input[str], pulumi.Input[str]]] = [
        ("to-cluster", place.group, own.name, cluster),
        ("from-cluster", parts[4], parts[-1], own.id),
    ]
    for way, group, local, remote in sides:
        network.VirtualNetworkPeering(
            f"peering-{way}",
            network.VirtualNetworkPeeringInitArgs(
                resource_group_name=group,
                virtual_network_name=local,
                virtual_network_peering_name=f"{stack.name}-{way}",
                remote_virtual_network=network.SubResourceArgs(id=remote),
                allow_virtual_network_access=True,
                allow_forwarded_traffic=False,
                allow_gateway_transit=False,
                use_remote_gateways=False,
            ),
            stack.options(slow=True, after=after),
        )
