"""An agent's side of the gateway: MCP over HTTP with its token, by the SDK's own client.

The demo's agents speak through it, so that what they show holds for any other client. Answers are what the gateway
said and nothing is read into them.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from paybill.api.failures import Failure

SECONDS: Final = 30.0
"""How long one call may take."""


@dataclass(frozen=True)
class Answer:
    """What a call came to: ``refused`` is the code of the failure, "" where there is none."""

    content: Mapping[str, Any]

    @property
    def refused(self) -> str:
        """The word it was refused with."""
        return str((self.content.get("error") or {}).get("code", ""))


class Speaker:
    """A client that is connected."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, tool: str, **arguments: Any) -> Answer:
        """One call of a tool."""
        said = await self._client.call_tool(tool, arguments)
        return Answer(said.structured_content or {})

    async def tools(self) -> list[str]:
        """The names of the tools that the agent is shown."""
        return [one.name for one in (await self._client.list_tools()).tools]


@contextlib.asynccontextmanager
async def speaking_to(url: str, token: str) -> AsyncIterator[Speaker]:
    """Speak to the gateway at ``url`` with ``token`` until the block ends."""
    headers, failed = {"Authorization": f"Bearer {token}"}, None
    async with (
        httpx2.AsyncClient(headers=headers, timeout=SECONDS) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        try:
            yield Speaker(client)
        except Failure as failure:
            failed = failure  # out of here the client's tasks would make a group of it
    if failed is not None:
        raise failed


async def knock(url: str, token: str) -> int:
    """The HTTP status that a request with ``token`` is answered with, before anything of MCP is looked at."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    async with (
        aiohttp.ClientSession(headers=headers, timeout=timeout) as http,
        http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}) as answer,
    ):
        return answer.status
