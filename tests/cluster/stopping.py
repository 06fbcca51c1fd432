"""The operator as a process that stops itself (SIGSTOP) at a named effect, as a frozen machine does at any.

Run as ``python -m tests.cluster.stopping``. ``STOP_AT`` is how the name of the effect begins (doors.py; ``*`` is
anything), ``STOP_WHEN`` before or after it, from the moment on when the file ``STOP_ARMED`` exists. ``CLOCK_AHEAD``
puts the clock that the Lease is written by wrong by so many seconds. ``LIFTED`` takes away what keeps a woken process
from acting: to see that it would.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import paybill.cluster.lease
from paybill import app
from paybill.cluster.lease import Lease
from paybill.reconcile import provision
from paybill.reconcile.log import configure
from paybill.settings import from_environment
from tests.cluster.doors import watched

T = TypeVar("T")


class Stopper:
    """Sees the effects and stops the process once."""

    def __init__(self, name: str, when: str, armed: Path) -> None:
        self._name = name
        self._when = when
        self._armed = armed

    def refuse_the_dead(self) -> None:
        """A frozen process is not dead: it goes on when it is woken."""

    async def effect(
        self, name: str, act: Callable[[], Awaitable[T]], *, lost: Callable[[], Exception], silence: Awaitable[Any]
    ) -> T:
        if hasattr(silence, "close"):
            silence.close()
        mine = bool(self._name) and self._armed.exists()
        mine = mine and fnmatchcase(name, f"{self._name}*")
        if mine and self._when == "before":
            self._stop()
        answer = await act()
        if mine and self._when == "after":
            self._stop()
        return answer

    def _stop(self) -> None:
        self._name = ""
        os.kill(os.getpid(), signal.SIGSTOP)


def skew(seconds: float) -> None:
    """Let the Lease be written by a clock that is wrong."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz or UTC) + timedelta(seconds=seconds)

    paybill.cluster.lease.datetime = Wrong  # type: ignore[attr-defined]


def lift() -> None:
    """Neither the Lease's own clock nor the version of what was seen is asked any more."""
    put = provision._put
    Lease.assert_held = lambda self: None  # type: ignore[method-assign]
    provision._put = lambda world, desired, seen=None: put(world, desired)  # type: ignore[assignment]


async def main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    watcher = Stopper(
        os.environ.get("STOP_AT", ""), os.environ.get("STOP_WHEN", "before"), Path(os.environ["STOP_ARMED"])
    )
    await app.run(from_environment(), kubeconfig=Path(os.environ["KUBECONFIG"]), stop=stop, doors=watched(watcher))


if __name__ == "__main__":
    configure("text", "INFO")
    if os.environ.get("CLOCK_AHEAD"):
        skew(float(os.environ["CLOCK_AHEAD"]))
    if os.environ.get("LIFTED"):
        lift()
    try:
        asyncio.run(main())
    except BaseException as error:  # noqa: BLE001 - the test reads the log
        print(f"ended by {error!r}: {getattr(error, 'exceptions', '')}", file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(1)
