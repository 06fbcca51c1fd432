"""What a request has to get past before MCP is spoken: where it came from, how large and slow it is, and whose it is.

It is ASGI around the SDK's application, in the order of cost, so that a stranger's request is over before anybody is
asked about its token. A browser that was lured here is told apart by Host and Origin (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from paybill.api.failures import Failure
from paybill.gateway.metrics import TURNED_AWAY
from paybill.gateway.mounted import Agent

logger = logging.getLogger(__name__)

PATH: Final = "/mcp"
AGENT: Final = "paybill.agent"
"""Where in the scope the agent stands that a request is of."""
BODY_SECONDS: Final = 10.0
"""How long a body may take to come."""
LARGEST_BODY: Final = 1024 * 1024
"""Bytes of one request."""
AT_ONCE: Final = 64
"""Requests at the same time; more are turned away."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
Who = Callable[[str], Awaitable[Agent | None]]
"""The agent whose token it is; None when it is nobody's here. Raises Failure when nobody can say."""


@dataclass
class _Away(Exception):  # noqa: N818 - an answer, and no error of ours
    """Turned away with an HTTP status."""

    status: int
    reason: str


class Guard:
    """The application with everything in front of it. ``hosts`` are values of Host, ``origins`` of Origin."""

    def __init__(self, app: Application, who: Who, *, hosts: Collection[str], origins: Collection[str] = ()) -> None:
        self._app, self._who = app, who
        self._hosts, self._origins = frozenset(map(str.lower, hosts)), frozenset(map(str.lower, origins))
        self._open = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        self._open += 1
        try:
            body = await self._let_in(scope, receive)
        except _Away as away:
            TURNED_AWAY.labels(away.reason).inc()
            await _answer(send, away)
        else:
            await self._app(scope, _replayed(body, receive), send)
        finally:
            self._open -= 1

    async def _let_in(self, scope: Message, receive: Receive) -> bytes:
        if self._open > AT_ONCE:
            raise _Away(503, "busy")
        headers = _headers(scope)
        if headers.get("host", "").lower() not in self._hosts:
            raise _Away(421, "host")
        if "origin" in headers and headers["origin"].lower() not in self._origins:
            raise _Away(403, "origin")
        if scope["path"] != PATH:
            raise _Away(404, "path")
        if scope["method"] != "POST":
            raise _Away(405, "method")
        if "content-encoding" in headers:
            raise _Away(415, "encoding")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _Away(401, "token")
        scope[AGENT] = await self._agent(token.strip())
        return await _body(headers, receive)

    async def _agent(self, token: str) -> Agent:
        try:
            agent = await self._who(token)
        except Failure as failure:
            logger.warning("%s", failure)
            raise _Away(503, "unavailable") from None
        if agent is None:
            raise _Away(401, "token")
        return agent


def _headers(scope: Message) -> dict[str, str]:
    """The headers by their lower-case names; one that comes twice stands for nothing that anybody can rely on."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in found and key in ("host", "origin", "authorization", "content-length"):
            raise _Away(400, "headers")
        found[key] = value.decode("latin-1")
    return found


async def _body(headers: dict[str, str], receive: Receive) -> bytes:
    """The whole body, before anything is done with it."""
    declared = headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared[:12]) > LARGEST_BODY:
        raise _Away(413, "too_large")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise _Away(400, "gone")
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    raise _Away(413, "too_large")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise _Away(408, "slow") from None


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _answer(send: Send, away: _Away) -> None:
    body = json.dumps({"error": {"code": away.reason}}).encode()
    headers = [
        (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]  # fmt: skip
    if away.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if away.status == 405:
        headers.append((b"allow", b"POST"))
    if away.status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": away.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
