"""What a tenant's pods may talk to beside themselves, DNS and their database: a safe part of NetworkPolicy's peers.

Everything is explicit. A selector must select by at least one label, since an empty one means "all", and the whole
internet must be written as a CIDR: an omission can then never open more than its author saw.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from paybill.api.base import ApiModel
from paybill.api.rules import SUBDOMAIN_PATTERN, checks, rule, ruled

Protocol = Literal["TCP", "UDP", "SCTP"]

CIDR_MESSAGE = 'must be a network in CIDR notation with no bits beyond its mask, such as "10.0.0.0/8" or "fd00::/8"'
_CIDR_RULE = "isCIDR(self) && cidr(self).masked() == cidr(self)"
_LABEL_KEY = f"^({SUBDOMAIN_PATTERN[1:-1]}/)?[A-Za-z0-9]([-_.A-Za-z0-9]{{0,61}}[A-Za-z0-9])?$"

Cidr = Annotated[str, Field(max_length=43, json_schema_extra=checks(rule(_CIDR_RULE, CIDR_MESSAGE)))]

LabelValue = Annotated[str, Field(max_length=63, pattern="^([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)?$")]

MatchLabels = Annotated[
    dict[str, LabelValue],
    Field(
        min_length=1,
        max_length=16,
        json_schema_extra=checks(
            rule(
                f"self.all(key, key.size() <= 317 && key.indexOf('/') <= 253 && key.matches('{_LABEL_KEY}'))",
                "every key must be a Kubernetes label key, such as app or app.kubernetes.io/name, with at most 63 "
                "characters after a '/'",
            )
        ),
    ),
]


class Selector(ApiModel):
    """Selects by labels; at least one, because an empty selector would mean all."""

    match_labels: MatchLabels
    """Labels that must all be there, with these values."""


class IPBlock(ApiModel):
    """A range of addresses."""

    model_config = ruled(
        rule(
            "!has(self.except) || !isCIDR(self.cidr) || "
            "self.except.all(part, !isCIDR(part) || (cidr(self.cidr).containsCIDR(part) "
            "&& cidr(part).prefixLength() > cidr(self.cidr).prefixLength()))",
            "except must lie within cidr, and leave something of it",
        )
    )

    cidr: Cidr
    """The range; 0.0.0.0/0 is every IPv4 address."""
    except_: tuple[Cidr, ...] = Field(default=(), alias="except", max_length=16)
    """Ranges within cidr that are left out."""


class NetworkPort(ApiModel):
    """One port."""

    protocol: Protocol = "TCP"
    """TCP, UDP or SCTP."""
    port: Annotated[int, Field(ge=1, le=65_535)]
    """The port's number."""


class NetworkPeer(ApiModel):
    """One other side, by namespace and pod labels or by addresses, and the ports that are open to or from it."""

    model_config = ruled(
        rule(
            "has(self.ipBlock) ? !has(self.namespaceSelector) && !has(self.podSelector) "
            ": has(self.namespaceSelector) || has(self.podSelector)",
            "a peer is either an ipBlock or a namespaceSelector and/or podSelector: write one of the two; for "
            'everywhere write ipBlock.cidr "0.0.0.0/0"',
        )
    )

    namespace_selector: Selector | None = None
    """Namespaces, by their labels; together with podSelector: those pods in those namespaces."""
    pod_selector: Selector | None = None
    """Pods, by their labels; alone: pods of the tenant's own namespace."""
    ip_block: IPBlock | None = None
    """Addresses outside the cluster."""
    ports: tuple[NetworkPort, ...] = Field(default=(), max_length=32)
    """The ports that are open; none given: all."""


class Network(ApiModel):
    """Peers added to default-deny, DNS and the tenant's database."""

    ingress_from: tuple[NetworkPeer, ...] = Field(default=(), max_length=32)
    """Who may open connections to the tenant's pods: the ingress controller, metrics."""
    egress_to: tuple[NetworkPeer, ...] = Field(default=(), max_length=32)
    """Where the tenant's pods may open connections to: outside APIs."""
