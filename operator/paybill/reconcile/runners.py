"""Where an operation runs: a process beside the operator, or a Job of the cluster. The same four things either way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from paybill.api.failures import Blocked
from paybill.engines import runner
from paybill.engines.ended import Ended
from paybill.engines.operation import Kind, Request

logger = logging.getLogger(__name__)

GONE = "OperationGone"
"""Nothing of an operation is left: nobody knows what it did."""


class NeverBegun(Blocked):
    """Nothing of an operation was begun, which is known: it can be tried again without a recovery."""


class Runner(Protocol):
    """Carries operations out. None depends on the memory of who began them."""

    async def run(self, request: Request) -> Ended:
        """Begin an operation and wait for its end; raises NeverBegun, or Blocked with reason GONE."""

    async def adopt(self, operation: str, kind: Kind) -> Ended:
        """Wait for one that was begun before; raises as ``run``, and Blocked when it cannot be waited for now."""

    async def cancel(self, operation: str) -> None:
        """Ask one to stop; whoever waits for it hears how that went."""

    async def sweep(self, runs: Callable[[str], bool]) -> None:
        """Remove what operations left that do not run any more; their answers may hold a password."""


class Subprocesses:
    """Operations as processes of this machine, each with a folder of its own below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def run(self, request: Request) -> Ended:
        """Begin a worker and wait for its end."""
        try:
            return await runner.run(request)
        except Blocked as failure:
            raise NeverBegun(failure.reason, failure.message) from failure

    async def adopt(self, operation: str, kind: Kind) -> Ended:  # noqa: ARG002 - its folder says what it is
        """Wait for a worker that still lives, or take the result of one that ended."""
        return await runner.adopt(self._folder / operation)

    async def cancel(self, operation: str) -> None:
        """Signal it, and wait until nothing of it runs."""
        await runner.cancel(self._folder / operation)

    async def sweep(self, runs: Callable[[str], bool]) -> None:
        """Remove folders."""
        for folder, record in runner.list_left(self._folder):
            if runs(record.id):
                continue
            try:
                folder.remove()
            except Blocked as alive:
                logger.warning("operation %s is not known to run, but something of it does: %s", record.id, alive)
