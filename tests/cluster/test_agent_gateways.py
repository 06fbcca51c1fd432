"""The gateway of a tenant's agents in the cluster: there with the first agent, as it is declared, gone with the last.

Nothing runs pods here. So the test is the kubelet: it puts the Secret into a folder and starts the program with the
arguments of the Deployment's container, as the account that the pod has.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from paybill.desired import gateway, permissions
from paybill.desired.gateway import GatewayPods
from tests.cluster import samples
from tests.cluster.api import Api, Object, accepted, holds
from tests.cluster.customers import Customer, Customers, secret
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.test_agent_policies import ORDERS as ORDERS_TABLE
from tests.cluster.test_agent_policies import WORKFLOW, hold, owner, phase, policy, ready, run, shop_of, within
from tests.cluster.waiting import until
from tests.conftest import LocalThread

PODS = GatewayPods(image="paybill:test")
SETTINGS = {"lease_seconds": 15.0, "agent_gateway": PODS}
HOME = samples.OPERATOR_NAMESPACE
KINDS = ("Deployment", "Service", "NetworkPolicy")


@pytest.fixture(autouse=True)
async def rights(api: Api) -> None:
    """What the chart makes with ``agents.gateway.enabled``."""
    account = {
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": PODS.service_account_name, "namespace": HOME},
    }  # fmt: skip
    await api.apply(account)
    for obj in permissions.gateways(HOME, "paybill-operator", PODS.service_account_name):
        where = f"/apis/rbac.authorization.k8s.io/v1/{_collection(obj)}/{obj['metadata']['name']}"
        accepted(
            *await api.call("PATCH", where, obj, "application/apply-patch+yaml", fieldManager="test", force="true")
        )


def _collection(obj: Object) -> str:
    namespace = obj["metadata"].get("namespace")
    return f"namespaces/{namespace}/{obj['kind'].lower()}s" if namespace else f"{obj['kind'].lower()}s"


async def token(api: Api, namespace: str, account: str, *audiences: str) -> str:
    body = {"spec": {"audiences": list(audiences), "expirationSeconds": 3600}}
    where = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    answer = accepted(*await api.call("POST", where, body))
    return str(answer["status"]["token"])


async def parts(api: Api, customer: Customer) -> dict[str, Object]:
    """What there is of the tenant's gateway."""
    found = {kind: await api.get(kind, f"t-{customer.id}-agents", HOME) for kind in KINDS}
    return {kind: obj for kind, obj in found.items() if obj is not None}


async def gone(api: Api, customer: Customer) -> bool:
    return not await parts(api, customer)


@dataclass
class Pod:
    """The gateway's only container: its arguments, the folder that is its Secret, the port where it listens here."""

    arguments: list[str]
    folder: Path
    kubeconfig: Path
    port: int = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The program, with its own arguments but for where this machine has the folder and free ports."""
        here = {gateway.FOLDER: str(self.folder), "0.0.0.0": "127.0.0.1", "8080": "0", "9090": "0"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "paybill", *(here.get(word, word) for word in self.arguments),
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)}, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        said = ""
        async with asyncio.timeout(120):
            while not (found := re.search(r"MCP on port (\d+), metrics and health on port (\d+)", said)):
                line = await process.stderr.readline()
                assert line, said
                said += line.decode()
        self.port, probes = int(found[1]), int(found[2])
        reading = asyncio.create_task(process.stderr.read())
        try:
            async with httpx2.AsyncClient(timeout=60) as http:

                async def is_ready() -> bool:
                    return bool((await http.get(f"http://127.0.0.1:{probes}/readyz")).status_code == 200)

                await until(is_ready, seconds=90)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            await process.wait()
            await reading

    async def sync(self, api: Api, customer: Customer) -> None:
        """What the kubelet does."""
        data = await secret(api, HOME, f"t-{customer.id}-agents")
        self.folder.mkdir(exist_ok=True)
        for path in self.folder.iterdir():
            if path.name not in data:
                path.unlink()
        for name, text in data.items():
            (self.folder / name).write_text(text)

    async def call(self, endpoint: Object, bearer: str, run_id: str) -> Any:
        """The answer of a call, made as the endpoint says; the status or the code when there is none."""
        headers = {"Authorization": f"Bearer {bearer}", "Host": endpoint["url"].split("/")[2]}
        here = f"http://127.0.0.1:{self.port}/mcp"
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            status = (await http.post(here, content=b"{}")).status_code
            if status in (401, 403, 421, 503):
                return status
            async with Client(streamable_http_client(here, http_client=http)) as client:
                answer = await client.call_tool("orders_get", {"run": run_id, "step": "load", "key": {"id": 2}})
        content: Any = answer.structured_content
        return content["error"]["code"] if answer.is_error else content["row"]


def kubeconfig(control_plane: LocalThread, bearer: str, file: Path) -> Path:
    """The administrator's, with another bearer: the server and its certificate stay."""
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["users"] = [{"name": one["name"], "user": {"token": bearer}} for one in config["users"]]
    file.write_text(yaml.safe_dump(config))
    return file


async def pod_of(api: Api, customer: Customer, control_plane: LocalThread, folder: Path) -> Pod:
    """The pod as the Deployment asks for it."""
    spec = (await parts(api, customer))["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    own = await token(api, HOME, spec["serviceAccountName"])
    pod = Pod(container["args"], folder / "agents", kubeconfig(control_plane, own, folder / "kubeconfig"))
    await pod.sync(api, customer)
    return pod


async def opened(customers: Customers, customer: Customer, name: str) -> str:
    """A run of the workflow that gets one order."""
    await customers.api.apply(run(customer, name))
    return str((await phase(customers, customer, "Running", name))["status"]["run"])


async def with_agent(api: Api, customers: Customers, customer: Customer, **changes: object) -> Object:
    """The status of its AgentPolicy, let in; its ServiceAccount is there."""
    bot = {"name": "bot", "namespace": customer.namespace}
    await api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": bot})
    await api.apply(policy(customer, subjects=[{"serviceAccount": bot}], **changes))
    status: Object = (await ready(customers, customer))["status"]
    return status


async def served_until_suspended(
    api: Api, customers: Customers, customer: Customer, control_plane: LocalThread, folder: Path
) -> None:
    await api.apply(within(customer, "AgentWorkflow", "look", WORKFLOW))
    endpoint = (await with_agent(api, customers, customer))["endpoint"]
    bearer = await token(api, customer.namespace, "bot", endpoint["audience"])
    first, second = await opened(customers, customer, "one"), await opened(customers, customer, "two")
    pod = await pod_of(api, customer, control_plane, folder)
    async with pod.running():
        assert await pod.call(endpoint, bearer, first) == {"id": 2, "amount": "2.00"}
        another = await token(api, customer.namespace, "bot", f"{endpoint['audience']}x")
        assert await pod.call(endpoint, another, second) == 401
        assert await pod.call({**endpoint, "url": "http://elsewhere.svc:8080/mcp"}, bearer, second) == 421

        await api.edit("Tenant", customer.name, hold("Access"))
        await customers.until(customer.name, lambda one: holds(one, "Suspended"), seconds=120)
        assert await pod.call(endpoint, bearer, second) == "Unavailable", "before the kubelet has heard of anything"
        assert await gone(api, customer)
        await pod.sync(api, customer)

        async def turned_away() -> bool:
            return bool(await pod.call(endpoint, bearer, second) == 401)

        await until(turned_away, seconds=60)
        assert "endpoint" not in (await ready(customers, customer, open_=False))["status"]

        await api.edit("Tenant", customer.name, {"spec": {"holds": None}})
        assert (await ready(customers, customer))["status"]["endpoint"] == endpoint
        assert set(await parts(api, customer)) == set(KINDS)
        third = await opened(customers, customer, "three")
        await pod.sync(api, customer)

        async def served() -> bool:
            return bool(await pod.call(endpoint, bearer, third) == {"id": 2, "amount": "2.00"})

        await until(served, seconds=90)


async def test_an_agent_is_served_by_what_the_deployment_says_until_its_tenant_is_suspended(
    api: Api, customers: Customers, control_plane: LocalThread, tmp_path: Path
) -> None:
    await served_until_suspended(api, customers, await shop_of(api, customers), control_plane, tmp_path)


@pytest.mark.exhaustive
async def test_so_it_is_on_a_server_of_the_tenants_own(
    api: Api, customers: Customers, control_plane: LocalThread, tmp_path: Path, keeper: None
) -> None:
    customer = await customers.onboard(database="Server")
    await owner(api, customer, ORDERS_TABLE)
    await served_until_suspended(api, customers, customer, control_plane, tmp_path)


async def test_a_gateway_comes_with_the_first_agent_is_healed_and_goes_with_the_last(
    api: Api, customers: Customers, operator: Operator, journal: Journal
) -> None:
    customer = await shop_of(api, customers)
    assert await gone(api, customer)
    endpoint = (await with_agent(api, customers, customer))["endpoint"]
    assert endpoint == {
        "url": f"http://t-{customer.id}-agents.{HOME}.svc:8080/mcp",
        "audience": f"https://paybill.dev/agents/{operator.settings.installation}/{customer.id}",
    }
    made = await parts(api, customer)
    assert set(made) == set(KINDS)
    bounds = await api.get("NetworkPolicy", "paybill", customer.namespace)
    assert bounds is not None
    out = [peer for rule in bounds["spec"]["egress"] for peer in rule.get("to", ()) if "podSelector" in peer]
    assert gateway.selector(customer.id) in [peer["podSelector"].get("matchLabels") for peer in out]

    async def looked() -> None:
        operator.look_at("AgentPolicy", f"{customer.namespace}/support", deep=True)
        await customers.quiet()

    await customers.quiet()
    journal.begin()
    await looked()
    assert [one for one in journal.writes() if one.namespace == HOME] == [], "what is as it should be is left alone"

    stranger = {"name": "spy", "image": "spy"}
    (ours,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    edit = {"spec": {"replicas": 3, "template": {"spec": {"containers": [ours, stranger]}}}}
    await api.edit("Deployment", f"t-{customer.id}-agents", edit, HOME)
    await looked()
    spec = (await parts(api, customer))["Deployment"]["spec"]
    assert (spec["replicas"], [one["name"] for one in spec["template"]["spec"]["containers"]]) == (1, ["gateway"])

    other = {"serviceAccount": {"namespace": "elsewhere", "name": "clerk"}}
    await api.apply(policy(customer, "billing", agent="billing", subjects=[other]))
    await ready(customers, customer, "billing")
    bounds = (await parts(api, customer))["NetworkPolicy"]
    let_in = [peer["namespaceSelector"]["matchLabels"] for peer in bounds["spec"]["ingress"][0]["from"]]
    assert let_in == [{"kubernetes.io/metadata.name": one} for one in sorted((customer.namespace, "elsewhere"))]

    await api.delete("AgentPolicy", "support", customer.namespace)
    await customers.quiet()
    assert set(await parts(api, customer)) == set(KINDS), "one agent is left"
    await api.delete("AgentPolicy", "billing", customer.namespace)
    await until(lambda: gone(api, customer), seconds=90)


async def test_a_stranger_of_that_name_is_neither_taken_over_nor_removed(
    api: Api, customers: Customers, operator: Operator, coming: str
) -> None:
    theirs = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": f"t-{coming}-agents", "namespace": HOME},
        "spec": {"ports": [{"port": 80}]},
    }  # fmt: skip
    await api.apply(theirs)
    customer = await shop_of(api, customers)
    assert customer.id == coming
    await api.apply(policy(customer))
    await customers.stalled("support", "NameConflict", kind="AgentPolicy", namespace=customer.namespace, seconds=90)
    assert await secret(api, HOME, f"t-{coming}-agents") == {}, "and its login is closed"
    await api.delete("AgentPolicy", "support", customer.namespace)

    async def removed() -> bool:
        return await api.get("AgentPolicy", "support", customer.namespace) is None

    await until(removed, seconds=90)
    found = await api.get("Service", f"t-{coming}-agents", HOME)
    assert found is not None
    assert found["spec"]["ports"][0]["port"] == 80
