"""Kubernetes Events: one per transition, posted without holding anything up.

An Event is news for people; the record is the audit log. So one that is refused is logged and forgotten, and what
the buffer cannot hold drops the oldest news rather than memory. While the API server is away they wait, for some time.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from paybill.api.base import Resource
from paybill.api.failures import Failure, Retry
from paybill.cluster.client import Cluster

logger = logging.getLogger(__name__)

BUFFER = 2000
NAMESPACE = "default"  # where the API server wants the Events of cluster-scoped objects; others are beside them
LONGEST = 1024
AWAY = {"ApiServerBusy", "ApiServerUnreachable"}
AGAIN = 1.0
STALE = 600.0
"""Seconds after which news that could not be posted is none any more."""


@dataclass(frozen=True, kw_only=True)
class News:
    """One Event to post: about which object, Normal or Warning, its stable reason and its message."""

    about: Resource
    reason: str
    message: str
    warning: bool = False


class Events:
    """The poster. ``run`` posts until cancelled."""

    def __init__(self, cluster: Cluster, component: str) -> None:
        self._cluster = cluster
        self._component = component
        self._queue: asyncio.Queue[News] = asyncio.Queue(BUFFER)

    def post(self, news: News) -> None:
        """Queue an Event."""
        if self._queue.full():
            dropped = self._queue.get_nowait()
            logger.warning("too many Events at once: dropped %s of %s", dropped.reason, dropped.about.metadata.name)
        self._queue.put_nowait(news)

    async def run(self) -> None:
        """Post what is queued until cancelled."""
        while True:
            news = await self._queue.get()
            try:
                await self._posted(news)
            except Failure as failure:
                logger.warning("Event %s of %s not posted: %s", news.reason, news.about.metadata.name, failure)

    async def _posted(self, news: News) -> None:
        """Post one, as often as it takes while the API server is away."""
        event, given_up = self._event(news), time.monotonic() + STALE
        while True:
            try:
                await self._cluster.create(event)
            except Retry as failure:
                if failure.reason == "Conflict":
                    return  # its name is random: it was posted, and the answer was lost
                if failure.reason not in AWAY or time.monotonic() > given_up:
                    raise
                await asyncio.sleep(failure.after or AGAIN)
            else:
                return

    def _event(self, news: News) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = news.about
        namespace = about.metadata.namespace
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{about.metadata.name[:200]}.{secrets.token_hex(8)}",
                "namespace": namespace or NAMESPACE,
            },
            "involvedObject": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "name": about.metadata.name,
                **({"namespace": namespace} if namespace else {}),
                "uid": about.metadata.uid,
                "resourceVersion": about.metadata.resource_version,
            },
            "reason": news.reason,
            "message": news.message[:LONGEST],
            "type": "Warning" if news.warning else "Normal",
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
