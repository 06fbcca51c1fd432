"""What an event from Kopf does: the cache is brought up to date and the right key becomes dirty, nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from paybill import handlers
from paybill.cluster.declared import Declared
from paybill.reconcile.brakes import Brakes
from paybill.reconcile.queue import Queue, Work

ACME = Work("Tenant", "acme")


@pytest.fixture
def world() -> Any:
    """The parts of the world that a handler touches; all are the real ones."""
    return SimpleNamespace(declared=Declared(), brakes=Brakes(store=None), queue=Queue())  # type: ignore[arg-type]


def tenant(version: int, generation: int = 1) -> dict[str, Any]:
    metadata = {"name": "acme", "uid": "u", "resourceVersion": str(version), "generation": generation}
    return {"kind": "Tenant", "metadata": metadata, "spec": {}}


def subscription(version: int = 1, name: str = "acme-growth") -> dict[str, Any]:
    metadata = {"name": name, "uid": "s", "resourceVersion": str(version), "generation": 3}
    return {
        "kind": "Subscription",
        "metadata": metadata,
        "spec": {"tenantRef": {"name": "acme"}, "planRef": {"name": "growth"}},
    }


async def taken(world: Any) -> tuple[Work, str]:
    assert len(world.queue)
    work, cause = await world.queue.take()
    world.queue.done(work)
    return work, cause


async def test_a_change_is_remembered_and_marks_its_object(world):
    handlers.take(world, "Tenant", "ADDED", tenant(1))
    assert world.declared.tenants["acme"].metadata.uid == "u"
    assert await taken(world) == (ACME, "Tenant/acme generation 1")


async def test_a_subscription_marks_its_tenant_because_both_are_one_decision(world):
    handlers.take(world, "Subscription", "MODIFIED", subscription())
    assert await taken(world) == (ACME, "Subscription/acme-growth generation 3")


async def test_an_event_that_is_no_news_marks_nothing(world):
    handlers.take(world, "Tenant", "ADDED", tenant(5))
    await taken(world)
    for version in (5, 4):
        handlers.take(world, "Tenant", "MODIFIED", tenant(version))
    assert not len(world.queue)


async def test_what_is_gone_is_forgotten_and_looked_at_once_more(world):
    handlers.take(world, "Subscription", "ADDED", subscription())
    await taken(world)
    handlers.take(world, "Subscription", "DELETED", subscription(2))
    assert world.declared.subscriptions == {}
    assert await taken(world) == (ACME, "Subscription/acme-growth is gone")


async def test_the_first_list_waits_behind_what_changes_now(world):
    handlers.take(world, "Tenant", None, tenant(1))
    handlers.take(world, "Subscription", "ADDED", subscription())
    handlers.take(world, "Plan", None, {"metadata": {"name": "p", "uid": "p", "resourceVersion": "1"}, "spec": {}})
    handlers.take(world, "Tenant", "MODIFIED", tenant(2) | {"metadata": tenant(2)["metadata"] | {"name": "beta"}})
    order = [(await taken(world))[0].name for _ in range(3)]
    assert order == ["acme", "beta", "p"]


async def test_the_first_list_says_that_it_is_the_start(world):
    handlers.take(world, "Tenant", None, tenant(1))
    assert await taken(world) == (ACME, "start; Tenant/acme generation 1")


def test_kopf_writes_nothing_onto_peoples_objects():
    chosen = handlers.settings()
    assert chosen.posting.enabled is False
    assert chosen.peering.standalone
    storage = chosen.persistence.diffbase_storage
    assert (
        storage.fetch(body={"metadata": {"annotations": {"kopf.zalando.org/last-handled-configuration": "{}"}}}) is None
    )
    patch: dict[str, Any] = {}
    storage.store(body={}, patch=patch, essence={})
    assert patch == {}
    assert storage.build(body={"metadata": {"generation": 3}, "spec": {"secret": "x"}}) == {"generation": 3}
