"""What a Cell is told of its pooler: what was seen last, and every change of it."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from paybill.api.failures import Failure, Retry
from paybill.reconcile import pooler
from paybill.reconcile.queue import Work

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BEHIND, AWAY = Retry("PoolerBehind", "it has not read them yet"), Retry("PoolerUnreachable", "it does not answer")


class Told:
    """A queue that keeps what is added."""

    def __init__(self) -> None:
        self.works: list[Work] = []

    def add(self, work: Work, _cause: str) -> None:
        self.works.append(work)

    def taken(self) -> list[Work]:
        found, self.works = self.works, []
        return found


def world_of(queue: Told) -> Any:
    cell = SimpleNamespace(spec=SimpleNamespace(pooler=object()))
    return SimpleNamespace(
        declared=SimpleNamespace(cells={"one": cell}), pooling={}, queue=queue, now=lambda: NOW,
        settings=SimpleNamespace(database_resync_seconds=600),
    )  # fmt: skip


async def test_a_cell_is_told_of_every_change_and_meanwhile_sees_what_was_seen_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = Told()
    world = world_of(queue)
    meanwhile: list[Failure | None] = []

    async def look(becomes: Failure | None) -> list[Work]:
        async def bring(*_: object) -> None:
            meanwhile.append(world.pooling["one"].failure)
            if becomes is not None:
                raise becomes

        monkeypatch.setattr(pooler, "_bring", bring)
        with contextlib.nullcontext() if becomes is None else pytest.raises(Retry, match=becomes.message):
            await pooler.reconcile(world, "one", "test", deep=False)
        return queue.taken()

    assert await look(None) == []
    for becomes, told in ((BEHIND, True), (BEHIND, False), (AWAY, True), (None, True), (None, False)):
        assert await look(becomes) == ([Work("Cell", "one")] if told else [])
    assert meanwhile == [None, None, BEHIND, BEHIND, AWAY, None]
