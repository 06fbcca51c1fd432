"""The operator's small HTTP side: /metrics for Prometheus, /healthz (the loop turns), /standbyz (it could take over)
and /readyz (it leads and can act: 503 while it leads and waits for what everything depends on). The chart asks
/standbyz for readiness: a standby is as it should be, and a rollout that waited for each new replica to lead would wait
for ever, while one that cannot reach its control database must not take the place of one that can.

Read-only, without authentication, with nothing secret in it; the chart's NetworkPolicy lets only the scraper in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable

from aiohttp import web

from paybill import probes
from paybill.reconcile.metrics import REGISTRY

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def served(
    host: str,
    port: int,
    leading: asyncio.Event,
    standing_by: asyncio.Event,
    troubles: Callable[[], Iterable[str]] = tuple,
) -> AsyncIterator[int]:
    """Serve until the block ends; gives the port that was bound. ``troubles``: what keeps a leader from acting now."""

    async def ready(_: web.Request) -> web.Response:
        # A standby is healthy, but it does not act: only the leader is ready.
        if not leading.is_set():
            return web.Response(status=503, text="standing by\n")
        said = "".join(f"{trouble}\n" for trouble in troubles())
        return web.Response(status=503 if said else 200, text=f"leading\n{said}")

    async def able(_: web.Request) -> web.Response:
        if standing_by.is_set():
            return web.Response(text="leading\n" if leading.is_set() else "standing by\n")
        return web.Response(status=503, text="opening the control database\n")

    app = probes.application(REGISTRY, {"/standbyz": able, "/readyz": ready})
    async with probes.listening(web.AppRunner(app, access_log=None), host, port) as bound:
        logger.info("metrics and health on http://%s:%d", host, bound)
        yield bound
