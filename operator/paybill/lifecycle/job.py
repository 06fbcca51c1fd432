"""What a Job and its pods say of an operation that runs there. Pure: what was seen in, what to do about it out.

A pod that began is listened to until its log ends: nothing else says what came of it. One that never began, though it
had its time, changed nothing. What is gone is gone: nobody knows what it did.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

START = timedelta(minutes=10)
"""How long a pod may take to begin: a node may have to be made for it, and an image of gigabytes be fetched."""
NODE_PATIENCE = timedelta(minutes=2)
"""How much longer than its Job's deadline a pod is waited for that its node says nothing of any more."""


@dataclass(frozen=True, kw_only=True)
class PodSeen:
    """One pod of an operation."""

    name: str
    began: bool = False
    """Whether its container was ever started, or may have been."""
    ended: bool = False
    """Whether nothing of it runs any more."""
    why: str = ""
    """What it waits for, or what ended it, in Kubernetes' own words."""


@dataclass(frozen=True, kw_only=True)
class JobSeen:
    """The Job of an operation, and its pods."""

    there: bool = True
    suspended: bool = False
    """Whether it was made and never let go."""
    over: bool = False
    """Whether it makes no pod any more."""
    counted: bool = False
    """Whether a pod of it has ended, by its own count."""
    started: datetime | None = None
    """When it was let go."""
    lasts: timedelta = timedelta()
    """Its deadline."""
    stop: str | None = None
    """Why it was asked to stop, if we did so."""
    pods: tuple[PodSeen, ...] = ()


@dataclass(frozen=True)
class Wait:
    """Look again."""


@dataclass(frozen=True, kw_only=True)
class Listen:
    """Read the log of this pod to its end."""

    pod: PodSeen


@dataclass(frozen=True, kw_only=True)
class NotBegun:
    """It has not begun, and is not waited for any longer."""

    why: str


@dataclass(frozen=True, kw_only=True)
class Gone:
    """Nothing of it is left, or nothing of it will ever be heard again."""

    why: str


Seen = Wait | Listen | NotBegun | Gone


def judge(job: JobSeen, now: datetime) -> Seen:
    """What to do about an operation in a Job that was let go."""
    began = [pod for pod in job.pods if pod.began]
    if began and not _silent(job, now):
        return Listen(pod=began[0])
    if began:
        return Gone(why=f"the node of its pod {began[0].name} says nothing, and its deadline is long over")
    if not job.there and not job.pods:
        return Gone(why="its Job was deleted")
    if job.pods and all(pod.ended for pod in job.pods):
        return NotBegun(why=f"its pod was not begun: {job.pods[0].why or 'it was refused'}")
    if not job.pods and (job.over or job.counted):
        return Gone(why="its pod was deleted")
    if job.started is not None and now >= job.started + START:
        waits = job.pods[0].why if job.pods else "no pod was made: see the Job's events for a quota or a policy"
        return NotBegun(why=f"its pod did not begin within {START.seconds // 60} minutes: {waits or 'no reason given'}")
    return Wait()


def _silent(job: JobSeen, now: datetime) -> bool:
    running = not any(pod.ended for pod in job.pods)
    return running and job.started is not None and now >= job.started + job.lasts + NODE_PATIENCE
