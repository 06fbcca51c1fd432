"""Kopf's part in the process: the watches of our kinds, from their start to an end that is certain.

Kopf runs as a guest in our event loop: what it does to signals is taken back, and when it does not end, we do.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading

import kopf

from paybill import handlers
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

PATIENCE = 10
"""Seconds that Kopf gets to end, told to once a second."""


async def run(world: World, stop: asyncio.Event) -> None:
    """Kopf's part: the watches of our four kinds.

    Kopf takes SIGTERM and SIGINT for itself, and then gives every task of the process 5 s to end: the signals are taken
    back, so that we stop at once and in our order. A process whose watches have ended must not stay behind and look
    alive: when Kopf ends, everything does.
    """
    before = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=handlers.register(world),
        settings=handlers.settings(),
        clusterwide=True,
        standalone=True,
    )
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = asyncio.create_task(kopf.run_tasks(tasks, ignored=before), name="kopf")
    try:
        # None of its tasks ever ends by itself, but for one that is broken: a kind that is not served any more.
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
    finally:
        await _end(running)


async def _end(running: asyncio.Task[None]) -> None:
    """End Kopf, which waits for its tasks without an end, and may wait for one that has missed its cancellation."""
    for _ in range(PATIENCE):
        running.cancel()
        done, _pending = await asyncio.wait({running}, timeout=1.0)
        if done:
            return
    logger.warning("Kopf does not end: going on without it")
