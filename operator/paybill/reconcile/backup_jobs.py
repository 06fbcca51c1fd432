"""Long work beside the reconciles: backups and restores, a few per server, each told about by its object.

A dump takes minutes to hours, and a worker that waited for it would be missing to everybody else. So a reconcile begins
a job here, says on the object how far it is, and takes its end when there is one. A job lives in this process only:
after a crash its object says that it is not done, and it is begun again from the start, over what it left.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from paybill.api.failures import Failure, Retry
from paybill.databases.failures import FULL
from paybill.reconcile.queue import Queue, Work

Progress = Callable[[str, int], None]
"""Told what is being done, and how many bytes of it are."""


def worth_another(failure: Failure, attempts: int, most: float) -> bool:
    """Whether a job that failed is begun anew, after ``attempts`` of at most ``most``.

    Not where the server's disk was full: it would fill the disk of the server's tenants once more.
    """
    return isinstance(failure, Retry) and failure.reason != FULL and attempts < most


@dataclass(kw_only=True)
class Job:
    """One job: where it works, and how far it is."""

    place: tuple[str, str]
    tenant: str
    step: str = ""
    done: int = 0
    task: asyncio.Task[Any] | None = None

    def progress(self, step: str, done: int) -> None:
        """Take up how far it is."""
        self.step, self.done = step, done


@dataclass(kw_only=True)
class BackupJobs:
    """The jobs of this process by the object that they are for."""

    queue: Queue
    _jobs: dict[Work, Job] = field(default_factory=dict)
    _reserved: dict[Work, Job] = field(default_factory=dict)

    def running(self, work: Work) -> Job | None:
        """The job of an object while it runs."""
        job = self._jobs.get(work)
        return job if job is not None and job.task is not None and not job.task.done() else None

    def ended(self, work: Work) -> asyncio.Task[Any] | None:
        """The ended task of an object's job, once: its result is taken, or raised, by whoever asks."""
        job = self._jobs.get(work)
        if job is None or job.task is None or not job.task.done():
            return None
        del self._jobs[work]
        return job.task

    def room(self, place: tuple[str, str], tenant: str, limit: int) -> bool:
        """Whether another job may begin on this (cell, server), for this tenant.

        One tenant has one at a time, whatever the limit: they would open the same logins with other passwords.
        """
        busy = [job for work, job in self._jobs.items() if self.running(work)] + list(self._reserved.values())
        return all(job.tenant != tenant for job in busy) and sum(job.place == place for job in busy) < limit

    @contextlib.contextmanager
    def reserved(self, work: Work, place: tuple[str, str], tenant: str) -> Iterator[None]:
        """Keep the room that was found while the status is written that says so, until the job begins in here."""
        self._reserved[work] = Job(place=place, tenant=tenant)
        try:
            yield
        finally:
            del self._reserved[work]

    def begin(self, work: Work, place: tuple[str, str], tenant: str, run: Callable[[Progress], Awaitable[Any]]) -> None:
        """Begin a job; its object is looked at when it ends."""
        job = Job(place=place, tenant=tenant)
        job.task = asyncio.create_task(_awaited(run, job), name=f"job {work.kind}/{work.name}")
        job.task.add_done_callback(lambda _: self.queue.add(work, "its job ended"))
        self._jobs[work] = job

    async def stop(self, work: Work) -> None:
        """End a job whose object is going, and wait until it has cleaned up after itself."""
        job = self._jobs.pop(work, None)
        if job is not None and job.task is not None:
            job.task.cancel()
            await asyncio.gather(job.task, return_exceptions=True)

    async def close(self) -> None:
        """End all jobs: this process leads no longer."""
        for work in list(self._jobs):
            await self.stop(work)


async def _awaited(run: Callable[[Progress], Awaitable[Any]], job: Job) -> Any:
    return await run(job.progress)
