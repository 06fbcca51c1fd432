"""Waiting for what must become true: on the condition itself, with a deadline, never for a time that seems enough."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")

PAUSE = 0.04


async def until(look: Callable[[], T | Awaitable[T]], *, seconds: float = 45.0, otherwise: Any = "") -> T:
    """The first true answer of ``look``; fails with the last answer when there is none within ``seconds``."""
    ends = time.monotonic() + seconds
    while True:
        found = look()
        answer = cast("T", await found if inspect.isawaitable(found) else found)
        if answer:
            return answer
        assert time.monotonic() < ends, f"not within {seconds} s: {_said(otherwise) or answer!r}"
        await asyncio.sleep(PAUSE)


async def stays(look: Callable[[], Any | Awaitable[Any]], *, seconds: float) -> None:
    """Fails as soon as ``look`` is false: for what must not change while something else goes on."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        found = look()
        assert await found if inspect.isawaitable(found) else found
        await asyncio.sleep(PAUSE)


def _said(otherwise: Any) -> Any:
    return otherwise() if callable(otherwise) else otherwise
