"""What can happen to what the operator depends on, made to happen: a Postgres that falls ill, a wire that fails.

A ``Sick`` is a real server of its own on a small disk, reached over a wire, so that it fails apart from everything
else. Each of its illnesses is a context: within it the server is ill, after it is well again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psycopg

from tests.control.postgres import ThrowAwayPostgres
from tests.control.wire import Wire

CONNECTIONS = 24
MEGABYTES = 224


class WireThread:
    """A wire in a loop of its own, so that it carries whatever the tests' loops do meanwhile."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"wire to {port}", daemon=True)
        self._thread.start()
        self.wire = Wire(port)
        self.port: int = self._run(self.wire.open())

    def close(self) -> None:
        self._run(self.wire.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextlib.contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Everything takes so much longer, each way."""
        self.wire.delay = seconds
        try:
            yield
        finally:
            self.wire.delay = 0.0

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Connections end, and new ones end at once."""
        self.wire.down = True
        self._run(self.wire.hang_up())
        try:
            yield
        finally:
            self.wire.down = False

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


class Sick:
    """A Postgres and its illnesses. Use it from one thread: the server ends with the thread that started it."""

    def __init__(self) -> None:
        self.server = ThrowAwayPostgres(
            megabytes=MEGABYTES, max_connections=CONNECTIONS, superuser_reserved_connections=0,
            max_wal_size="64MB", min_wal_size="32MB", log_min_messages="fatal",
        )  # fmt: skip
        self.line = WireThread(self.server.port)

    def remove(self) -> None:
        self.line.close()
        self.server.remove()

    def dsn(self, database: str = "postgres") -> str:
        """How the operator reaches it: over the wire."""
        return f"postgresql://postgres@127.0.0.1:{self.line.port}/{database}?sslmode=disable"

    def run(self, statement: str, database: str = "postgres", values: Any = None) -> list[tuple[Any, ...]]:
        """What the server itself says, past the wire."""
        with psycopg.connect(self.server.dsn(database), autocommit=True) as session:
            cursor = session.execute(statement, values)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        self.server.stop()
        try:
            yield
        finally:
            self.server.start()

    @contextlib.contextmanager
    def restarted(self) -> Iterator[None]:
        """A crash, and back at once."""
        self.server.stop(how=signal.SIGQUIT)
        self.server.start()
        yield

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing answers, and nothing is closed."""
        stopped = self._processes()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    def slow(self) -> AbstractContextManager[None]:
        return self.line.slow(0.15)

    @contextlib.contextmanager
    def out_of_connections(self) -> Iterator[None]:
        """Somebody else has them all, the operator's too."""
        with contextlib.ExitStack() as hogs:
            while True:
                try:
                    hog = hogs.enter_context(psycopg.connect(self.server.dsn("postgres"), autocommit=True))
                except psycopg.OperationalError:
                    ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^paybill'"
                    if not hog.execute(ours).fetchall():
                        break
            yield

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """It was demoted: a standby that only reads."""
        self.server.stop()
        mark = self.server.data / "standby.signal"
        mark.touch()
        self.server.start()
        try:
            yield
        finally:
            self.server.stop()
            mark.unlink()
            self.server.start()

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """Not a byte is left; the server may end over it, and whoever keeps it running starts it again."""
        ballast = self.server.data / "ballast"
        fill(ballast)
        try:
            yield
        finally:
            ballast.unlink()
            assert self.server.process is not None
            if self.server.process.poll() is not None:
                self.server.start()

    def _processes(self) -> list[int]:
        assert self.server.process is not None
        main = self.server.process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [main, *map(int, children)]


def fill(path: Path) -> None:
    """Write until the disk is full to its last page."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


ILLNESSES: dict[str, Callable[[Sick], AbstractContextManager[None]]] = {
    "down": Sick.down,
    "slow": Sick.slow,
    "frozen": Sick.frozen,
    "out of connections": Sick.out_of_connections,
    "full disk": Sick.full_disk,
    "read-only": Sick.read_only,
    "restarted": Sick.restarted,
}
