"""A process that ends before or behind any call it makes."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any


class Died(BaseException):
    """The process ended."""


class Life:
    """It ends at its tick number ``last``, for whoever acts in it from then on."""

    def __init__(self, last: int | None = None) -> None:
        self.ticks = 0
        self._last = last

    def tick(self) -> None:
        self.ticks += 1
        if self._last is not None and self.ticks >= self._last:
            raise Died


class Mortal:
    """Something that is called, and the call before or behind which the process ends.

    ``only``: the calls that count; all where none is named.
    """

    def __init__(self, inner: Any, life: Life, *only: str) -> None:
        self._inner = inner
        self._life = life
        self._only = only

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found) or (self._only and name not in self._only):
            return found

        async def called(*args: Any, **keywords: Any) -> Any:
            self._life.tick()
            result = await found(*args, **keywords)
            self._life.tick()
            return result

        return called


async def ends(living: Awaitable[None]) -> bool:
    """Whether the process ended meanwhile."""
    try:
        await living
    except BaseExceptionGroup as group:
        _, other = group.split(Died)
        if other is not None:
            raise
        return True
    except Died:
        return True
    return False
