"""A session of the operator that ends at a chosen round trip: before the server got it, or before its answer came."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import psycopg

from paybill.postgres import PatientConnection


class Dying(PatientConnection[tuple[Any, ...]]):
    """Counts the round trips of all sessions, COMMIT too; the one whose turn it is takes all later ones along."""

    last: ClassVar[int | None] = None
    done: ClassVar[bool] = False
    """Whether the last one still reaches the server."""
    count: ClassVar[int] = 0

    async def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """A round trip, or the end."""
        Dying.count += 1
        if Dying.last is None or Dying.count < Dying.last:
            return await super().wait(gen, *args, **kwargs)
        if Dying.count == Dying.last and Dying.done:
            await super().wait(gen, *args, **kwargs)
        gen.close()
        await self.close()
        raise psycopg.OperationalError("killed")


@contextlib.contextmanager
def dying(last: int, *, done: bool) -> Iterator[None]:
    """Within, everything ends at round trip number ``last``."""
    Dying.last, Dying.done, Dying.count = last, done, 0
    try:
        yield
    finally:
        Dying.last, Dying.count = None, 0
