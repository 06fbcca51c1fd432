"""The store of what we made: which event is news, whose it is, and what a list says about what it does not hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from paybill.api.failures import Retry
from paybill.cluster.children import WATCHED, Children
from paybill.cluster.client import ResourceExpired
from paybill.desired.resource import Key

KEY = Key("ConfigMap", "t-1", "a")
OTHER = Key("ConfigMap", "t-1", "b")


def obj(
    version: int,
    *,
    uid: str = "u",
    owner: str | None = "k3x9m2qd",
    name: str = "a",
    kind: str = "ConfigMap",
    **content: Any,
) -> dict[str, Any]:
    labels = {"paybill.dev/tenant": owner} if owner else {}
    metadata = {
        "name": name, "namespace": "t-1", "uid": uid, "resourceVersion": str(version), "labels": labels,
        "managedFields": [{"manager": "paybill"}], "creationTimestamp": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content}


class Feed:
    """An API server of few words: lists and events as they are put in, a watch that ends when there is no more."""

    def __init__(self) -> None:
        self.lists: list[tuple[int, list[dict[str, Any]]]] = []
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.watched_from: list[str] = []

    async def list_pages(self, kind: str, *, labels: str) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        assert labels == "paybill.dev/installation=paybill"
        if kind != "ConfigMap":
            yield [], "1"
            return
        version, objects = self.lists.pop(0) if self.lists else (1, [])
        # Two pages, as with any larger list; items of a list have no kind.
        half = len(objects) // 2
        for page in (objects[:half], objects[half:]):
            yield [{name: value for name, value in one.items() if name != "kind"} for one in page], str(version)

    async def watch(self, kind: str, *, since: str, labels: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        if kind != "ConfigMap":
            await asyncio.Event().wait()
        self.watched_from.append(since)
        while True:
            event = await self.events.get()
            if isinstance(event, Exception):
                raise event
            if event is None:
                return
            yield event


class Scene:
    """A store at a feed, and what it reported."""

    def __init__(self) -> None:
        self.feed = Feed()
        self.reported: list[tuple[str, Key]] = []
        self.store = Children(self.feed, "paybill", lambda owner, key: self.reported.append((owner, key)))  # type: ignore[arg-type]
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.task = asyncio.create_task(self.store.run())
        await asyncio.wait_for(self.store.synced.wait(), 5)

    async def see(self, *events: Any) -> None:
        """Let the watch see these events, one after the other."""
        for event in events:
            self.feed.events.put_nowait(event)
        for _ in range(10 * (len(events) + 1)):
            await asyncio.sleep(0)


@pytest.fixture
async def scene():
    made = Scene()
    yield made
    if made.task is not None:
        made.task.cancel()
        await asyncio.gather(made.task, return_exceptions=True)


def test_a_row_keeps_the_content_and_none_of_the_servers_bookkeeping():
    store = Children(Feed(), "paybill", lambda *_: None)  # type: ignore[arg-type]
    store.put(obj(3, data={"x": "1"}) | {"metadata": obj(3)["metadata"] | {"deletionTimestamp": "soon"}})
    row = store.get(KEY)
    assert row is not None
    assert (row.uid, row.version, row.owner) == ("u", "3", "k3x9m2qd")
    assert row.parsed() == {
        "kind": "ConfigMap",
        "data": {"x": "1"},
        "metadata": {
            "name": "a", "namespace": "t-1", "labels": {"paybill.dev/tenant": "k3x9m2qd"}, "deletionTimestamp": "soon",
        },
    }  # fmt: skip


def test_rows_are_counted_found_by_kind_and_forgotten():
    store = Children(Feed(), "paybill", lambda *_: None)  # type: ignore[arg-type]
    store.put(obj(1))
    store.put(obj(1, kind="LimitRange"))
    assert len(store) == 2
    assert [key for key, _ in store.of_kind("ConfigMap")] == [KEY]
    store.forget(KEY)
    store.forget(KEY)
    assert len(store) == 1


@pytest.mark.parametrize(
    ("answer", "kept"),
    [(obj(4), "5"), (obj(5), "5"), (obj(6), "6"), (obj(10), "10"), (obj(2, uid="v"), "2")],
    ids=["older", "the same", "newer", "a longer number", "another object of that name"],
)
def test_the_answer_to_a_write_of_ours_replaces_only_what_is_older(answer, kept):
    store = Children(Feed(), "paybill", lambda *_: None)  # type: ignore[arg-type]
    store.put(obj(5))
    store.put(answer)
    row = store.get(KEY)
    assert row is not None
    assert row.version == kept


async def test_it_is_synced_once_every_kind_was_listed(scene):
    scene.feed.lists.append((7, [obj(3), obj(4, name="b")]))
    await scene.start()
    assert {key for key, _ in scene.store.of_kind("ConfigMap")} == {KEY, OTHER}
    assert scene.reported == [], "at the start every tenant is looked at anyway"
    assert scene.feed.watched_from == ["7"]
    assert len(WATCHED) == 7
    assert "Secret" not in WATCHED


async def test_the_event_of_our_own_write_is_no_news(scene):
    await scene.start()
    scene.store.put(obj(5))
    await scene.see(("MODIFIED", obj(5)), ("MODIFIED", obj(4)))
    assert scene.reported == []
    await scene.see(("MODIFIED", obj(6)))
    assert scene.reported == [("k3x9m2qd", KEY)]


async def test_what_is_deleted_is_reported_once(scene):
    await scene.start()
    scene.store.put(obj(5))
    await scene.see(("DELETED", obj(6)), ("DELETED", obj(6)))
    assert scene.reported == [("k3x9m2qd", KEY)]
    assert scene.store.get(KEY) is None


async def test_a_mark_that_changes_hands_concerns_both(scene):
    await scene.start()
    scene.store.put(obj(5))
    await scene.see(("MODIFIED", obj(6, owner="thief000")))
    assert set(scene.reported) == {("k3x9m2qd", KEY), ("thief000", KEY)}


async def test_a_mark_that_is_taken_off_concerns_whose_it_was(scene):
    await scene.start()
    scene.store.put(obj(5))
    await scene.see(("MODIFIED", obj(6, owner=None)))
    assert scene.reported == [("k3x9m2qd", KEY)]


async def test_what_a_new_list_does_not_hold_is_gone(scene):
    scene.feed.lists += [(7, [obj(3), obj(4, name="b")]), (20, [obj(3)])]
    await scene.start()
    scene.reported.clear()
    await scene.see(ResourceExpired("ResourceExpired", "too old"))
    assert scene.store.get(OTHER) is None
    assert scene.reported == [("k3x9m2qd", OTHER)]


async def test_what_we_made_while_a_list_was_on_its_way_is_not_gone(scene):
    """A namespace believed gone would be taken for a fresh one, and its credentials made anew."""
    scene.feed.lists += [(7, []), (20, [])]
    await scene.start()
    scene.store.put(obj(21))
    scene.store.put(obj(19, name="b"))
    await scene.see(ResourceExpired("ResourceExpired", "too old"))
    assert scene.store.get(KEY) is not None
    assert scene.store.get(OTHER) is None


async def test_a_watch_that_ends_goes_on_where_it_was(scene):
    scene.feed.lists.append((7, []))
    await scene.start()
    bookmark = {"metadata": {"resourceVersion": "90"}}
    await scene.see(("ADDED", obj(50)), None, ("BOOKMARK", bookmark), None)
    assert scene.feed.watched_from == ["7", "50", "90"]
    assert len(scene.store) == 1


async def test_a_watch_that_fails_is_tried_again_without_a_new_list(scene):
    scene.feed.lists.append((7, []))
    await scene.start()
    await scene.see(("ADDED", obj(50)), Retry("Unavailable", "the API server does not answer"))
    async with asyncio.timeout(5):
        while scene.feed.watched_from != ["7", "50"]:
            await asyncio.sleep(0.01)


async def test_who_waits_for_a_change_is_told_of_each_until_it_stops_waiting(scene):
    await scene.start()
    scene.store.put(obj(5))
    with scene.store.awaited(KEY) as changed:
        await scene.see(("MODIFIED", obj(5)))
        assert not changed.is_set()
        await scene.see(("MODIFIED", obj(6)))
        assert changed.is_set()
        changed.clear()
        await scene.see(("DELETED", obj(7)))
        assert changed.is_set()
        changed.clear()
    await scene.see(("ADDED", obj(8)))
    assert not changed.is_set()


def quota(version: int, *, hard: str = "4", used: str = "0", acted_on: str | None = "4") -> dict[str, Any]:
    status = {"used": {"pods": used}} | ({"hard": {"pods": acted_on}} if acted_on else {})
    return obj(version, kind="ResourceQuota", spec={"hard": {"pods": hard}}, status=status)


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        pytest.param({}, {"used": "1"}, False, id="a pod came"),
        pytest.param({"acted_on": None}, {}, True, id="the quota is acted on now"),
        pytest.param({}, {"hard": "9"}, True, id="the quota was edited"),
        pytest.param({}, {"hard": "9", "used": "1"}, True, id="the quota was edited while a pod came"),
    ],
)
async def test_what_a_quota_counts_is_no_news(scene, before, after, news):
    scene.store.put(quota(5, **before))
    scene.store._take("MODIFIED", quota(6, **after))
    assert bool(scene.reported) is news


async def test_that_a_quota_is_acted_on_is_news_only_to_who_waits_for_it(scene):
    key = Key("ResourceQuota", "t-1", "a")
    scene.store.put(quota(5, acted_on=None))
    with scene.store.awaited(key) as changed:
        scene.store._take("MODIFIED", quota(6))
        assert changed.is_set()
        assert not scene.reported
        scene.store._take("MODIFIED", quota(7, hard="9"))
        assert scene.reported
