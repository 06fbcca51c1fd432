"""What Stripe has and localstripe has not, in front of it: meter events, disputes and pauses of collecting.

Everything else is passed on.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp
from aiohttp import web

from tests.billing.meters import MeterServer
from tests.billing.pauses import PATH, Pauses, updated


class Front:
    """A thread of its own, so that it answers whatever loop a test has.

    ``disputes``: Stripe's objects, by id. ``down``: what is behind it fails.
    """

    def __init__(self, behind: str) -> None:
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.meters = MeterServer(lambda: self.now())
        self.disputes: dict[str, dict[str, Any]] = {}
        self.pauses = Pauses()
        self.down = False
        self.url = ""
        self._behind = behind
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stripe front", daemon=True)
        self._thread.start()
        self._runner: web.AppRunner | None = None
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)

    def stop(self) -> None:
        assert self._runner is not None
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.add_routes([
            *self.meters.routes(),
            web.get("/v1/disputes/{id}", self._dispute),
            web.post(PATH + "{id}", self._update),
            web.route("*", "/{path:.*}", self._pass),
        ])  # fmt: skip
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _dispute(self, request: web.Request) -> web.Response:
        found = self.disputes.get(request.match_info["id"])
        missing = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such dispute"}}
        return web.json_response(found or missing, status=200 if found else 404)

    async def _update(self, request: web.Request) -> web.Response:
        return await updated(self.pauses, request, partial(self._fetched, "GET"))

    async def _pass(self, request: web.Request) -> web.Response:
        return await self._fetched(request.method, request)

    async def _fetched(self, method: str, request: web.Request) -> web.Response:
        """What is behind it says, and what is said here."""
        if self.down:
            return web.json_response({"error": {"type": "api_error", "message": "no"}}, status=503)
        skipped = ("host", "content-length", "content-type" if method == "GET" else "")
        headers = {key: value for key, value in request.headers.items() if key.lower() not in skipped}
        body = await request.read() if method != "GET" else None
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, self._behind + request.path_qs, headers=headers, data=body or None) as answer,
        ):
            said = await answer.read()
            if answer.status == 200 and request.path.startswith("/v1/subscriptions"):
                said = json.dumps(self.pauses.merge(json.loads(said))).encode()
            kept = {key: answer.headers[key] for key in ("Content-Type", "Date") if key in answer.headers}
            return web.Response(status=answer.status, body=said, headers=kept)
