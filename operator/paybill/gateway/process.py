"""The composition root of ``paybill agents gateway``: mounted files → sessions → MCP on a port, metrics on another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
from aiohttp import web

from paybill import probes
from paybill.cluster.session import open_session
from paybill.gateway.guard import Guard, Who
from paybill.gateway.metrics import REGISTRY
from paybill.gateway.mounted import Agent
from paybill.gateway.server import speaking
from paybill.gateway.serving import Serving
from paybill.gateway.tokens import Reviews

logger = logging.getLogger(__name__)

CONNECTIONS: Final = 256
"""Connections and requests at the same time; more are answered with 503."""
IDLE: Final = 30
"""Seconds that a connection is kept without a request."""
LONGEST_HEAD: Final = 16 * 1024
"""Bytes of the head of a request; a token has less than 8 KiB."""
LEAVE: Final = 10
"""Seconds that calls have to end when the process is told to stop."""
REVIEW_SECONDS: Final = 5.0
"""How long a TokenReview may take."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the gateway is started. ``hosts``: the values of the Host header by which it is called."""

    folder: Path
    tenant: str
    audience: str
    hosts: tuple[str, ...]
    origins: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8080
    metrics_port: int = 9090
    kubeconfig: Path | None = None


class _Server(uvicorn.Server):
    """Signals are ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: the process is told to stop by whoever started it."""
        yield


async def run(
    settings: Settings, *, stop: asyncio.Event, listening: Callable[[int, int], None] = lambda *_: None
) -> None:
    """Serve until ``stop`` is set; ``listening`` is told the two ports. Raises Invalid."""
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session(settings.kubeconfig, request_seconds=REVIEW_SECONDS))
        serving = Serving(settings.folder, settings.tenant)
        stack.push_async_callback(serving.close)
        await serving.take_up()
        reviews = Reviews(session, settings.audience)

        async def who(token: str) -> Agent | None:
            return serving.mounted.agent_of(await reviews.user_of(token))

        await serve(settings, serving, who, stop=stop, listening=listening)


async def serve(
    settings: Settings, serving: Serving, who: Who, *, stop: asyncio.Event, listening: Callable[[int, int], None]
) -> None:
    """Serve what is taken up, to whom ``who`` knows."""

    async def ready(_: web.Request) -> web.Response:
        if await serving.reached():
            return web.Response(text="ok\n")
        return web.Response(status=503, text="the database does not answer any agent's login\n")

    async with contextlib.AsyncExitStack() as stack:
        mcp = speaking(serving)
        await stack.enter_async_context(mcp.run())
        guard = Guard(mcp.asgi_app, who, hosts=settings.hosts, origins=settings.origins)
        sock = stack.enter_context(socket.create_server((settings.host, settings.port), backlog=128))
        # Head and body of an answer are two writes: without this the second waits 40 ms for the client's ACK.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        private = web.AppRunner(probes.application(REGISTRY, {"/readyz": ready}), access_log=None)
        bound = await stack.enter_async_context(probes.listening(private, settings.host, settings.metrics_port))
        keeping = asyncio.create_task(serving.keep_up(), name="mounted-files")
        stack.callback(keeping.cancel)
        server = _Server(_configuration(guard))
        serves = asyncio.create_task(server.serve(sockets=[sock]), name="mcp")
        logger.info("MCP on port %d, metrics and health on port %d", sock.getsockname()[1], bound)
        listening(sock.getsockname()[1], bound)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((serves, stopping, keeping), return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        stopping.cancel()
        await serves
        if keeping.done() and not keeping.cancelled():
            keeping.result()


def _configuration(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, date_header=False, lifespan="off", http="h11",
        loop="none", ws="none", limit_concurrency=CONNECTIONS, timeout_keep_alive=IDLE, proxy_headers=False,
        h11_max_incomplete_event_size=LONGEST_HEAD, timeout_graceful_shutdown=LEAVE,
    )  # fmt: skip
