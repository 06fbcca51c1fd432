"""The one door to Stripe's API: its own SDK, with our back-off, our words for what fails, and no word of a key.

While Stripe is in trouble one request finds out for everybody (``paybill.breaker``), the others are told at once; a
Retry-After is kept to. The key is read from its file for each request, so that a rolled one is taken up by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from paybill.api.failures import Blocked, Failure, Retry
from paybill.billing.stripe_words import PAUSED, PAUSED_HOW
from paybill.breaker import Breaker, Pauses
from paybill.lifecycle.collection import Deed
from paybill.lifecycle.meters import MeterEvent

logger = logging.getLogger(__name__)

PAUSES = Pauses(first=1.0, longest=60.0)
REQUEST_SECONDS = 20.0
PAGE = 100
PUBLIC = "https://api.stripe.com"

LONGEST_WORDS = 200
JSON = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What became of an event: Stripe has it, refuses it, was not asked at all, or nobody knows; and why, in words."""

    outcome: Literal["Taken", "Refused", "NotSent", "Unknown"]
    words: str = ""


class StripeApi:
    """Stripe's API for one account; ``close`` it. ``key_file`` holds a secret or restricted key."""

    def __init__(self, key_file: Path, *, url: str = PUBLIC, account: str = "") -> None:
        self._key_file = key_file
        self._url = url
        self._account = account
        self._breaker = Breaker(PAUSES, random.random)
        self._why = ""
        self._client: Any = None
        self._key = ""

    @property
    def away(self) -> bool:
        """Whether the last that was heard of it is that it does not answer."""
        return self._breaker.open

    @property
    def resting(self) -> bool:
        """Whether it is left alone now, so that nothing would be asked."""
        return self._breaker.wait(time.monotonic()) > 0

    async def subscription(self, one: str) -> tuple[JSON, datetime] | None:
        """A subscription, with Stripe's time of the answer; None where there is none."""
        return await self._one(lambda v1: v1.subscriptions.retrieve_async(one))

    async def subscriptions_of(self, customer: str) -> tuple[list[JSON], datetime]:
        """All subscriptions of a customer, also those that are over."""
        params = {"customer": customer, "status": "all", "limit": PAGE}
        return await self._page(lambda v1: v1.subscriptions.list_async(params))

    async def all_subscriptions(self) -> AsyncIterator[tuple[list[JSON], datetime]]:
        """Every subscription of the account, in pages."""
        async for page in self._pages(lambda v1, after: v1.subscriptions.list_async({"status": "all", **after})):
            yield page

    async def invoices_of(self, subscription: str) -> list[JSON]:
        """The latest invoices of a subscription."""
        params = {"subscription": subscription, "limit": PAGE}
        return (await self._page(lambda v1: v1.invoices.list_async(params)))[0]

    async def customer(self, one: str) -> JSON | None:
        """A customer; one that was deleted says so in ``deleted``."""
        found = await self._one(lambda v1: v1.customers.retrieve_async(one))
        return found[0] if found is not None else None

    async def dispute(self, one: str) -> JSON | None:
        """A dispute, with its charge."""
        found = await self._one(lambda v1: v1.disputes.retrieve_async(one, {"expand": ["charge"]}))
        return found[0] if found is not None else None

    async def checkout_session(self, one: str) -> JSON | None:
        """A checkout session."""
        found = await self._one(lambda v1: v1.checkout.sessions.retrieve_async(one))
        return found[0] if found is not None else None

    async def events_since(self, since: datetime) -> AsyncIterator[tuple[list[JSON], datetime]]:
        """The events since a moment, the newest first, in pages."""
        created = {"created": {"gte": int(since.timestamp())}}
        async for page in self._pages(lambda v1, after: v1.events.list_async({**created, **after})):
            yield page

    async def tell_usage(self, event: MeterEvent) -> Told:
        """Tell Stripe of one hour of use; never raises for what Stripe does.

        What makes it safe to repeat is the event's own identifier, not an Idempotency-Key: with that, a refusal would
        be Stripe's answer for a day, also when what was wrong is mended.
        """
        params = {
            "event_name": event.meter, "identifier": event.id, "timestamp": int(event.hour.timestamp()),
            "payload": {"stripe_customer_id": event.customer, "value": str(event.value)},
        }  # fmt: skip
        return await self._tell(lambda v1: v1.billing.meter_events.create_async(params))

    async def change_collection(self, subscription: str, deed: Deed, *, mark: str, key: str) -> Told:
        """Pause or resume collecting for a subscription, or take our mark off; never raises for what Stripe does.

        Pause and mark are one request, so that there is none without the other. ``key``: its Idempotency-Key.
        """
        changes: dict[Deed, JSON] = {
            "Pause": {"pause_collection": {"behavior": PAUSED_HOW}, "metadata": {PAUSED: mark}},
            "Resume": {"pause_collection": "", "metadata": {PAUSED: ""}},
            "Unmark": {"metadata": {PAUSED: ""}},
        }
        options = {"idempotency_key": key}
        return await self._tell(lambda v1: v1.subscriptions.update_async(subscription, changes[deed], options))

    async def _tell(self, send: Callable[[Any], Awaitable[Any]]) -> Told:
        """Send something, and say what became of it."""
        import stripe

        asked = False

        async def ask(v1: Any) -> Told:
            nonlocal asked
            asked = True
            try:
                await send(v1)
            except stripe.InvalidRequestError as error:
                return _refusal(error)
            return Told(outcome="Taken")

        try:
            told: Told = await self._asked(ask)
        except Retry as failure:
            return Told(outcome="Unknown" if asked else "NotSent", words=failure.message)
        except Failure as failure:
            return Told(outcome="Refused", words=failure.message)
        return told

    async def close(self) -> None:
        """End its sessions."""
        if self._client is not None:
            await self._client[1].close_async()

    async def _one(self, ask: Callable[[Any], Awaitable[Any]]) -> tuple[JSON, datetime] | None:
        found = await self._asked(ask)
        return None if found is None else (found.to_dict(), _answered(found))

    async def _page(self, ask: Callable[[Any], Awaitable[Any]]) -> tuple[list[JSON], datetime]:
        found = await self._asked(ask)
        if found is None:
            return [], datetime.now(UTC)
        return [one.to_dict() for one in found.data], _answered(found)

    async def _pages(self, ask: Callable[..., Awaitable[Any]]) -> AsyncIterator[tuple[list[JSON], datetime]]:
        after: JSON = {"limit": PAGE}
        while True:
            found = await self._asked(partial(ask, after=after))
            if found is None:
                return
            yield [one.to_dict() for one in found.data], _answered(found)
            if not found.has_more or not found.data:
                return
            after = {"limit": PAGE, "starting_after": found.data[-1].id}

    async def _asked(self, ask: Callable[[Any], Awaitable[Any]]) -> Any:
        """The answer; None where there is no such thing. Raises Retry while it is away, Blocked when it refuses us."""
        import stripe

        ticket = self._breaker.enter(time.monotonic())
        if ticket is None:
            raise Retry("StripeUnreachable", self._why or "Stripe is being tried", after=5.0)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                found = await ask(self._v1())
        except stripe.InvalidRequestError as error:
            self._breaker.succeeded(ticket, time.monotonic())
            if error.http_status == 404:
                return None
            raise Blocked("StripeRefuses", f"Stripe refuses a request: {_said(error)}") from None
        except (stripe.AuthenticationError, stripe.PermissionError) as error:
            self._breaker.succeeded(ticket, time.monotonic())
            said = _said(error)
            message = f"Stripe refuses the key in {self._key_file}: {said}: give one that may read what docs list"
            raise Blocked("StripeRefusesKey", message) from None
        except (stripe.StripeError, TimeoutError, OSError) as error:
            raise self._failed(ticket, error) from None
        finally:
            self._breaker.left(ticket)
        if self._breaker.succeeded(ticket, time.monotonic()):
            logger.warning("Stripe answers again")
        return found

    def _failed(self, ticket: int, error: BaseException) -> Retry:
        headers = getattr(error, "headers", None) or {}
        asked = 0.0
        with contextlib.suppress(ValueError):
            asked = float(headers.get("Retry-After") or 0)
        self._why = f"Stripe does not answer as it should: {_said(error)}"
        if self._breaker.failed(ticket, time.monotonic(), at_least=asked):
            logger.warning("%s", self._why)
        return Retry("StripeUnreachable", self._why, after=max(1.0, asked))

    def _v1(self) -> Any:
        """The client, made anew when the key's file says another one."""
        import stripe

        key = self._key_file.read_text().strip()
        if not key:
            raise Blocked("StripeRefusesKey", f"there is no key in {self._key_file}")
        if self._client is None or key != self._key:
            http = stripe.AIOHTTPClient(timeout=None) if self._client is None else self._client[1]
            client = stripe.StripeClient(
                key, base_addresses={"api": self._url}, http_client=http, max_network_retries=0,
                stripe_account=self._account or None,
            )  # fmt: skip
            logging.getLogger("stripe").setLevel(logging.WARNING)
            self._client, self._key = (client, http), key
        return self._client[0].v1


def _answered(found: Any) -> datetime:
    """Stripe's own time of an answer: it orders answers, whatever our clock says."""
    date = found.last_response.headers.get("Date")
    return parsedate_to_datetime(date) if date else datetime.now(UTC).replace(microsecond=0)


def _refusal(error: Any) -> Told:
    """What a refusal says. An event that Stripe has is not refused: it was taken before, and its answer was lost."""
    words = str(error.user_message or _said(error))
    if "already exists with identifier" in words or error.code == "duplicate_meter_event":
        return Told(outcome="Taken", words="was there already")
    return Told(outcome="Refused", words="".join(filter(str.isprintable, words))[:LONGEST_WORDS])


def _said(error: BaseException) -> str:
    """What went wrong, without what was sent: a status and a code, no message that may quote a key."""
    status, code = getattr(error, "http_status", None), getattr(error, "code", None)
    return " ".join(str(one) for one in (type(error).__name__, status, code) if one)
