"""Metrics and health over HTTP: the side of a process that its scraper and the kubelet ask, on a port of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

Probe = Callable[[web.Request], Awaitable[web.Response]]


async def healthy(_: web.Request) -> web.Response:
    """Whoever answers is alive."""
    return web.Response(text="ok\n")


def application(registry: CollectorRegistry, more: Mapping[str, Probe]) -> web.Application:
    """/metrics of ``registry``, /healthz, and ``more`` by path."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get(path, probe) for path, probe in {"/metrics": metrics, "/healthz": healthy, **more}.items()])
    return app


@contextlib.asynccontextmanager
async def listening(runner: web.AppRunner, host: str, port: int) -> AsyncIterator[int]:
    """Serve until the block ends; gives the port that was bound."""
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound: int = runner.addresses[0][1]
        yield bound
    finally:
        await runner.cleanup()
