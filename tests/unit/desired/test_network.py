"""The NetworkPolicy of a tenant: nothing but its own pods, DNS, its database and what its Plan allows."""

from __future__ import annotations

from typing import Any

import pytest

from paybill.api.plan import Network
from paybill.desired import network
from tests.unit.desired.tenants import ACME

OWN = {"podSelector": {}}
DNS = {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}


def spec(databases: list[tuple[str, int]] = [], **peers: Any) -> dict[str, Any]:  # noqa: B006 - read only
    made: dict[str, Any] = network.build(ACME, Network.model_validate(peers), databases)["spec"]
    return made


def test_without_a_plans_peers_there_is_only_the_tenant_itself_and_dns():
    assert spec() == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [OWN]}],
        "egress": [{"to": [OWN]}, DNS],
    }


@pytest.mark.parametrize(
    ("host", "to"),
    [
        pytest.param("10.20.30.40", [{"ipBlock": {"cidr": "10.20.30.40/32"}}], id="an IPv4 address, it alone"),
        pytest.param("fd00::7", [{"ipBlock": {"cidr": "fd00::7/128"}}], id="an IPv6 address, it alone"),
        pytest.param(
            "pg.databases.svc", [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "databases"}}}],
            id="a Service: its namespace",
        ),
        pytest.param(
            "pg.databases.svc.cluster.local",
            [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "databases"}}}],
            id="a Service in full",
        ),
        pytest.param("db.example.com", None, id="a name outside: only the port can be said"),
        pytest.param("svc", None, id="a short name is no Service"),
    ],
)  # fmt: skip
def test_the_database_is_reached_by_what_its_host_is(host, to):
    rule = spec([(host, 5432)])["egress"][2]
    assert rule == {"ports": [{"protocol": "TCP", "port": 5432}]} | ({} if to is None else {"to": to})


def test_databases_are_named_once_and_in_order():
    twice = spec([("10.0.0.2", 5432), ("10.0.0.1", 5432), ("10.0.0.2", 5432)])["egress"][2:]
    assert [rule["to"][0]["ipBlock"]["cidr"] for rule in twice] == ["10.0.0.1/32", "10.0.0.2/32"]


def test_a_peer_of_the_plan_is_one_rule_with_its_ports():
    peer = {
        "namespaceSelector": {"matchLabels": {"team": "ingress"}},
        "podSelector": {"matchLabels": {"app": "nginx"}},
        "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}],
    }
    selectors = {name: peer[name] for name in ("namespaceSelector", "podSelector")}
    ports = [{"protocol": "TCP", "port": 80}, {"protocol": "UDP", "port": 53}]
    assert spec(ingressFrom=[peer])["ingress"][1:] == [{"from": [selectors], "ports": ports}]
    assert spec(egressTo=[peer])["egress"][2:] == [{"to": [selectors], "ports": ports}]


def test_without_ports_every_port_of_the_peer_is_open_and_nobody_elses():
    block = {"cidr": "192.0.2.0/24", "except": ["192.0.2.9/32"]}
    assert spec(egressTo=[{"ipBlock": block}])["egress"][2:] == [{"to": [{"ipBlock": block}]}]


def test_peers_do_not_open_the_other_direction():
    block = {"ipBlock": {"cidr": "192.0.2.0/24"}}
    assert spec(egressTo=[block])["ingress"] == spec()["ingress"]
    assert spec(ingressFrom=[block])["egress"] == spec()["egress"]


def test_a_tenants_agents_reach_its_own_gateway_and_nothing_else_of_that_namespace() -> None:
    peer = network.Peer(namespace="paybill-system", labels={"paybill.dev/tenant": ACME.id}, port=8080)
    bare = network.build(ACME, Network(), [])["spec"]
    made = network.build(ACME, Network(), [], peer)["spec"]
    (rule,) = [one for one in made["egress"] if one not in bare["egress"]]
    assert made["ingress"] == bare["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8080}]
    # One peer with both selectors: as two, it would be every pod there and every pod of that label anywhere.
    assert rule["to"] == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "paybill-system"}},
            "podSelector": {"matchLabels": {"paybill.dev/tenant": ACME.id}},
        }
    ]
