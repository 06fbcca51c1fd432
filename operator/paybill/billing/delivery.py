"""The door through which messages leave: CloudEvents over HTTP, signed by Standard Webhooks.

The event goes as a whole in the body (structured mode), so that the signature covers its id and type as well. Whoever
receives it needs the library of either standard and nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from paybill.api.failures import Invalid
from paybill.lifecycle.announcement import SCHEMA, Message

SECONDS = 10.0
"""How long an endpoint may take to answer."""
GONE = 410
"""By which an endpoint says that it wants no message any more."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one attempt: whether it was taken, whether it may be tried again, and in words."""

    taken: bool
    again: bool
    words: str


class Endpoint:
    """One receiver of messages; ``close`` it. ``secret_file`` holds the signing secret (whsec_ and base64)."""

    def __init__(
        self, url: str, secret_file: Path, source: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._url = url
        self._secret_file = secret_file
        self._source = source
        self._now = now
        self._http: aiohttp.ClientSession | None = None

    async def send(self, message: Message, seq: int) -> Answer:
        """Send a message once; never raises for what the other side does."""
        headers, body = self._signed(message, seq)
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS))
        try:
            async with self._http.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            return Answer(taken=False, again=True, words=type(error).__name__)
        return Answer(taken=200 <= status < 300, again=status != GONE, words=f"HTTP {status}")

    async def close(self) -> None:
        """End its sessions."""
        if self._http is not None:
            await self._http.close()

    def _signed(self, message: Message, seq: int) -> tuple[dict[str, str], bytes]:
        """The request of one attempt: the id stays, the time of the signature is that of the attempt."""
        attributes: dict[str, Any] = {
            "id": message.id,
            "source": self._source,
            "type": message.type,
            "specversion": "1.0",
            "subject": message.subject,
            "time": message.time,
            "datacontenttype": "application/json",
            "dataschema": SCHEMA,
            "sequence": f"{seq:020d}",
        }
        event = to_structured_event(CloudEvent(attributes, message.data))
        now, body = self._now(), event.body
        signature = self._signer().sign(message.id, now, body.decode())
        signing = {
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
        }
        return {**event.headers, **signing}, body

    def _signer(self) -> Webhook:
        try:
            return Webhook(self._secret_file.read_text().strip())
        except (OSError, ValueError, EmptyWebhookSecretError):
            # What was found there is not quoted, by nobody.
            raise Invalid(
                "BadEventsSecret", f"{self._secret_file} holds no signing secret: write whsec_ and base64 into it"
            ) from None
