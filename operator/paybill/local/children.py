"""Keeps one program running: starts it, waits until it answers, starts it again when it dies, stops it.

The supervisor has one Child per program. A child that dies unexpectedly is started again with a growing delay and
said so in the log: etcd or Postgres killed by the kernel's memory killer should cost a hiccup, not the instance.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from paybill.api.failures import Blocked
from paybill.local import process
from paybill.local.process import Command

logger = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[bool]]
"""Whether the program answers; must not take longer than a few seconds and must not raise when it does not."""

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_STEADY_SECONDS = 60.0
"""A program that ran this long is taken for healthy: its next death starts the delays from the beginning."""
_LOG_LIMIT = 32 * 1024 * 1024
_HOUSEKEEPING_SECONDS = 30.0


class Child:
    """One supervised program; used by one event loop, which must outlive it (see process.py)."""

    def __init__(self, command: Command, *, ready: Probe | None = None, restart: bool = True) -> None:
        self.command = command
        self.restarts = 0
        self._ready = ready
        self._restart = restart
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The running program's process id; ``None`` while it is not running."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self, *, deadline: float = 60.0) -> None:
        """Start the program and wait until it answers.

        ``deadline`` is in seconds. Raises Blocked with the end of its log when it exits first or never answers; the
        program is stopped then.
        """
        self._process = await process.spawn(self.command)
        try:
            await self._until_ready(self._process, deadline)
        except BaseException:
            await process.stop(self._process, self.command)
            raise
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.command.name}")

    async def stop(self) -> None:
        """Stop the program in its own way and within its time; harmless when it is not running."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        if self._process is not None:
            await process.stop(self._process, self.command)
            self._process = None

    async def _until_ready(self, started: asyncio.subprocess.Process, deadline: float) -> None:
        ends = time.monotonic() + deadline
        pause = 0.02
        while started.returncode is None:
            if self._ready is None or await self._ready():
                return
            if time.monotonic() > ends:
                raise Blocked("NotReady", process.failure_text(self.command, f"did not answer within {deadline:.0f} s"))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(started.wait(), pause)
            pause = min(pause * 1.5, 0.25)
        raise Blocked(
            "NotStarted", process.failure_text(self.command, f"ended with {process.exit_text(started.returncode)}")
        )

    async def _keep(self) -> None:
        delay = _FIRST_DELAY
        while self._process is not None:
            began = time.monotonic()
            code = await self._watch(self._process)
            text = process.failure_text(self.command, f"ended unexpectedly with {process.exit_text(code)}")
            if not self._restart:
                logger.error("%s", text)
                return
            delay = _FIRST_DELAY if time.monotonic() - began > _STEADY_SECONDS else min(delay * 2, _LONGEST_DELAY)
            logger.warning("%s; it is started again in %.1f s", text, delay)
            await process.stop(self._process, self.command)  # members of its group that outlived it
            await asyncio.sleep(delay)
            try:
                self._process = await process.spawn(self.command)
            except Blocked as error:  # its program was removed meanwhile: it may come back, as in an upgrade
                logger.error("%s", error.message)
            self.restarts += 1

    async def _watch(self, running: asyncio.subprocess.Process) -> int:
        while True:
            try:
                return await asyncio.wait_for(running.wait(), _HOUSEKEEPING_SECONDS)
            except TimeoutError:
                process.truncate(self.command.log, _LOG_LIMIT)
