"""The network of a Silo tenant: its database is in it, and only the cluster comes in, by the gateway between networks.

Its range must be no other's, because the gateway joins them. Oracle gives out none, so it follows from the tenant's id;
where two tenants would take the same, a person gives one of them another.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass

import pulumi
from pulumi_oci import core

from paybill.desired.stack import StackInputs
from paybill.engines.pulumi.programs.stack import Stack

PREFIX = 26
"""Enough for a server with its standby, and the more ranges the fewer meet."""
POSTGRES = 5432
TCP = "6"


@dataclass(frozen=True, kw_only=True)
class Grounds:
    """What the server is placed in."""

    subnet_id: pulumi.Input[str]
    security_group_id: pulumi.Input[str]
    vcn_id: pulumi.Input[str] | None = None
    """The tenant's own network, where it has one."""


def own_range(inputs: StackInputs) -> str:
    """The range of the tenant's network: the one it was given, else a part of ``silo_range`` by its id."""
    given = inputs.foundation.get(f"silo_range_{inputs.tenant_id}")
    if given:
        return str(ipaddress.ip_network(given))
    whole = ipaddress.ip_network(inputs.required("silo_range"))
    parts = 2 ** (PREFIX - whole.prefixlen)
    number = int.from_bytes(hashlib.sha256(inputs.tenant_id.encode()).digest()[:8], "big") % parts
    start = int(whole.network_address) + number * 2 ** (whole.max_prefixlen - PREFIX)
    return f"{ipaddress.ip_address(start)}/{PREFIX}"


def shared(stack: Stack) -> Grounds:
    """The subnet that the cell's Bridge tenants with a server share."""
    return Grounds(
        subnet_id=stack.inputs.required("database_subnet_id"),
        security_group_id=stack.inputs.required("database_nsg_id"),
    )


def build(stack: Stack, compartment: pulumi.Input[str]) -> Grounds:
    """A network with one private subnet, whose only doors are the cluster and Oracle's services."""
    cidr = own_range(stack.inputs)
    vcn = core.Vcn(
        "network",
        core.VcnArgs(
            compartment_id=compartment,
            display_name=stack.name,
            cidr_blocks=[cidr],
            dns_label=stack.name.replace("-", ""),  # letters and digits, at most 15
            freeform_tags=stack.tags,
        ),
        stack.carrying(slow=True),
    )
    _shut(stack, compartment, vcn)
    subnet = core.Subnet(
        "subnet",
        core.SubnetArgs(
            compartment_id=compartment,
            vcn_id=vcn.id,
            display_name=stack.name,
            cidr_block=cidr,
            dns_label="database",
            prohibit_public_ip_on_vnic=True,
            prohibit_internet_ingress=True,
            route_table_id=_routes(stack, compartment, vcn).id,
            freeform_tags=stack.tags,
        ),
        stack.carrying(slow=True),
    )
    return Grounds(subnet_id=subnet.id, security_group_id=_security_group(stack, compartment, vcn), vcn_id=vcn.id)


def _shut(stack: Stack, compartment: pulumi.Input[str], vcn: core.Vcn) -> None:
    """Empty the default list of rules, which lets in SSH from everywhere; without rules it lets in nothing."""
    core.DefaultSecurityList(
        "network-default",
        core.DefaultSecurityListArgs(
            manage_default_resource_id=vcn.default_security_list_id,
            compartment_id=compartment,
            display_name=f"{stack.name}-nothing",
            egress_security_rules=[],
            ingress_security_rules=[],
            freeform_tags=stack.tags,
        ),
        stack.carrying(),
    )


def _routes(stack: Stack, compartment: pulumi.Input[str], vcn: core.Vcn) -> core.RouteTable:
    """Ways to the cluster and to Oracle's services; none to the internet, none to other tenants."""
    inputs = stack.inputs
    services, joined = _gateways(stack, compartment, vcn)
    return core.RouteTable(
        "routes",
        core.RouteTableArgs(
            compartment_id=compartment,
            vcn_id=vcn.id,
            display_name=stack.name,
            route_rules=[
                core.RouteTableRouteRuleArgs(
                    network_entity_id=services.id,
                    destination=inputs.required("services_cidr"),
                    destination_type="SERVICE_CIDR_BLOCK",
                ),
                core.RouteTableRouteRuleArgs(
                    network_entity_id=inputs.required("drg_id"),
                    destination=inputs.required("cluster_cidr"),
                    destination_type="CIDR_BLOCK",
                ),
            ],
            freeform_tags=stack.tags,
        ),
        stack.carrying(after=[joined]),
    )


def _gateways(
    stack: Stack, compartment: pulumi.Input[str], vcn: core.Vcn
) -> tuple[core.ServiceGateway, core.DrgAttachment]:
    """The door to Oracle's services, and the one to the other networks."""
    inputs = stack.inputs
    services = core.ServiceGateway(
        "services",
        core.ServiceGatewayArgs(
            compartment_id=compartment,
            vcn_id=vcn.id,
            display_name=stack.name,
            services=[core.ServiceGatewayServiceArgs(service_id=inputs.required("services_id"))],
            freeform_tags=stack.tags,
        ),
        stack.carrying(),
    )
    joined = core.DrgAttachment(
        "gateway",
        core.DrgAttachmentArgs(
            drg_id=inputs.required("drg_id"),
            display_name=stack.name,
            network_details=core.DrgAttachmentNetworkDetailsArgs(type="VCN", id=vcn.id),
            freeform_tags=stack.tags,
        ),
        stack.carrying(slow=True),
    )
    return services, joined


def _security_group(stack: Stack, compartment: pulumi.Input[str], vcn: core.Vcn) -> pulumi.Output[str]:
    """Postgres from the cluster, and nothing else; gives the group's OCID."""
    group = core.NetworkSecurityGroup(
        "database-rules",
        core.NetworkSecurityGroupArgs(
            compartment_id=compartment, vcn_id=vcn.id, display_name=stack.name, freeform_tags=stack.tags
        ),
        stack.carrying(),
    )
    ports = core.NetworkSecurityGroupSecurityRuleTcpOptionsDestinationPortRangeArgs(min=POSTGRES, max=POSTGRES)
    core.NetworkSecurityGroupSecurityRule(
        "database-from-cluster",
        core.NetworkSecurityGroupSecurityRuleArgs(
            network_security_group_id=group.id,
            direction="INGRESS",
            protocol=TCP,
            source=stack.inputs.required("cluster_cidr"),
            source_type="CIDR_BLOCK",
            stateless=False,
            description="Postgres from the cluster",
            tcp_options=core.NetworkSecurityGroupSecurityRuleTcpOptionsArgs(destination_port_range=ports),
        ),
        stack.carrying(),
    )
    return group.id
