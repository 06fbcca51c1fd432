"""How many backups and restores run beside each other: so many per server, and one per tenant whatever there is."""

from __future__ import annotations

import asyncio

import pytest

from paybill.reconcile.backup_jobs import BackupJobs
from paybill.reconcile.queue import Queue, Work

HERE, THERE = ("cell", "server-1"), ("cell", "server-2")
FIRST = Work("TenantBackup", "first")


@pytest.fixture
def jobs() -> BackupJobs:
    return BackupJobs(queue=Queue())


def test_a_place_is_taken_from_the_moment_it_was_found(jobs):
    assert jobs.room(HERE, "other", 1)
    with jobs.reserved(FIRST, HERE, "acme"):
        assert not jobs.room(HERE, "other", 1), "its status is being written, and it begins then"
        assert jobs.room(HERE, "other", 2)
        assert jobs.room(THERE, "other", 1)
    assert jobs.room(HERE, "other", 1), "it did not begin"


async def test_one_tenant_has_one_at_a_time_wherever_there_is_room(jobs):
    ends = asyncio.Event()

    async def run(_progress):
        await ends.wait()

    with jobs.reserved(FIRST, HERE, "acme"):
        assert not jobs.room(THERE, "acme", 9)
        jobs.begin(FIRST, HERE, "acme", run)
    assert not jobs.room(HERE, "acme", 9)
    assert jobs.room(HERE, "other", 2)
    ends.set()
    await jobs._jobs[FIRST].task
    assert jobs.room(HERE, "acme", 1)
