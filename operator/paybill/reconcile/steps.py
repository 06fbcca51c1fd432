"""The only caller of an act: ask whether it may be, audit the intent, act, audit the outcome.

A reconcile probes first (by comparing what it wants with what was observed) and hands over only the steps that are
missing. Steps given together are begun together: their intents are one write to the log, they run side by side, their
outcomes are one write. A crash between the two leaves an intent without outcome, which ``paybill audit verify`` lists;
the next reconcile probes again and takes the step once more.

Whether a step may be taken at all is asked here, for every step and nowhere else (reconcile/permission.py). One that
spends a budget of its cell's hour is counted and its intent logged as one, so that two workers cannot spend the same
room. And a process that was frozen between its intent and its act finds out, before it acts, that its Lease has run out
meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from paybill.api.failures import Failure
from paybill.audit.entries import Intent, Outcome, StepToken
from paybill.lifecycle.budget import Budget
from paybill.reconcile import budget, metrics, permission
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One act: what it is called, on which object, with which inputs, and how it is done.

    ``inputs`` are hashed into the audit log, never written there. ``destructive``: it takes something away from
    somebody, so halts and breakers hold it back. One with a ``budget`` is destructive as well and waits until the hour
    has room for it, in the order of ``due``: when it fell due.
    """

    action: str
    target: str
    act: Callable[[], Awaitable[Any]]
    inputs: Any = None
    destructive: bool = False
    budget: Budget | None = None
    due: datetime | None = None

    @property
    def destroys(self) -> bool:
        """Whether it takes something away from somebody."""
        return self.destructive or self.budget is not None


@dataclass(frozen=True, kw_only=True)
class Scope:
    """For whom steps are taken, and why: ids and words for the log."""

    cause: str
    tenant_id: str | None = None
    cell: str | None = None


async def take(world: World, scope: Scope, steps: Sequence[Step]) -> list[Any]:
    """Take the steps side by side and return their results in order; raises the first failure after all have ended.

    Raises Retry when they are not permitted now or the log cannot be written, LeaseLost when another process may lead
    by now: nothing was done then.
    """
    if not steps:
        return []
    async with _permitted(world, scope, steps):
        tokens = await world.audit.intend([_intent(scope, step) for step in steps])
    return await _act(world, steps, tokens)


def ask(world: World, scope: Scope, action: str, *, destructive: bool = True) -> None:
    """Raise what a step would raise now: before something is prepared that could only wait then."""
    permission.refuse_halted(world, [action], destructive=destructive, cell=scope.cell)
    if destructive:
        permission.refuse_mass_change(world, scope.cell, scope.tenant_id)


async def record(world: World, scope: Scope, step: Step) -> Any:
    """Take a step that no halt may hold back, because it is what a halt is remembered by."""
    tokens = await world.audit.intend([_intent(scope, step)])
    return (await _act(world, [step], tokens))[0]


async def _act(world: World, steps: Sequence[Step], tokens: Sequence[StepToken]) -> list[Any]:
    world.assert_leading()
    results = await asyncio.gather(*(step.act() for step in steps), return_exceptions=True)
    outcomes = []
    for step, token, result in zip(steps, tokens, results, strict=True):
        reason = _reason(result)
        outcomes.append(Outcome(token, "failed" if reason else "ok", reason))
        metrics.STEPS.labels(step.action, "failed" if reason else "ok").inc()
        if step.budget is not None and not reason:
            metrics.DESTRUCTIVE.labels(step.action).inc()
    world.audit.note(outcomes)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(results)


@contextlib.asynccontextmanager
async def _permitted(world: World, scope: Scope, steps: Sequence[Step]) -> AsyncIterator[None]:
    """Until the intents are logged, nobody else counts the budgets that these steps spend."""
    _refuse(world, scope, steps)
    spending = [(step.budget, scope.tenant_id or step.target, step.due) for step in steps if step.budget is not None]
    if not spending:
        yield
        return
    cell = scope.cell or ""
    async with world.spending:
        for spent, who, due in spending:
            await budget.refuse_spent(world, cell, spent, who, due)
        # Counting may have taken a while.
        _refuse(world, scope, steps)
        yield
        for spent, who, _ in spending:
            await budget.spend(world, cell, spent, who)


def _refuse(world: World, scope: Scope, steps: Sequence[Step]) -> None:
    destructive = [step.action for step in steps if step.destroys]
    waiting = destructive if destructive and not world.brakes.halt.observing else [step.action for step in steps]
    permission.refuse_halted(world, waiting, destructive=bool(destructive), cell=scope.cell)
    if destructive:
        permission.refuse_mass_change(world, scope.cell, scope.tenant_id)


def digest(inputs: Any) -> str:
    """A hash of whatever goes into a step, in canonical JSON."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), default=str)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _intent(scope: Scope, step: Step) -> Intent:
    return Intent(
        action=step.action,
        object=step.target,
        cause=scope.cause[:512],
        tenant_id=scope.tenant_id,
        cell=scope.cell,
        inputs_digest=digest(step.inputs) if step.inputs is not None else None,
        destructive=step.destroys,
    )


def _reason(result: Any) -> str | None:
    match result:
        case Failure():
            return result.reason
        case BaseException():
            return type(result).__name__
        case _:
            return None
