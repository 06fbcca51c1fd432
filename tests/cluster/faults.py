"""Ends the operator at a chosen write to the API server: before it, or after its effect and before its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Literal, TypeVar

import pytest

from paybill.cluster.client import Cluster
from paybill.reconcile.world import World
from tests.cluster.running import Operator

T = TypeVar("T")
When = Literal["before", "after"]


class CrashingCluster(Cluster):
    """A client that counts the writes of reconciles and ends its process at one of them."""

    def __init__(self, original: Cluster, crash: Crash) -> None:
        super().__init__(original.session)
        self._crash = crash

    async def apply(self, obj: Mapping[str, Any], **options: Any) -> Any:
        return await self._crash.around(super().apply(obj, **options))

    async def apply_status(self, obj: Mapping[str, Any], **options: Any) -> Any:
        return await self._crash.around(super().apply_status(obj, **options))

    async def merge(self, obj: Mapping[str, Any], subresource: str = "") -> Any:
        return await self._crash.around(super().merge(obj, subresource))

    async def delete(self, *args: Any, **options: Any) -> bool:
        return await self._crash.around(super().delete(*args, **options))

    async def evict(self, namespace: str, name: str) -> bool:
        return await self._crash.around(super().evict(namespace, name))


class Crash:
    """The write number ``at`` (from 1; 0: none), counted from ``arm`` on."""

    def __init__(self, operator: Operator, at: int = 0, when: When = "before") -> None:
        self.operator = operator
        self.at = at
        self.when = when
        self.writes = 0
        self.happened = False

    def arm(self) -> None:
        """Put the fault into the operator that runs."""
        self.operator.call(self._put)

    def skip_unless_it_happened(self) -> None:
        """Fewer writes than ``at``: nothing to see here, and nothing for the next test to stumble over."""
        if not self.happened:
            self.at = 0
            pytest.skip(f"it takes {self.writes} writes only")

    def _put(self, world: World) -> None:
        world.cluster = CrashingCluster(world.cluster, self)

    async def around(self, write: Coroutine[Any, Any, T]) -> T:
        self.writes += 1
        mine = self.writes == self.at
        if mine and self.when == "before":
            write.close()
            await self._end()
        answer = await write
        if mine:
            await self._end()
        return answer

    async def _end(self) -> None:
        self.happened = True
        self.operator.end_soon()
        await asyncio.Event().wait()
