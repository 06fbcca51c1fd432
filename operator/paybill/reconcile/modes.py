"""The installation's mode: read from its ConfigMap, watched, told to whoever it concerns, remembered.

What cannot be read or understood changes nothing: the last mode holds. It is taken up in memory in the very moment its
event comes in, before anything is written about it, because the next step already asks.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

from paybill.api.failures import Failure
from paybill.cluster.client import ResourceExpired
from paybill.cluster.events import News
from paybill.desired import names
from paybill.lifecycle import mode as modes
from paybill.lifecycle.mode import Halt, Mode
from paybill.reconcile import metrics
from paybill.reconcile.queue import Work
from paybill.reconcile.servers import FENCED
from paybill.reconcile.steps import Scope, Step, record
from paybill.reconcile.worker import LeadershipLost
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

FIRST_READ = 10.0
"""Seconds that a start waits for the mode, before it goes on with nothing destructive permitted."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


async def begin(world: World) -> None:
    """Read the mode before anything is done; without an answer nothing is destroyed until there is one."""
    _hold(world, modes.unread(world.brakes.store.mode))
    try:
        async with asyncio.timeout(FIRST_READ):
            await _read(world)
    except (Failure, TimeoutError, ResourceExpired) as failure:
        logger.warning("the mode cannot be read: %s holds until it can: %s", world.brakes.halt.mode, failure)


async def run(world: World) -> None:
    """Follow the mode until cancelled; raises LeadershipLost when another process leads."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_remember(world))
        group.create_task(_watch(world))


async def _watch(world: World) -> None:
    pause = FIRST_PAUSE
    while True:
        try:
            since = await _read(world)
            pause = FIRST_PAUSE
            events = world.cluster.watch("ConfigMap", since=since, namespace=world.settings.namespace, fields=_FIELD)
            async for event, obj in events:
                if event in {"ADDED", "MODIFIED"}:
                    _take(world, obj)
                elif event == "DELETED":
                    logger.warning("the mode's ConfigMap is gone: %s holds", world.brakes.halt.words)
        except ResourceExpired:
            continue
        except Failure as failure:
            logger.warning("the mode cannot be watched, %s holds: %s", world.brakes.halt.mode, failure)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


async def _read(world: World) -> str:
    """List the one ConfigMap and take it up; returns where a watch may go on."""
    found: list[dict[str, Any]] = []
    since = ""
    async for page, version in world.cluster.list_pages("ConfigMap", namespace=world.settings.namespace, fields=_FIELD):
        found, since = found + page, version
    if found:
        _take(world, found[0])
    elif world.brakes.halt == modes.UNREAD:
        _hold(world, modes.absent(world.brakes.store.mode))
    return since


_FIELD = f"metadata.name={names.MODE_CONFIG_MAP}"


def _take(world: World, obj: dict[str, Any]) -> None:
    halt = modes.read(obj.get("data") or {})
    if halt is None:
        said = (obj.get("data") or {}).get("mode")
        logger.warning("the ConfigMap says mode %r, which is none: %s holds", said, world.brakes.halt.words)
        return
    if halt != world.brakes.halt:
        before = world.brakes.halt
        _hold(world, halt)
        if before.mode is not halt.mode:
            _tell(world, halt)


def _hold(world: World, halt: Halt) -> None:
    world.brakes.halt = halt
    world.brakes.turned.set()
    for one in Mode:
        metrics.MODE.labels(str(one)).set(1 if one is halt.mode else 0)
    logger.info("%s: %s", halt.words, halt.mode.effect)


def _tell(world: World, halt: Halt) -> None:
    """Whoever waits looks at once: to go on, or to say that it cannot. A steady tenant hears nothing."""
    # A server that was connected while nothing might be done is still to be made what it should be.
    cells = {Work("Cell", attached.cell) for attached in world.servers if not attached.made}
    for work in [*world.brakes.held, *(Work("Tenant", name) for name in world.waiting), *cells]:
        world.queue.add(work, f"mode {halt.mode}", background=True)
    full = halt.mode is Mode.FULL
    for cell in world.declared.cells.values():
        message = f"{halt.words}: {halt.mode.effect}"
        turned = "Resumed" if full else "Halted"
        world.events.post(News(about=cell, reason=turned, message=message, warning=not full))


async def _remember(world: World) -> None:
    """Write each mode into the audit log and the control database, when they can be written."""
    pause = FIRST_PAUSE
    while True:
        await world.brakes.turned.wait()
        world.brakes.turned.clear()
        halt = world.brakes.halt
        if halt in (modes.UNREAD, world.brakes.store.mode or modes.FULL):
            continue
        try:
            cause = replace(halt, reason="", time="").words
            await record(world, Scope(cause=cause), _step(world, halt))
            pause = FIRST_PAUSE
        except Failure as failure:
            if failure.reason in FENCED:
                raise LeadershipLost(str(failure)) from failure
            logger.warning("mode %s is in force, and not in the audit log yet: %s", halt.mode, failure)
            world.brakes.turned.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _step(world: World, halt: Halt) -> Step:
    """Nobody's reason goes into the log in clear; its digest does, and the ConfigMap has the words."""
    return Step(
        action="mode.change",
        target=f"ConfigMap/{world.settings.namespace}/{names.MODE_CONFIG_MAP}",
        act=lambda: world.brakes.store.remember(halt, epoch=world.epoch),
        inputs=halt.data(),
    )
