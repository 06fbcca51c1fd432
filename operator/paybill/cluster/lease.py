"""Leadership by a Lease: who holds it acts; who loses it exits.

Kopf's peering is not leader election (two peers of one priority pause both). The identity is random per process, so
a process that was frozen and replaced can never take itself for the new holder. The Lease only chooses; what fences
a leader that does not know it was replaced is the epoch of the control database (control/epoch.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import secrets
import socket
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from paybill.api.failures import Failure, Retry
from paybill.cluster.client import Cluster
from paybill.desired.resource import Key

logger = logging.getLogger(__name__)


class LeaseLost(Exception):  # noqa: N818 - what happened, not an error of ours
    """Another process holds the Lease, or we could not renew it in time."""


@dataclass(frozen=True, kw_only=True)
class LeaseSettings:
    """Which Lease, and its times in seconds: how long it holds, and how often it is renewed."""

    namespace: str
    name: str
    duration: float = 10.0
    renew_every: float = 2.5


@dataclass
class Lease:
    """One process's view of the Lease."""

    cluster: Cluster
    settings: LeaseSettings
    identity: str = field(default_factory=lambda: f"{socket.gethostname()}_{secrets.token_hex(8)}")
    _seen: tuple[str, float] = ("", 0.0)
    _renewed: float | None = None
    _lost: bool = False
    _ours: dict[str, Any] | None = None
    """The Lease as our last write left it: a renewal is then one request, refused if anybody wrote since."""

    @property
    def key(self) -> Key:
        """The Lease object."""
        return Key("Lease", self.settings.namespace, self.settings.name)

    def assert_held(self) -> None:
        """Raise LeaseLost when the Lease was not renewed for its duration, by a clock that ran while we were frozen.

        Others wait for that long from the moment they saw our last renewal, so nobody else leads before we know.
        """
        since = None if self._renewed is None else time.monotonic() - self._renewed
        if self._lost or since is None or since > self.settings.duration:
            silent = "was never held" if since is None else f"was last renewed {since:.1f} s ago"
            raise LeaseLost(f"{self.key} {silent}: another process may lead by now")

    async def acquire(self) -> None:
        """Wait until the Lease is ours. A holder that stopped renewing is replaced after the Lease's duration."""
        while True:
            # Another process took it in the same moment, or the API server does not answer: look again.
            with contextlib.suppress(Retry):
                if await self._try():
                    logger.info("lease %s acquired as %s", self.key, self.identity)
                    return
            await asyncio.sleep(min(1.0, self.settings.renew_every))

    async def hold(self) -> None:
        """Renew until cancelled; raises LeaseLost when another holds it or renewing failed for the whole duration."""
        while True:
            await asyncio.sleep(self.settings.renew_every)
            try:
                async with asyncio.timeout(self.settings.duration / 2):
                    if not await self._renew():
                        self._lost = True
                        raise LeaseLost(f"{self.key} is held by another process")
            except (Failure, TimeoutError) as failure:
                left = self.settings.duration - (time.monotonic() - (self._renewed or 0.0))
                logger.warning("lease %s not renewed, %.1f s left: %s", self.key, left, failure)
                if left <= self.settings.renew_every:
                    self._lost = True
                    raise LeaseLost(f"{self.key} could not be renewed: {failure}") from failure

    async def release(self) -> None:
        """Give the Lease up, if it is still ours, so that the next leader need not wait. It also ends by itself."""
        if self._ours is None or self._lost:
            return
        with contextlib.suppress(Failure, TimeoutError):
            async with asyncio.timeout(self.settings.renew_every):
                await self.cluster.replace(self._object(self._ours, holder=""))

    async def _renew(self) -> bool:
        if self._ours is not None:
            try:
                await self._write(self._ours)
                return True
            except Retry as failure:
                if failure.reason not in {"Conflict", "NotFound"}:
                    raise
        return await self._try()

    async def _try(self) -> bool:
        current = await self.cluster.get(self.key)
        if current is not None:
            holder = current["spec"].get("holderIdentity") or ""
            if holder not in ("", self.identity) and not self._expired(current):
                return False
        await self._write(current)
        return True

    async def _write(self, current: dict[str, Any] | None) -> None:
        """Make the Lease ours, or renew it, on the condition that it is still what we saw (or still missing)."""
        # Counted from before the request: whoever sees it can only have seen it later.
        asked = time.monotonic()
        wanted = self._object(current, holder=self.identity)
        self._ours = None
        self._ours = await (self.cluster.replace(wanted) if current is not None else self.cluster.create(wanted))
        self._renewed = asked

    def _expired(self, current: dict[str, Any]) -> bool:
        """By our own monotonic clock since we first saw this version: clocks of two machines do not agree."""
        version = current["metadata"]["resourceVersion"]
        if self._seen[0] != version:
            self._seen = (version, time.monotonic())
        return time.monotonic() - self._seen[1] > float(current["spec"].get("leaseDurationSeconds") or 0)

    def _object(self, current: dict[str, Any] | None, *, holder: str) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = current["spec"] if current is not None else {}
        taken_over = before.get("holderIdentity") != holder
        metadata: dict[str, Any] = {"namespace": self.settings.namespace, "name": self.settings.name}
        if current is not None:
            metadata["resourceVersion"] = current["metadata"]["resourceVersion"]
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": math.ceil(self.settings.duration),
                "renewTime": now,
                "acquireTime": now if taken_over else before.get("acquireTime", now),
                "leaseTransitions": int(before.get("leaseTransitions") or 0) + (1 if taken_over and holder else 0),
            },
        }
