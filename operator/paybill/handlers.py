"""The only module with Kopf decorators: an event updates the cache of what is declared and marks its key dirty.

No handler does anything else, so nothing is lost when Kopf's own retries, annotations or finalizers are not used:
reconciles are level-based and look at everything themselves.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import kopf

from paybill.api.base import keyed
from paybill.api.kinds import KINDS
from paybill.reconcile import mass_change
from paybill.reconcile.queue import Work
from paybill.reconcile.status import MASS_CHANGE
from paybill.reconcile.world import World

LONGEST_BACKOFF = 5.0
"""Seconds between the attempts of one of the watches to begin again."""


def register(world: World) -> kopf.OperatorRegistry:
    """A registry of its own, with the login and one event handler per kind."""
    registry = kopf.OperatorRegistry()
    session = world.cluster.session

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=session.server, aiohttp_session=session.for_kopf)

    for model in KINDS:
        kopf.on.event(model.group, model.version, model.plural, registry=registry, id=model.kind)(
            _handler(world, model.kind)
        )
    return registry


def _handler(world: World, kind: str) -> Any:
    async def changed(event: Any, **_: Any) -> None:
        take(world, kind, event["type"], event["object"])

    return changed


def take(world: World, kind: str, event: str | None, obj: dict[str, Any]) -> None:
    """One event of one object: remember it and mark what depends on it."""
    metadata = obj["metadata"]
    name = keyed(metadata.get("namespace", ""), metadata["name"])
    work = Work("Tenant", obj["spec"]["tenantRef"]["name"]) if kind == "Subscription" else Work(kind, name)
    if event == "DELETED":
        world.declared.remove(kind, name, metadata["uid"])
        if kind == "Plan":
            mass_change.plan_gone(world, name)
        world.queue.add(work, f"{kind}/{name} is gone")
        return
    # An event without a type is part of the first list: everything is looked at once, behind what changes now.
    if world.declared.put(kind, obj):
        _brake(world, kind, metadata)
        generation = metadata.get("generation", 0)
        cause = f"{kind}/{name} generation {generation}" if event else f"start; {kind}/{name} generation {generation}"
        world.queue.add(work, cause, background=event is None)


def _brake(world: World, kind: str, metadata: dict[str, Any]) -> None:
    """What the breakers of the cells have to know before anybody acts on the event."""
    if kind == "Plan":
        mass_change.plan_back(world, metadata["name"])
    if kind in {"Tenant", "Subscription"} and (requested := metadata.get("deletionTimestamp")):
        mass_change.deletion_seen(world, kind, metadata["uid"], datetime.fromisoformat(requested))
    if kind == "Cell" and world.brakes.trip_of(metadata["name"]) is not None:
        world.queue.add(Work(MASS_CHANGE, metadata["name"]), f"Cell/{metadata['name']} changed")


def settings() -> kopf.OperatorSettings:
    """Kopf's settings: no annotations, no Events, no peering, bounded workers (docs/concepts/architecture.md)."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.queueing.worker_limit = 128
    # A worker of Kopf's that waits keeps a place of the limit: at the start, of ten thousand objects, for a minute.
    chosen.queueing.idle_timeout = 0.02
    chosen.watching.server_timeout = 600
    chosen.watching.chunk_size = 500
    chosen.networking.request_timeout = 15
    chosen.networking.error_backoffs = _Backoffs()
    chosen.persistence.diffbase_storage = _NothingToCompare()
    return chosen


class _Backoffs:
    """The waits of a watch that meets errors: without an end, for after the last one Kopf ends, and with it we."""

    def __iter__(self) -> Iterator[float]:
        for wait in itertools.chain((0.2, 1.0, 2.0), itertools.repeat(LONGEST_BACKOFF)):
            yield wait * random.uniform(0.75, 1.25)  # noqa: S311 - spreading load


class _NothingToCompare(kopf.DiffBaseStorage):
    """Kopf would keep a copy of every spec in an annotation; nothing here needs it."""

    def build(self, *, body: Any, **_: Any) -> Any:
        return {"generation": body.get("metadata", {}).get("generation")}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Nothing is stored."""
