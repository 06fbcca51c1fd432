"""The real operator in a thread of its own: as its process would run, but a test can stop its clock or break it.

It talks to the API server with the operator's own token, so a right that is missing in its RBAC fails the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from paybill import app
from paybill.doors import Doors
from paybill.reconcile.queue import Work
from paybill.reconcile.watchdog import WATCHDOG
from paybill.reconcile.world import World, utcnow
from paybill.settings import Settings

T = TypeVar("T")

START_SECONDS = 60.0
SOON = 2.0


class Clock:
    """The operator's clock: the real one, ahead or back by ``offset``, or standing still at ``frozen``."""

    def __init__(self) -> None:
        self.offset = timedelta()
        self.frozen: datetime | None = None

    def __call__(self) -> datetime:
        return self.frozen or utcnow() + self.offset

    def reset(self) -> None:
        self.offset, self.frozen = timedelta(), None


class Operator:
    """One operator; ``start``, ``stop`` and ``crash`` as often as a test needs it."""

    def __init__(self, settings: Settings, kubeconfig: Path) -> None:
        self.settings = settings
        self.clock = Clock()
        self.made: Callable[[World], None] = lambda _: None
        self.doors: Callable[[], Doors] = Doors
        self._kubeconfig = kubeconfig
        self._world: World | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop: asyncio.Event | None = None
        self._leading = threading.Event()
        self.failure: BaseException | None = None

    @property
    def world(self) -> World:
        """What the operator works with now; touch it only through ``call``."""
        assert self._world is not None
        return self._world

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def leads(self) -> bool:
        return self._leading.is_set()

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it leads unless told not to."""
        assert not self.running
        self._leading.clear()
        self.failure = None
        self._thread = threading.Thread(target=self._live, name="operator", daemon=True)
        self._thread.start()
        if wait:
            self.wait_until_leading()

    def wait_until_leading(self, seconds: float = START_SECONDS) -> None:
        if not self._leading.wait(seconds) or self.failure is not None:
            raise AssertionError("the operator does not lead") from self.failure

    def stop(self) -> None:
        """Ask it to end, as SIGTERM does; raises what it failed with."""
        if self._thread is None:
            return
        if self.running:
            self._soon(lambda: self._stop and self._stop.set())
        self._join()
        if self.failure is not None:
            raise AssertionError("the operator failed") from self.failure

    def crash(self) -> None:
        """End it in the middle of whatever it does."""
        if self.running:
            self._soon(lambda: self._task and self._task.cancel())
        self._join()

    def end_soon(self) -> None:
        """As ``crash``, from the operator's own thread."""
        self._soon(lambda: self._task and self._task.cancel())

    def restart(self) -> None:
        self.stop()
        self.start()

    def call(self, work: Callable[[World], T]) -> T:
        """Run a function in the operator's own thread and return its result."""
        assert self._loop is not None

        async def run() -> T:
            return work(self.world)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def look_at(self, kind: str, name: str, *, deep: bool = False) -> None:
        """Have a key reconciled now; ``deep`` as the resync does it."""
        self.call(lambda world: world.queue.add(Work(kind, name), "due" if deep else "test"))

    @property
    def idle(self) -> bool:
        """Whether nothing is queued, no worker works, and nothing is to be looked at within seconds.

        A watchdog is always about to look, and changes nothing where everybody keeps the limits.
        """

        def look(world: World) -> bool:
            soon = time.monotonic() + SOON
            states = [state for work, state in world.queue._states.items() if work.kind != WATCHDOG]
            planned = [state.wake for state in states if state.ticket is not None]
            return world.queue.idle and not any(wake < soon for wake in planned)

        return self.call(look)

    def _soon(self, act: Callable[[], Any]) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # its loop ended in this very moment
            self._loop.call_soon_threadsafe(act)

    def _join(self) -> None:
        assert self._thread is not None
        self._thread.join(30)
        assert not self._thread.is_alive(), f"the operator does not end: {self._pending()}"
        self._thread = None

    def _pending(self) -> list[str]:
        """What it still waits for."""
        tasks = asyncio.all_tasks(self._loop) if self._loop is not None else ()
        return [f"{task.get_name()} at {task.get_stack(limit=1)}" for task in tasks]

    def _live(self) -> None:
        try:
            asyncio.run(self._run())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            self.failure = error
        finally:
            self._leading.set()

    async def _run(self) -> None:
        self._loop, self._task, self._stop = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()
        leading = asyncio.Event()
        told = asyncio.create_task(self._tell(leading))
        try:
            await app.run(
                self.settings,
                kubeconfig=self._kubeconfig,
                stop=self._stop,
                leading=leading,
                made=self._take,
                doors=self.doors(),
            )
        finally:
            told.cancel()

    async def _tell(self, leading: asyncio.Event) -> None:
        await leading.wait()
        self._leading.set()

    def _take(self, world: World) -> None:
        world.now = self.clock
        self._world = world
        self.made(world)
