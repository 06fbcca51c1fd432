"""Runs what serves until the process is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable


async def until_told(serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Serve until SIGTERM or SIGINT sets the event that ``serve`` is given."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(stop)
