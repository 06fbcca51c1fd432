"""An agent of Pydantic AI works through the gateway, with a function for its model."""

import asyncio
import json

import pytest
from fastmcp.client import Client
from fastmcp.client.transports import StreamableHttpTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel

from paybill.agents.runs import FREE
from tests.agents import shop
from tests.agents.conftest import may, new_shop, scene_of
from tests.agents.gateway import LIMITS, TOKEN, mount, serving
from tests.databases.servers import start

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def scene():
    """An agent of the shop."""
    with new_shop(start("Superuser", 18)) as database:
        yield asyncio.run(scene_of(start("Superuser", 18), database, limits=LIMITS))


async def test_its_agent_reads_a_row_and_is_told_what_it_may_not(scene, tmp_path):
    await mount(tmp_path, scene, shop.policy(limits=LIMITS))
    run = str(await scene.run(may("get", step=FREE)))
    seen = []

    def model(messages, info):
        """First a call that is refused, then one that is not, then the answer."""
        seen[:] = [tool.name for tool in info.function_tools]
        if len(messages) < 5:
            key = {"id": "2"} if len(messages) == 1 else {"id": 2}
            return ModelResponse(parts=[ToolCallPart("orders_get", {"run": run, "key": key})])
        return ModelResponse(parts=[TextPart(json.dumps([messages[2].parts[0].content, messages[4].parts[0].content]))])

    async with serving(tmp_path) as gateway:
        headers = {"Authorization": f"Bearer {TOKEN}", "Host": "gateway.test"}
        there = Client(StreamableHttpTransport(gateway.url, headers=headers))
        async with Agent(FunctionModel(model), toolsets=[MCPToolset(there)]) as agent:
            refused, row = json.loads((await agent.run("read order 2")).output)
    assert "InvalidArguments" in refused
    assert row["row"]["notes"] == {"untrusted": "note 2"}
    assert "orders_get" in seen
    assert "customers_get" not in seen
