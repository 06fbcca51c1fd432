"""Stripe's pause of collecting, as its reference has it, and more items than one: localstripe has neither.

An update of a subscription takes ``pause_collection`` (empty: resumed) and merges ``metadata`` (an empty value takes a
key out). A request whose Idempotency-Key is known is answered as it was the first time, also when that was a failure,
and refused with other parameters (docs.stripe.com/api/idempotent_requests, .../billing/subscriptions/pause-payment).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PATH = "/v1/subscriptions/"


@dataclass
class Pauses:
    """``paused`` and ``marks``: what is said of subscriptions, by id. ``asked``: the updates that came in."""

    paused: dict[str, dict[str, str]] = field(default_factory=dict)
    marks: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    items: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What is billed beside the one item that localstripe knows, by subscription."""
    answers: list[int | None] = field(default_factory=list)
    """Statuses of the next updates instead of an answer; None: it is taken, and the connection is cut."""
    _known: dict[str, tuple[dict[str, str], int]] = field(default_factory=dict)

    def merge(self, found: Any) -> Any:
        """An object of Stripe's with what is said here of it, or of the subscriptions in it."""
        if isinstance(found, dict) and found.get("object") == "list":
            return found | {"data": [self.merge(one) for one in found["data"]]}
        if isinstance(found, dict) and found.get("object") == "subscription":
            one = found["id"]
            items = found["items"] | {"data": [*found["items"]["data"], *self.items.get(one, ())]}
            return found | {
                "items": items,
                "pause_collection": self.paused.get(one),
                "metadata": (found.get("metadata") or {}) | self.marks.get(one, {}),
            }
        return found

    def by_hand(self, one: str, behavior: str | None) -> None:
        """Somebody pauses a subscription in the dashboard, or resumes it."""
        self.paused.pop(one, None)
        if behavior is not None:
            self.paused[one] = {"behavior": behavior}

    def take(self, one: str, form: dict[str, str], key: str) -> tuple[int | None, dict[str, Any]]:
        """Carry an update out; the status (None: carried out, and cut) and what is wrong."""
        self.asked.append((one, form, key))
        assert key, "an update without an Idempotency-Key"
        before = self._known.get(key)
        if before is not None and before[0] != form:
            return 400, {"error": {"type": "idempotency_error", "message": "other parameters"}}
        if before is not None:
            return before[1], {"error": {"type": "api_error", "message": "as before"}}
        answer = self.answers.pop(0) if self.answers else 200
        self._known[key] = form, answer or 200
        if answer not in (200, None):
            kind = "invalid_request_error" if answer in (400, 403) else "api_error"
            return answer, {"error": {"type": kind, "message": "This key may not do that."}}
        if "pause_collection" in form:
            assert not form["pause_collection"]
            self.paused.pop(one, None)
        if "pause_collection[behavior]" in form:
            self.paused[one] = {"behavior": form["pause_collection[behavior]"]}
        marks = self.marks.setdefault(one, {})
        for name, value in form.items():
            if name.startswith("metadata["):
                marks[name[len("metadata[") : -1]] = value
        self.marks[one] = {name: value for name, value in marks.items() if value}
        return answer, {}


@dataclass
class SubscriptionServer:
    """Stripe with nothing but subscriptions that are there already."""

    pauses: Pauses = field(default_factory=Pauses)
    subscriptions: dict[str, dict[str, Any]] = field(default_factory=dict)
    url: str = ""
    _end: Callable[[], Awaitable[Any]] | None = None

    async def start(self) -> None:
        app = web.Application()
        app.add_routes([web.get(PATH + "{id}", self._get), web.post(PATH + "{id}", self._update)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._end = runner.cleanup
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def stop(self) -> None:
        assert self._end is not None
        await self._end()

    async def _get(self, request: web.Request) -> web.Response:
        found = self.subscriptions.get(request.match_info["id"])
        missing = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "none"}}
        return web.json_response(self.pauses.merge(found) if found else missing, status=200 if found else 404)

    async def _update(self, request: web.Request) -> web.Response:
        return await updated(self.pauses, request, self._get)


async def updated(
    pauses: Pauses, request: web.Request, get: Callable[[web.Request], Awaitable[web.Response]]
) -> web.Response:
    """Answer one update: with the subscription as it is then, a refusal, or not at all."""
    form = {key: str(value) for key, value in (await request.post()).items()}
    key = request.headers.get("Idempotency-Key", "")
    status, wrong = pauses.take(request.match_info["id"], form, key)
    if status is None:
        assert request.transport is not None
        request.transport.abort()
    if status not in (200, None):
        return web.json_response(wrong, status=status)
    return await get(request)
