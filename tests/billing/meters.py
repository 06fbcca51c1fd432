"""Stripe's endpoint for meter events, as its reference has it: localstripe has none.

It keeps what was taken and refuses what Stripe refuses, in Stripe's words: an identifier that it knows (for a day), a
timestamp that is too old or ahead, a value that is no whole number, a meter or a customer that is not there
(docs.stripe.com/api/billing/meter-event/create; the words of a duplicate: langfuse/langfuse#16292).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

KNOWS = timedelta(hours=24)


@dataclass
class MeterServer:
    """``counted``: what stands on the bill, by customer, meter and timestamp."""

    now: Callable[[], datetime]
    meters: set[str] = field(default_factory=lambda: {"storage", "rows"})
    counted: dict[tuple[str, str, int], list[int]] = field(default_factory=dict)
    known: dict[str, datetime] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    answers: list[int | None] = field(default_factory=list)
    """Statuses of the next requests instead of an answer; None: it is taken, and the connection is cut."""
    together: dict[tuple[str, str], int] = field(default_factory=dict)
    most: int = 0
    """How many requests for one customer and meter were there at once: Stripe allows one."""
    url: str = ""
    _end: Callable[[], Awaitable[Any]] | None = None

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(self.routes())
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._end = runner.cleanup
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def stop(self) -> None:
        assert self._end is not None
        await self._end()

    def routes(self) -> list[web.RouteDef]:
        """The one endpoint."""
        return [web.post("/v1/billing/meter_events", self._take)]

    def bill(self) -> dict[tuple[str, str], int]:
        """What each customer's meter sums up to."""
        found: dict[tuple[str, str], int] = {}
        for (customer, meter, _), values in self.counted.items():
            found[customer, meter] = found.get((customer, meter), 0) + sum(values)
        return found

    async def _take(self, request: web.Request) -> web.StreamResponse:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.asked.append(form)
        key = form["payload[stripe_customer_id]"], form["event_name"]
        self.together[key] = self.together.get(key, 0) + 1
        self.most = max(self.most, self.together[key])
        try:
            await asyncio.sleep(0)
            return self._answer(request, form)
        finally:
            self.together[key] -= 1

    def _answer(self, request: web.Request, form: dict[str, str]) -> web.StreamResponse:
        answer = self.answers.pop(0) if self.answers else 200
        if answer not in (200, None):
            return web.json_response({"error": {"type": "api_error", "message": "no"}}, status=answer)
        if (refusal := self._refusal(form)) is not None:
            error = {"type": "invalid_request_error", "message": refusal}
            return web.json_response({"error": error}, status=400)
        key = form["payload[stripe_customer_id]"], form["event_name"], int(form["timestamp"])
        self.counted.setdefault(key, []).append(int(form["payload[value]"]))
        self.known[form["identifier"]] = self.now()
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"object": "billing.meter_event", "identifier": form["identifier"]})

    def _refusal(self, form: dict[str, str]) -> str | None:
        at, now = int(form["timestamp"]), self.now().timestamp()
        seen = self.known.get(form["identifier"])
        if seen is not None and self.now() - seen < KNOWS:
            return f"An event already exists with identifier {form['identifier']}."
        if not now - 35 * 86_400 <= at <= now + 300:
            return "The timestamp must be within the past 35 calendar days or up to 5 minutes in the future."
        if not form["payload[value]"].isdigit():
            return "The value must be a whole number."
        if form["event_name"] not in self.meters:
            return f"No active meter found for event name {form['event_name']}."
        if not form["payload[stripe_customer_id]"].startswith("cus_"):
            return "No such customer."
        return None
