"""A Silo tenant's own network: private, in three zones, no way to the internet, peered with the cluster alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pulumi
from pulumi_aws import ec2, vpc

from paybill.engines.pulumi.programs.aws.partition import listed
from paybill.engines.pulumi.programs.stack import Stack

NETMASK = 24
"""256 addresses: a database with its standby and the endpoints need fewer than 30."""
SUBNET_NETMASK = 26
ZONES = 3
ENDPOINTS = ("kms", "secretsmanager")


@dataclass(frozen=True, kw_only=True)
class Network:
    """Where a database is put: a network that is there or was made."""

    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]


def network(stack: Stack) -> Network:
    """The network of a Silo tenant; else that of the cell's cluster."""
    if not stack.silo:
        return Network(vpc_id=stack.inputs.required("vpc_id"), subnet_ids=listed(stack, "subnet_ids"))
    own = ec2.Vpc(
        "network",
        ipv4_ipam_pool_id=stack.inputs.required("ipam_pool_id"),
        ipv4_netmask_length=NETMASK,
        enable_dns_support=True,
        enable_dns_hostnames=True,
        tags=stack.tags | {"Name": stack.name},
        opts=stack.carrying(slow=True),
    )
    # Whoever forgets to name a group gets this one: it lets nothing in and nothing out.
    ec2.DefaultSecurityGroup("network", vpc_id=own.id, ingress=[], egress=[], tags=stack.tags, opts=stack.carrying())
    routes = ec2.RouteTable("network", vpc_id=own.id, tags=stack.tags, opts=stack.carrying())
    subnets = _subnets(stack, own, routes)
    _peering(stack, own, routes)
    _endpoints(stack, own, routes, subnets)
    _flow_log(stack, own)
    return Network(vpc_id=own.id, subnet_ids=[one.id for one in subnets])


def subnet_range(cidr: str, index: int) -> str:
    """The range of the subnet of that index within a network's."""
    return str(list(ipaddress.ip_network(cidr).subnets(new_prefix=SUBNET_NETMASK))[index])


def _subnets(stack: Stack, own: ec2.Vpc, routes: ec2.RouteTable) -> list[ec2.Subnet]:
    subnets = []
    for index, zone in enumerate(listed(stack, "availability_zones")[:ZONES]):
        subnet = ec2.Subnet(
            f"network-{index}",
            vpc_id=own.id,
            availability_zone=zone,
            cidr_block=own.cidr_block.apply(partial(subnet_range, index=index)),
            map_public_ip_on_launch=False,
            tags=stack.tags | {"Name": f"{stack.name}-{index}"},
            opts=stack.carrying(slow=True),
        )
        ec2.RouteTableAssociation(
            f"network-{index}", subnet_id=subnet.id, route_table_id=routes.id, opts=stack.carrying()
        )
        subnets.append(subnet)
    return subnets


def _peering(stack: Stack, own: ec2.Vpc, routes: ec2.RouteTable) -> None:
    """The only way in and out, so that the tenant's pods and the operator reach the database."""
    peering = ec2.VpcPeeringConnection(
        "cluster",
        vpc_id=own.id,
        peer_vpc_id=stack.inputs.required("vpc_id"),
        auto_accept=True,
        tags=stack.tags | {"Name": stack.name},
        opts=stack.carrying(),
    )
    ec2.Route(
        "cluster",
        route_table_id=routes.id,
        destination_cidr_block=stack.inputs.required("vpc_cidr"),
        vpc_peering_connection_id=peering.id,
        opts=stack.carrying(),
    )
    for table in listed(stack, "route_table_ids"):
        ec2.Route(
            f"cluster-{table}",
            route_table_id=table,
            destination_cidr_block=own.cidr_block,
            vpc_peering_connection_id=peering.id,
            opts=stack.carrying(),
        )


def _endpoints(stack: Stack, own: ec2.Vpc, routes: ec2.RouteTable, subnets: Sequence[ec2.Subnet]) -> None:
    """Ways to the services that need no internet."""
    group = ec2.SecurityGroup(
        "endpoints",
        name=f"{stack.inputs.suffixed}-endpoints",
        description="AWS services, from within the tenant's network",
        vpc_id=own.id,
        tags=stack.tags,
        opts=stack.carrying(),
    )
    vpc.SecurityGroupIngressRule(
        "endpoints",
        security_group_id=group.id,
        description="HTTPS from within the network",
        cidr_ipv4=own.cidr_block,
        ip_protocol="tcp",
        from_port=443,
        to_port=443,
        tags=stack.tags,
        opts=stack.carrying(),
    )
    ec2.VpcEndpoint(
        "endpoint-s3",
        vpc_id=own.id,
        service_name=f"com.amazonaws.{stack.inputs.region}.s3",
        vpc_endpoint_type="Gateway",
        route_table_ids=[routes.id],
        tags=stack.tags,
        opts=stack.carrying(),
    )
    for service in ENDPOINTS:
        ec2.VpcEndpoint(
            f"endpoint-{service}",
            vpc_id=own.id,
            service_name=f"com.amazonaws.{stack.inputs.region}.{service}",
            vpc_endpoint_type="Interface",
            private_dns_enabled=True,
            subnet_ids=[one.id for one in subnets],
            security_group_ids=[group.id],
            tags=stack.tags,
            opts=stack.carrying(slow=True),
        )


def _flow_log(stack: Stack, own: ec2.Vpc) -> None:
    ec2.FlowLog(
        "network",
        vpc_id=own.id,
        traffic_type="ALL",
        log_destination_type="s3",
        log_destination=stack.inputs.required("flow_log_bucket_arn"),
        tags=stack.tags,
        opts=stack.options(),
    )
