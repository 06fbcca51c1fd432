"""A Postgres session that never waits for ever: it hangs up on a server that has been silent for too long.

Neither TCP nor ``statement_timeout`` notices a server process that is frozen, or a proxy that holds what it was sent:
the socket stays open, nobody answers, and whoever waits would wait until the end of days, one worker after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Iterator
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import Row

T = TypeVar("T")


class PatientConnection(psycopg.AsyncConnection[Row]):
    """An ``AsyncConnection`` whose every round trip ends; a class derived from it stands in at the same doors."""

    patience: float = 45.0
    """Seconds that one round trip may take: longer than any ``statement_timeout`` of ours, which is 30."""

    _hung_up = False

    async def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """One round trip, as psycopg makes it; raises OperationalError when the server does not answer in time."""
        timer = asyncio.get_running_loop().call_later(self.patience, self._hang_up)
        try:
            return await super().wait(gen, *args, **kwargs)
        except psycopg.OperationalError as error:
            if self._hung_up:
                raise psycopg.OperationalError(f"no answer within {self.patience:g} s") from error
            raise
        finally:
            timer.cancel()

    @property
    def alive(self) -> bool:
        """Whether an idle session's socket is silent: anything to read on it means that the server said goodbye."""
        if self.closed:
            return False
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
        return not poll.poll(0)

    @contextlib.contextmanager
    def patiently(self, seconds: float) -> Iterator[None]:
        """Within, a round trip may take so long: for what is known to take its time."""
        before, self.patience = self.patience, seconds
        try:
            yield
        finally:
            self.patience = before

    def _hang_up(self) -> None:
        """Shut the socket down under libpq, which then sees a server that has gone and says so by itself."""
        if self.closed:
            return
        self._hung_up = True
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.pgconn.socket)) as ours:
            ours.shutdown(socket.SHUT_RDWR)
