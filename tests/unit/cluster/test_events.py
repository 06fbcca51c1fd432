"""Events wait while the API server is away, one is posted once, and what cannot be told drops the oldest."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from paybill.api.failures import Failure, Invalid, Retry
from paybill.api.plan import Plan
from paybill.cluster import events
from paybill.cluster.events import BUFFER, Events, News


class Door:
    """An API server that answers as it is told to, and then says yes."""

    def __init__(self, *answers: Failure) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    async def create(self, obj: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(obj)
        if self.answers:
            raise self.answers.pop(0)
        return obj


def news(number: int) -> News:
    return News(about=PLAN, reason=f"Reason{number}", message="said")


PLAN = Plan.read({"metadata": {"name": "team", "uid": "u"}, "spec": {"isolation": {"model": "Pooled"}}})


async def posted(door: Door, *what: News) -> list[str]:
    """What was asked for, by reason, until the poster had nothing to do for a moment."""
    poster = Events(door, "paybill")  # type: ignore[arg-type]
    for one in what:
        poster.post(one)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(poster.run(), 0.2)
    return [one["reason"] for one in door.asked]


async def test_news_waits_while_the_api_server_is_away() -> None:
    door = Door(Retry("ApiServerBusy", "paused", after=0.01), Retry("ApiServerUnreachable", "", after=0.01))
    assert await posted(door, news(1), news(2)) == ["Reason1", "Reason1", "Reason1", "Reason2"]
    assert len({one["metadata"]["name"] for one in door.asked[:3]}) == 1, "it may have been posted"


async def test_one_that_was_posted_although_the_answer_was_lost_is_not_posted_again() -> None:
    door = Door(Retry("ApiServerUnreachable", "", after=0.01), Retry("Conflict", "already exists"))
    assert await posted(door, news(1), news(2)) == ["Reason1", "Reason1", "Reason2"]


async def test_one_that_is_refused_holds_nobody_up() -> None:
    assert await posted(Door(Invalid("RefusedByApiServer", "no")), news(1), news(2)) == ["Reason1", "Reason2"]


async def test_news_that_is_old_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "STALE", 0.0)
    door = Door(Retry("ApiServerBusy", "paused", after=0.01))
    assert await posted(door, news(1), news(2)) == ["Reason1", "Reason2"]


async def test_a_burst_drops_the_oldest_news_rather_than_memory() -> None:
    asked = await posted(Door(), *(news(number) for number in range(BUFFER + 5)))
    assert asked[0] == "Reason5"
    assert len(asked) == BUFFER
