"""Whose token it is: the API server says so, and only of tokens that were made for this gateway.

A ServiceAccount's token is bound to an audience. Without that check a token that any other service was handed would
open the gateway, and the gateway's callers could be replayed elsewhere. The one thing that is asked is a TokenReview:
a question that is put as a POST and changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import aiohttp

from paybill.api.failures import Retry
from paybill.cluster.session import Session
from paybill.gateway.metrics import REVIEWS

LONGEST: Final = 8192
"""Characters of a token."""
KNOWN: Final = 30.0
"""Seconds that an answer holds: as long may a token go on that was revoked."""
MOST_KNOWN: Final = 1000
"""Answers that are kept."""
AT_ONCE: Final = 8
"""Questions to the API server at the same time."""
_PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"


class Reviews:
    """Asks the API server, each token once in a while; holds hashes of tokens and never one."""

    def __init__(self, session: Session, audience: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._session, self._audience, self._clock = session, audience, clock
        self._known: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Future[str]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)

    async def user_of(self, token: str) -> str:
        """The user name that the token stands for; "" when it stands for nobody here.

        Raises ``Retry("TokenReviewUnavailable")``.
        """
        if not 0 < len(token) <= LONGEST or token.count(".") != 2 or not token.isascii():
            return ""
        key = hashlib.sha256(token.encode()).digest()
        found = self._known.get(key)
        if found is not None and found[0] > self._clock():
            return found[1]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.ensure_future(self._learn(key, token))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        # Shielded: who hangs up does not take the answer from the others that wait for it.
        return await asyncio.shield(asking)

    async def _learn(self, key: bytes, token: str) -> str:
        async with self._places:
            user = await self._asked(token)
        REVIEWS.labels("known" if user else "unknown").inc()
        self._known[key] = (self._clock() + KNOWN, user)
        self._known.move_to_end(key)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return user

    async def _asked(self, token: str) -> str:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        try:
            async with self._session.http.post(self._session.server + _PATH, json=body) as response:
                if response.status != 201:
                    REVIEWS.labels("failed").inc()
                    raise Retry("TokenReviewUnavailable", f"a TokenReview was answered with HTTP {response.status}")
                answer: dict[str, Any] = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            REVIEWS.labels("failed").inc()
            raise Retry("TokenReviewUnavailable", f"no TokenReview: {type(error).__name__}") from None
        status = answer.get("status") or {}
        # An API server that knows no audiences answers without them: its word is not worth anything here.
        if status.get("authenticated") is not True or self._audience not in (status.get("audiences") or ()):
            return ""
        return str((status.get("user") or {}).get("username") or "")
