"""The webhook receiver: takes signed events, keeps each once, and answers 2xx only when it is kept.

It is the one part of Paybill that strangers can talk to, so it is a process of its own that can do nothing but add a
row to the inbox: no API server, no Stripe key, no tenant. What a hint leads to is the operator's business. A request
that is too large, too slow or not signed costs a few bytes and ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram

from paybill.api.failures import Failure
from paybill.billing.signature import Refused, verified
from paybill.lifecycle.hints import Hint, matters, stripe_hint

logger = logging.getLogger(__name__)

PATH = "/stripe"
LARGEST_BODY = 256 * 1024
"""Bytes. An event holds one object; the largest in Stripe's documentation has a tenth of that."""
BODY_SECONDS = 8.0
"""How long a body may take to come."""
IDLE_SECONDS = 10.0
"""How long a connection may be without a whole head of a request."""
LINGER_SECONDS = 1.0
"""How long what is left of a refused body is read and thrown away."""

REGISTRY = CollectorRegistry()
EVENTS = Counter(
    "paybill_webhook_events", "Requests to the webhook receiver, by what became of them.", ["outcome"],
    registry=REGISTRY,
)  # fmt: skip
KEEPING = Histogram(
    "paybill_webhook_keep_duration_seconds",
    "How long it took to keep an event.",
    registry=REGISTRY,
    buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1, 5, 10),
)

Keep = Callable[[Hint], Awaitable[bool]]
"""Keeps a hint; returns when it is committed: True, or False when it was there before."""


@dataclass(frozen=True, kw_only=True)
class Accepts:
    """Which events are ours. ``secrets``: signing secrets, any of which will do; ``account``: of Connect, or empty."""

    secrets: Sequence[str]
    live: bool
    account: str = ""


def application(accepts: Accepts, keep: Keep) -> web.Application:
    """The public side; serve it with ``runner``, which bounds how slow a peer may be."""

    async def receive(request: web.Request) -> web.Response:
        try:
            outcome = await _receive(request, accepts, keep)
        except Refused as refused:
            EVENTS.labels(refused.reason).inc()
            return _answer(refused.status, "refused")
        except Failure as failure:
            # Stripe sends it again for three days, with longer and longer pauses.
            logger.warning("an event is not kept: %s", failure)
            EVENTS.labels("unavailable").inc()
            return _answer(503, "not kept: send it again")
        EVENTS.labels(outcome).inc()
        return _answer(200, outcome)

    app = web.Application(client_max_size=LARGEST_BODY)
    app.add_routes([web.post(PATH, receive)])
    return app


def runner(app: web.Application) -> web.AppRunner:
    """What serves it."""
    return web.AppRunner(
        app, access_log=None, keepalive_timeout=IDLE_SECONDS, lingering_time=LINGER_SECONDS, auto_decompress=False
    )


async def _receive(request: web.Request, accepts: Accepts, keep: Keep) -> str:
    if request.content_type != "application/json" or request.headers.get("Content-Encoding"):
        raise Refused("content_type", 415)
    event = verified(await _body(request), request.headers.get("Stripe-Signature"), accepts.secrets)
    if event.get("livemode") is not accepts.live:
        raise Refused("mode")
    if (event.get("account") or "") != accepts.account:
        raise Refused("account")
    if not matters(str(event.get("type"))):
        return "ignored"
    try:
        hint = stripe_hint(event)
    except (ValueError, OverflowError, OSError):
        raise Refused("body") from None
    with KEEPING.time():
        return "kept" if await keep(hint) else "duplicate"


async def _body(request: web.Request) -> bytes:
    if (request.content_length or 0) > LARGEST_BODY:
        raise Refused("too_large", 413)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refused("too_large", 413) from None
    except TimeoutError:
        raise Refused("slow", 408) from None


def _answer(status: int, text: str) -> web.Response:
    response = web.Response(status=status, text=f"{text}\n")
    if status in {408, 413}:
        response.force_close()
    return response
