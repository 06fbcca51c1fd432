"""Effect facts: written once per episode, kept here and nowhere else, the same after a restart."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from paybill.control import Facts, FactStore

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
TIMES = ["suspended_time", "ended_time", "archived_time", "abandoned_time", "requested_end_time"]


@pytest.fixture
async def store(db) -> FactStore:
    store = FactStore(db, "one")
    await store.load()
    return store


async def reloaded(db, uid="sub"):
    fresh = FactStore(db, "one")
    await fresh.load()
    return fresh.get(uid)


async def test_what_is_put_is_there_after_a_restart(db, store, epoch):
    facts = Facts(
        "sub",
        "uid-1",
        "Suspended",
        trial_start_time=NOW,
        suspended_time=LATER,
        last_known={"status": "past_due", "providerTime": "2026-03-01T00:00:00Z"},
        holds=({"source": "Dispute", "blocks": "Access"},),
    )
    written = await store.put(facts, epoch=epoch)
    assert replace(written, updated_time=None) == facts
    assert await reloaded(db) == store.get("sub") == written


async def test_putting_the_same_again_writes_nothing(db, store, epoch, control_dsn):
    facts = Facts("sub", "uid-1", "Active", last_known={"b": 1, "a": [1, {"c": None}]}, holds=({"x": 1},))
    written = await store.put(facts, epoch=epoch)
    with psycopg.connect(control_dsn) as connection:
        before = connection.execute("SELECT xmin::text FROM paybill.subscription_facts").fetchall()
    restarted = FactStore(db, "one")
    await restarted.load()
    assert await restarted.put(facts, epoch=epoch) == written
    with psycopg.connect(control_dsn) as connection:
        assert connection.execute("SELECT xmin::text FROM paybill.subscription_facts").fetchall() == before


@pytest.mark.parametrize("name", TIMES)
async def test_a_time_stands_while_its_episode_lasts(db, store, epoch, name):
    await store.put(Facts("sub", "uid-1", "Suspended", **{name: NOW}), epoch=epoch)
    moved = await store.put(Facts("sub", "uid-1", "Ended", **{name: LATER}), epoch=epoch)
    assert (getattr(moved, name), moved.phase) == (NOW, "Ended")
    over = await store.put(Facts("sub", "uid-1", "Active"), epoch=epoch)
    assert getattr(over, name) is None
    again = await store.put(Facts("sub", "uid-1", "Suspended", **{name: LATER}), epoch=epoch)
    assert getattr(again, name) == LATER
    assert await reloaded(db) == again


async def test_a_trial_starts_once(store, epoch):
    await store.put(Facts("sub", "uid-1", "Trialing", trial_start_time=NOW), epoch=epoch)
    for attempt in (None, LATER):
        put = await store.put(Facts("sub", "uid-1", "Active", trial_start_time=attempt), epoch=epoch)
        assert put.trial_start_time == NOW


async def test_installations_do_not_see_each_others_facts(db, store, epoch):
    await FactStore(db, "two").put(Facts("theirs", None, "Active"), epoch=epoch)
    await store.load()
    assert store.get("theirs") is None
    assert store.all() == ()


async def test_a_contract_starts_once(db, store, epoch):
    await store.put(Facts("sub", "uid-1", "Active", start_time=NOW), epoch=epoch)
    for attempt in (None, LATER):
        assert (await store.put(Facts("sub", "uid-1", "PastDue", start_time=attempt), epoch=epoch)).start_time == NOW
    assert (await reloaded(db)).start_time == NOW
