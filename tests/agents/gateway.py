"""A gateway over a shop: in this process on a port of its own, spoken to by the SDK's own client over HTTP."""

import asyncio
import contextlib
import json
from pathlib import Path

import httpx2
import yaml
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from paybill.agents import names
from paybill.gateway import process
from paybill.gateway.process import Settings
from paybill.gateway.serving import Serving
from tests.agents import shop
from tests.agents.conftest import PASSWORD, administrator, new_facts
from tests.cluster.waiting import until

TOKEN = "the.agents.token"
AUDIENCE = "https://paybill.dev/agents/shop0001"
LIMITS = {**shop.POLICY["limits"], "statementTimeout": "20s", "rowsReadPerDay": 1_000_000, "rowsWrittenPerDay": 100_000}


async def mount(folder: Path, scene, policy, agent="support") -> None:
    """Write the files of an agent as the operator mounts them."""
    async with administrator(scene.at, scene.database) as admin:
        facts = await new_facts(admin, scene.database)
    wire = {
        "apiVersion": "agents.paybill.dev/v1alpha1", "kind": "AgentPolicy",
        "metadata": {"name": policy.agent, "namespace": "shop"}, "spec": policy.wire(),
    }  # fmt: skip
    (folder / f"{policy.agent}.policy.yaml").write_text(yaml.safe_dump(wire))
    (folder / f"{policy.agent}.schema.json").write_text(json.dumps(facts.schema_.model_dump(mode="json")))
    role = names.login(shop.TENANT, agent)
    uri = f"postgresql://{role}:{PASSWORD}@127.0.0.1:{scene.at.port}/{scene.database}"
    (folder / f"{policy.agent}.uri").write_text(uri)


@contextlib.asynccontextmanager
async def serving(folder: Path, *, tokens=None, hosts=None):
    """The URL of a gateway in this process; ``tokens`` are whose they are, ``hosts`` by what it may be called."""
    whose = {TOKEN: "support"} if tokens is None else tokens
    served = Serving(folder, shop.TENANT)
    await served.take_up()
    stop, ports = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def who(token):
        return served.mounted.agents.get(whose.get(token, ""))

    settings = Settings(
        folder=folder, tenant=shop.TENANT, audience=AUDIENCE, port=0, metrics_port=0, hosts=hosts or ("gateway.test",)
    )
    running = asyncio.create_task(
        process.serve(settings, served, who, stop=stop, listening=lambda *both: ports.set_result(both))
    )
    try:
        await asyncio.wait((running, ports), return_when=asyncio.FIRST_COMPLETED)
        port, metrics = await ports if ports.done() else await running
        yield Gateway(f"http://127.0.0.1:{port}/mcp", f"http://127.0.0.1:{metrics}", served)
    finally:
        stop.set()
        await running
        await served.close()


class Gateway:
    def __init__(self, url, probes, served=None):
        self.url, self.probes, self.served = url, probes, served

    @contextlib.asynccontextmanager
    async def client(self, token=TOKEN, **headers):
        """The SDK's client."""
        more = {"Authorization": f"Bearer {token}", "Host": "gateway.test", **headers}
        async with (
            httpx2.AsyncClient(headers=more, timeout=60) as http,
            Client(streamable_http_client(self.url, http_client=http)) as client,
        ):
            yield client

    async def post(self, body=b"{}", **headers):
        """A request as it is."""
        more = {
            "Host": "gateway.test",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        more = {**more, "Authorization": f"Bearer {TOKEN}", **headers}
        async with httpx2.AsyncClient(timeout=60) as http:
            return await http.post(self.url, content=body, headers={k: v for k, v in more.items() if v is not None})


async def say(client, tool, **arguments):
    """What a call came to: the content, or the code of the failure. Who is told to come again, does."""

    async def asked():
        answer = await client.call_tool(tool, arguments)
        assert json.loads(answer.content[0].text) == answer.structured_content
        if not answer.is_error:
            return answer.structured_content
        code = answer.structured_content["error"]["code"]
        return None if code in ("Busy", "Unavailable") else code

    return await until(asked, seconds=120)
