"""The workers: take a key, reconcile it, decide when to look again. Every outcome ends in a log line or a metric.

A failure of ours (a bug) is logged with its trace and retried like an outage; only the loss of leadership ends the
process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

from paybill.api.failures import Blocked, Invalid, Retry
from paybill.cluster.lease import LeaseLost
from paybill.reconcile import (
    agent_policy,
    agent_run,
    agent_workflow,
    approval,
    backup,
    cell,
    deletion,
    isolation,
    mass_change,
    metrics,
    plan,
    pool_migrations,
    pooler,
    restore,
    tenant,
    watchdog,
)
from paybill.reconcile.log import about
from paybill.reconcile.migrations import POOL
from paybill.reconcile.queue import DUE, Queue, Work
from paybill.reconcile.servers import FENCED
from paybill.reconcile.status import MASS_CHANGE
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

BLOCKED_LOOK = 30.0
INVALID_LOOK = 600.0
"""Seconds until a blocked, or invalid, object is looked at without having changed."""


class LeadershipLost(Exception):  # noqa: N818 - what happened
    """A newer leader holds the epoch: this process must end."""


class Reconcile(Protocol):
    """What every kind of work is done by."""

    def __call__(self, world: World, name: str, cause: str, *, deep: bool) -> Awaitable[datetime | None]:
        """Reconcile one name; returns when to look again."""


async def _drop(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001
    return await deletion.carry_out(world, name, cause)


RECONCILES: dict[str, Reconcile] = {
    "Tenant": tenant.reconcile,
    "Plan": plan.reconcile,
    "Cell": cell.reconcile,
    "Drop": _drop,
    "Approval": approval.reconcile,
    "AgentPolicy": agent_policy.reconcile,
    "AgentRun": agent_run.reconcile,
    "AgentWorkflow": agent_workflow.reconcile,
    POOL: pool_migrations.reconcile,
    "TenantBackup": backup.reconcile,
    "TenantRestore": restore.reconcile,
    MASS_CHANGE: mass_change.reconcile,
    isolation.ISOLATION: isolation.reconcile,
    pooler.POOLER: pooler.reconcile,
    watchdog.WATCHDOG: watchdog.reconcile,
}


async def run(world: World, workers: int) -> None:
    """Work until cancelled; raises LeadershipLost or LeaseLost.

    Half of the workers take only what is urgent: a wave of a Plan's change, or a look at the whole fleet, then leaves
    room for a new tenant at any moment, and not just a place in the line.
    """
    async with asyncio.TaskGroup() as group:
        for number in range(workers):
            group.create_task(_work(world, urgent_only=number < workers // 2), name=f"worker-{number}")


async def _work(world: World, *, urgent_only: bool) -> None:
    # Asked, because Python 3.11's wait_for (in psycopg's pool) loses a cancellation that comes with the result.
    while not cancelled():
        work, cause = await world.queue.take(urgent_only=urgent_only)
        with about(work, cause):
            await _one(world, work, cause)


def cancelled() -> bool:
    """Whether the task that asks has been told to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _one(world: World, work: Work, cause: str) -> None:
    queue, started = world.queue, time.monotonic()
    outcome = "ok"
    try:
        wake = await RECONCILES[work.kind](world, work.name, cause, deep=DUE in cause.split("; "))
    except Retry as failure:
        outcome = "retry"
        mass_change.ended(world, work, failure)
        wait = queue.failed(work, failure.after)
        logger.info("waits %.1f s: %s", wait, failure)
    except (Blocked, Invalid) as failure:
        outcome = "stalled"
        if failure.reason in FENCED:
            raise LeadershipLost(str(failure)) from failure
        logger.warning("stalled: %s", failure)
        queue.done(work)
        queue.add_at(work, time.monotonic() + (BLOCKED_LOOK if isinstance(failure, Blocked) else INVALID_LOOK))
    except LeaseLost:
        raise
    except Exception:
        outcome = "error"
        wait = queue.failed(work)
        logger.exception("unexpected error; again in %.1f s", wait)
    else:
        mass_change.ended(world, work, None)
        _settle(queue, work, wake, world.now)
    metrics.RECONCILE.labels(work.kind, outcome).observe(time.monotonic() - started)


def _settle(queue: Queue, work: Work, wake: datetime | None, now: Callable[[], datetime]) -> None:
    queue.done(work)
    if wake is not None:
        queue.add_at(work, time.monotonic() + max(0.0, (wake - now()).total_seconds()))
    else:
        queue.forget(work)
