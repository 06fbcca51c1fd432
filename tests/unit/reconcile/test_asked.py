"""What is asked for once: the job of one that is gone is stopped, one that is paused is left alone."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from paybill.api.tenant_backup import TenantBackup
from paybill.cluster.shelf import Shelf
from paybill.reconcile.asked import asked
from paybill.reconcile.queue import Work


class Jobs:
    def __init__(self) -> None:
        self.stopped: list[Work] = []

    async def stop(self, work: Work) -> None:
        self.stopped.append(work)


@pytest.mark.parametrize(
    ("paused", "found"), [(None, True), ("false", True), ("true", False)], ids=["as it is", "not paused", "paused"]
)
def test_what_is_paused_has_no_work_and_keeps_its_job(paused: str | None, found: bool) -> None:
    shelf: Shelf[TenantBackup, None] = Shelf(TenantBackup, lambda _: None)
    annotations = {"paybill.dev/paused": paused} if paused else {}
    shelf.put(
        {
            "kind": "TenantBackup",
            "metadata": {"name": "one", "annotations": annotations},
            "spec": {"tenantRef": {"name": "acme"}},
        }
    )
    jobs = Jobs()
    world: Any = SimpleNamespace(jobs=jobs)
    assert (asyncio.run(asked(world, shelf, "one")) is not None) is found
    assert jobs.stopped == []


def test_the_job_of_one_that_is_gone_is_stopped() -> None:
    shelf: Shelf[TenantBackup, None] = Shelf(TenantBackup, lambda _: None)
    jobs = Jobs()
    world: Any = SimpleNamespace(jobs=jobs)
    assert asyncio.run(asked(world, shelf, "one")) is None
    assert jobs.stopped == [Work("TenantBackup", "one")]
