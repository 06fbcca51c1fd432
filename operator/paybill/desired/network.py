"""The NetworkPolicy of a tenant: nothing in, nothing out, but for what it needs and its Plan allows.

Allowed are the tenant's own pods among themselves, DNS, the tenant's database and the Plan's peers. Policies
add up, so an allow-all beside this one would undo it: owners may not write NetworkPolicies (desired/rbac.py).
A database that is named by a host name outside the cluster cannot be expressed in a NetworkPolicy; there the
port is opened to every address and the server's own login is the fence.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paybill.api.plan import Network, NetworkPeer
from paybill.desired import names


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Pods of ours in another namespace."""

    namespace: str
    labels: Mapping[str, str]
    port: int

    def rule(self) -> dict[str, Any]:
        """The rule that lets pods out to them."""
        there = {"matchLabels": {names.NAMESPACE_LABEL: self.namespace}}
        peer = {"namespaceSelector": there, "podSelector": {"matchLabels": dict(self.labels)}}
        return {"to": [peer], "ports": [{"protocol": "TCP", "port": self.port}]}


DNS_PORTS = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]


def build(
    identity: names.Identity, network: Network, databases: Sequence[tuple[str, int]], gateway: Peer | None = None
) -> dict[str, Any]:
    """The one NetworkPolicy of a tenant; ``databases`` are the (host, port) pairs its logins may reach.

    ``gateway`` is the gateway of its agents, where the installation runs them; whether it is there or not.
    """
    own_pods: dict[str, Any] = {"podSelector": {}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": names.NETWORK_POLICY,
            "namespace": names.namespace(identity.id),
            "labels": names.labels(identity),
        },
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [own_pods]}, *(_rule("from", peer) for peer in network.ingress_from)],
            "egress": [
                {"to": [own_pods]},
                {"ports": DNS_PORTS},
                *(database(host, port) for host, port in sorted(set(databases))),
                *([gateway.rule()] if gateway is not None else []),
                *(_rule("to", peer) for peer in network.egress_to),
            ],
        },
    }


def _rule(direction: str, peer: NetworkPeer) -> dict[str, Any]:
    arms = peer.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    ports = arms.pop("ports", None)
    rule: dict[str, Any] = {direction: [arms]} if arms else {}
    if ports:
        rule["ports"] = [{"protocol": "TCP", **port} for port in ports]
    return rule


def database(host: str, port: int) -> dict[str, Any]:
    """The rule that lets pods out to one database server."""
    rule: dict[str, Any] = {"ports": [{"protocol": "TCP", "port": port}]}
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        service = host.split(".")
        if len(service) >= 3 and service[2] == "svc":
            selector = {"matchLabels": {names.NAMESPACE_LABEL: service[1]}}
            rule["to"] = [{"namespaceSelector": selector}]
        return rule
    rule["to"] = [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}]
    return rule
