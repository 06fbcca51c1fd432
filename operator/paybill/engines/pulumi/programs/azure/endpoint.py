"""Private endpoints: how a vault and a storage account are reached, since their public doors are shut."""

from __future__ import annotations

from typing import Literal

import pulumi
from pulumi_azure_native import network

from paybill.engines.pulumi.programs.azure.network import Grounds
from paybill.engines.pulumi.programs.azure.scope import Place
from paybill.engines.pulumi.programs.stack import Stack

Part = Literal["vault", "blob"]


def build(
    stack: Stack,
    place: Place,
    grounds: Grounds,
    what: str,
    *,
    target: pulumi.Input[str],
    part: Part,
    zone: str,
) -> None:
    """An address in the endpoints' subnet for one part of a service, and its name in the private zone."""
    named = f"{stack.name}-{what}"
    made = network.PrivateEndpoint(
        f"{what}-endpoint",
        network.PrivateEndpointArgs(
            resource_group_name=place.group,
            location=place.location,
            private_endpoint_name=named,
            subnet=network.SubnetArgs(id=grounds.endpoint_subnet_id),
            private_link_service_connections=[
                network.PrivateLinkServiceConnectionArgs(name=named, private_link_service_id=target, group_ids=[part])
            ],
            tags=stack.tags,
        ),
        stack.options(slow=True),
    )
    network.PrivateDnsZoneGroup(
        f"{what}-endpoint-name",
        network.PrivateDnsZoneGroupArgs(
            resource_group_name=place.group,
            private_endpoint_name=made.name,
            private_dns_zone_group_name="default",
            private_dns_zone_configs=[network.PrivateDnsZoneConfigArgs(name=part, private_dns_zone_id=zone)],
        ),
        stack.options(),
    )
