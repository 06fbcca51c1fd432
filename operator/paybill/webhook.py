"""The composition root of ``paybill webhook``: settings → signing secrets → inbox → two listeners.

One listener is for Stripe, the other for the scraper and the probes: what the world can reach shows no metrics.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from aiohttp import web

from paybill import probes
from paybill.api.failures import Invalid, Retry
from paybill.billing.receiver import PATH, REGISTRY, Accepts, application, runner
from paybill.control.database import ControlDatabase
from paybill.control.inbox import Mailbox
from paybill.settings import WebhookSettings

T = TypeVar("T")

logger = logging.getLogger(__name__)

AGAIN = 1.0
"""Seconds between attempts to open the control database at the start."""


async def run(
    settings: WebhookSettings, *, stop: asyncio.Event, listening: Callable[[int, int], None] = lambda *_: None
) -> None:
    """Receive until ``stop`` is set; ``listening`` is told the two ports.

    Raises Blocked when the database role may do more than add to the inbox.
    """
    accepts = Accepts(
        secrets=signing_secrets(settings.stripe_signing_file), live=settings.stripe_live,
        account=settings.stripe_account,
    )  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        database = await _patiently(stop, lambda: _open(settings))
        if database is None:
            return
        stack.push_async_callback(database.close)
        mailbox = Mailbox(database, settings.installation)
        await _patiently(stop, mailbox.refuse_other_rights)
        public = runner(application(accepts, mailbox.keep))
        private = web.AppRunner(_probes(database), access_log=None)
        ports = (
            await stack.enter_async_context(probes.listening(public, settings.webhook_host, settings.webhook_port)),
            await stack.enter_async_context(probes.listening(private, settings.metrics_host, settings.metrics_port)),
        )
        logger.info("events on port %d below %s, metrics and health on port %d", ports[0], PATH, ports[1])
        listening(*ports)
        await stop.wait()


def signing_secrets(file: Path | None) -> tuple[str, ...]:
    """The signing secrets in a file, one a line; raises Invalid when there is none."""
    found = tuple(file.read_text().split()) if file is not None else ()
    if not found or not all(one.startswith("whsec_") for one in found):
        raise Invalid(
            "NoSigningSecret",
            "set PAYBILL_STRIPE_SIGNING_FILE to a file with the endpoint's signing secret (whsec_…), or two of them, "
            "one a line, while one takes over from the other",
        )
    return found


async def _open(settings: WebhookSettings) -> ControlDatabase:
    return await ControlDatabase.open(settings.control_database(), application_name="paybill-webhook")


async def _patiently(stop: asyncio.Event, attempt: Callable[[], Awaitable[T]]) -> T | None:
    """What an attempt comes to, once nothing has to be waited for; None when we are told to stop before."""
    while not stop.is_set():
        try:
            return await attempt()
        except Retry as failure:
            logger.warning("%s; again in %g s", failure, AGAIN)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), AGAIN)
    return None


def _probes(database: ControlDatabase) -> web.Application:
    async def ready(_: web.Request) -> web.Response:
        away = database.away
        return web.Response(status=503 if away else 200, text="the control database is away\n" if away else "ok\n")

    return probes.application(REGISTRY, {"/readyz": ready})
