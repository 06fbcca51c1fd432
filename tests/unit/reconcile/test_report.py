"""What is in the cache after a status was written: our own write is no news, an edit that came in between still is."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from paybill.api.plan import Plan, PlanStatus
from paybill.cluster.declared import Declared
from paybill.reconcile.report import write_status
from paybill.reconcile.world import World

HEAD: dict[str, Any] = {"name": "growth", "uid": "uid-1", "generation": 2, "annotations": {"a": "b"}}
SPEC: dict[str, Any] = {"isolation": {"model": "Pooled"}}


def stored(version: int, **changed: Any) -> dict[str, Any]:
    """The Plan as the API server returns it."""
    return {"metadata": {**HEAD, "resourceVersion": str(version), **changed}, "spec": SPEC}


class ApiServer:
    """Answers an apply with the object as it is there by then."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    async def apply_status(self, obj: dict[str, Any]) -> dict[str, Any]:
        return {**self.answer, "status": obj["status"]}


def written_over(answer: dict[str, Any]) -> Declared:
    """The cache after a status of what was seen as version 5 was written and answered like this."""
    declared = Declared()
    declared.put("Plan", stored(5))
    world = SimpleNamespace(declared=declared, cluster=ApiServer(answer))
    status = PlanStatus(observed_generation=2, revision="0123456789")
    assert asyncio.run(write_status(cast("World", world), Plan.read(stored(5)), status))
    return declared


def test_the_event_of_our_own_write_is_no_news() -> None:
    declared = written_over(stored(6))
    assert not declared.put("Plan", stored(6))


@pytest.mark.parametrize("edit", [{"generation": 3}, {"annotations": {}}, {"labels": {"a": "b"}}], ids=str)
def test_an_edit_that_came_in_between_is_news_when_its_event_comes(edit: dict[str, Any]) -> None:
    declared = written_over(stored(7, **edit))
    assert declared.put("Plan", stored(6, **edit))
