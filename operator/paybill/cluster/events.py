"""Kubernetes Events: one per transition, posted without holding anything up.

An Event is news for people; the record is the audit log. So a failed post is counted in the log and forgotten, and
a burst beyond the buffer drops the oldest news rather than memory.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from paybill.api.base import Resource
from paybill.api.failures import Failure
from paybill.cluster.client import Cluster

logger = logging.getLogger(__name__)

BUFFER = 2000
NAMESPACE = "default"  # where the API server wants the Events of cluster-scoped objects
LONGEST = 1024


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
                await self._cluster.create(self._event(news))
            except Failure as failure:
                logger.warning("Event %s of %s not posted: %s", news.reason, news.about.metadata.name, failure)

    def _event(self, news: News) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = news.about
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about.metadata.name[:200]}.{secrets.token_hex(8)}", "namespace": NAMESPACE},
            "involvedObject": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "name": about.metadata.name,
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
