"""The gateway of a tenant's agents: who reaches it, what it reaches, and what its pod may and may not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from paybill.api.failures import Invalid
from paybill.cli.agents_gateway import gateway as command
from paybill.desired import gateway, names, permissions
from paybill.desired.gateway import GatewayPods
from tests.unit.desired.conftest import Check
from tests.unit.desired.tenants import ACCOUNT, ACME, ENDPOINT, SYSTEM

SCRAPERS = ({"namespaceSelector": {"matchLabels": {names.NAMESPACE_LABEL: "monitoring"}}},)
PODS = GatewayPods(image="paybill:1", metrics_from=SCRAPERS)
CALLERS = ("t-k3x9m2qd", "acme-bots")


def built(pods: GatewayPods = PODS, callers: tuple[str, ...] = CALLERS) -> dict[str, Any]:
    return {obj["kind"]: obj for obj in gateway.build(ACME, SYSTEM, pods, ENDPOINT, callers)}


def pod(pods: GatewayPods = PODS) -> dict[str, Any]:
    spec: dict[str, Any] = built(pods)["Deployment"]["spec"]["template"]["spec"]
    return spec


def test_the_objects_are_as_written(golden: Check) -> None:
    golden("gateway", [*permissions.gateways(SYSTEM, ACCOUNT, PODS.service_account_name), *built().values()])


def test_its_arguments_are_those_of_the_command() -> None:
    (container,) = pod()["containers"]
    arguments = container["args"]
    assert arguments[:3] == ["agents", "gateway", gateway.FOLDER]
    context = command.make_context("gateway", ["/", *arguments[3:]])
    assert context.params["tenant"] == ACME.id
    assert context.params["audience"] == gateway.audience(ACME)
    assert gateway.url(ACME, SYSTEM).split("/")[2] in context.params["hosts"]
    assert (context.params["listen"], context.params["port"], context.params["metrics_port"]) == ("0.0.0.0", 8080, 9090)
    assert CliRunner().invoke(command, ["/", "--tenant", "x"]).exit_code == 2, "and it refuses what lacks a word"


def test_no_two_tenants_and_no_two_installations_take_each_others_tokens() -> None:
    others = (replace(ACME, id="aaaaaaaa"), replace(ACME, installation="another"))
    assert len({gateway.audience(one) for one in (ACME, *others)}) == 3


def test_only_the_callers_get_in_and_only_to_the_port_of_mcp() -> None:
    spec = built()["NetworkPolicy"]["spec"]
    assert spec["podSelector"]["matchLabels"].items() <= pod_labels().items()
    calls, scrapes = spec["ingress"]
    assert [one["namespaceSelector"]["matchLabels"][names.NAMESPACE_LABEL] for one in calls["from"]] == sorted(CALLERS)
    assert [port["port"] for port in calls["ports"]] == [gateway.PORT]
    assert scrapes == {"from": list(SCRAPERS), "ports": [{"protocol": "TCP", "port": gateway.METRICS_PORT}]}
    assert built(GatewayPods(image="x"), ())["NetworkPolicy"]["spec"]["ingress"] == []


def test_it_reaches_names_its_database_and_the_api_server() -> None:
    dns, database, server = built()["NetworkPolicy"]["spec"]["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert database["to"] == [{"ipBlock": {"cidr": "10.20.30.40/32"}}]
    assert [port["port"] for port in database["ports"]] == [5432]
    assert [port["port"] for port in server["ports"]] == [443, 6443]


def pod_labels(pods: GatewayPods = PODS) -> dict[str, str]:
    labels: dict[str, str] = built(pods)["Deployment"]["spec"]["template"]["metadata"]["labels"]
    return labels


def test_its_service_finds_its_pod() -> None:
    service, deployment = built()["Service"]["spec"], built()["Deployment"]["spec"]
    assert service["selector"] == deployment["selector"]["matchLabels"]
    assert service["selector"].items() <= pod_labels().items()
    (container,) = pod()["containers"]
    assert service["ports"][0]["targetPort"] in [port["name"] for port in container["ports"]]


def test_its_pod_has_its_tenants_secret_and_a_token_of_its_own_and_nothing_else() -> None:
    spec = pod()
    agents, token = spec["volumes"]
    assert agents["secret"]["secretName"] == names.agents(ACME.id)
    assert spec["automountServiceAccountToken"] is False
    held, _ = token["projected"]["sources"]
    assert held == {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    (container,) = spec["containers"]
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert "env" not in container


def test_there_is_never_a_second_one_that_takes_the_agents_sessions() -> None:
    spec = built()["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_what_is_set_is_in_its_pod_in_the_api_servers_own_words_and_no_label_of_ours_is_replaced() -> None:
    resources = {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"memory": "2Gi"}}
    pods = GatewayPods(image="x", resources=resources, labels={"team": "a", names.TENANT_LABEL: "forged"})
    (container,) = pod(pods)["containers"]
    assert container["resources"] == {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    assert (pod_labels(pods)["team"], pod_labels(pods)[names.TENANT_LABEL]) == ("a", ACME.id)


@pytest.mark.parametrize(
    ("text", "word"),
    [("{}", "image"), ('{"image": ""}', "image"), ("image: x", "JSON"), ('{"image": "x", "labels": 1}', "labels")],
)
def test_a_setting_that_makes_no_pod_is_refused_by_name(text: str, word: str) -> None:
    with pytest.raises(Invalid) as refused:
        gateway.pods_of(text)
    assert "PAYBILL_AGENT_GATEWAY" in refused.value.message
    assert word in refused.value.message
