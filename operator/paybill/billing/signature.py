"""Whether a request comes from Stripe: the signature over its raw body, by Stripe's own SDK, and its age.

The SDK refuses what is too old. A time that is to come is refused here: whoever could make one would have a request
that never gets too old to be sent again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

TOLERANCE = 300
"""Seconds by which a signature's time may differ from ours: Stripe's own recommendation."""


class Refused(Exception):  # noqa: N818 - what happened to the request
    """The request is not answered with success; ``reason`` is a word for metrics, and nothing of the body is in it."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


def verified(body: bytes, header: str | None, secrets: Sequence[str]) -> dict[str, Any]:
    """The event in a body that one of the ``secrets`` has signed (two while one takes over from the other).

    Raises Refused: nobody learns from the answer which of the checks failed, but from the metric.
    """
    from stripe import SignatureVerificationError, WebhookSignature

    if header is None:
        raise Refused("unsigned")
    for secret in secrets:
        try:
            WebhookSignature.verify_header(body, header, secret)
        except (SignatureVerificationError, UnicodeDecodeError):
            continue
        break
    else:
        raise Refused("signature")
    if abs(time.time() - _signed_time(header)) > TOLERANCE:
        raise Refused("stale")
    try:
        event = json.loads(body)
    except ValueError:
        raise Refused("body") from None
    if not isinstance(event, dict):
        raise Refused("body")
    return event


def _signed_time(header: str) -> int:
    """The time in a header that the SDK has read before."""
    return int(next(part for part in header.split(",") if part.startswith("t=")).removeprefix("t="))
