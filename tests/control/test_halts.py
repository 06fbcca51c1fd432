"""A halt and a held mass change outlive the process that took them up, and only who leads may change them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from paybill.api.failures import Blocked
from paybill.control import take_epoch
from paybill.control.halts import BY_PERSON, NOTHING_LEFT, HaltStore, MassChange, new_id
from paybill.lifecycle.mass_change import Cause
from paybill.lifecycle.mode import Halt, Mode

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)
HALT = Halt(mode=Mode.OBSERVE, reason="why", by="ada", time="2026-03-01T00:00:00Z")
TRIP = MassChange(
    id="0badcafe", cell="eu", cause=Cause.DELETIONS, counted=6, allowed=5, tenants=40, tripped_time=NOW
)  # fmt: skip


@pytest.fixture
async def store(db) -> HaltStore:
    store = HaltStore(db, "one")
    assert await store.load() == ([], {})
    assert store.mode is None
    return store


async def reloaded(db, installation="one"):
    fresh = HaltStore(db, installation)
    return fresh, *await fresh.load()


async def test_the_mode_is_remembered_with_who_and_why(db, store, epoch):
    await store.remember(Halt(mode=Mode.FULL), epoch=epoch)
    await store.remember(HALT, epoch=epoch)
    assert store.mode == HALT
    assert (await reloaded(db))[0].mode == HALT
    assert (await reloaded(db, "two"))[0].mode is None


async def test_a_trip_is_there_after_a_restart_and_written_twice_it_is_one(db, store, epoch):
    await store.keep(TRIP, epoch=epoch)
    await store.keep(TRIP, epoch=epoch)
    _, trips, looked_at = await reloaded(db)
    assert trips == [TRIP.as_saved()]
    assert looked_at == {}
    assert (await reloaded(db, "two"))[1] == []


@pytest.mark.parametrize("by", [BY_PERSON, NOTHING_LEFT])
async def test_an_ended_trip_leaves_until_when_all_was_looked_at(db, store, epoch, by):
    await store.keep(TRIP, epoch=epoch)
    await store.end(TRIP, by, LATER, LATER + timedelta(seconds=5), epoch=epoch)
    _, trips, looked_at = await reloaded(db)
    assert (trips, looked_at) == ([], {"eu": LATER + timedelta(seconds=5)})


async def test_the_latest_of_a_cells_looks_counts(db, store, epoch):
    for hours, name in ((3, "one"), (1, "two")):
        trip = replace(TRIP, id=name)
        await store.keep(trip, epoch=epoch)
        await store.end(trip, BY_PERSON, LATER, NOW + timedelta(hours=hours), epoch=epoch)
    assert (await reloaded(db))[2] == {"eu": NOW + timedelta(hours=3)}


async def test_a_cell_has_one_open_trip(db, store, epoch):
    await store.keep(TRIP, epoch=epoch)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await store.keep(replace(TRIP, id=new_id()), epoch=epoch)
    await store.keep(replace(TRIP, id=new_id(), cell="us"), epoch=epoch)


async def test_who_leads_no_longer_changes_nothing(db, store, epoch):
    await store.keep(TRIP, epoch=epoch)
    await take_epoch(db)
    for write in (
        store.remember(HALT, epoch=epoch),
        store.keep(replace(TRIP, id=new_id(), cell="us"), epoch=epoch),
        store.end(TRIP, BY_PERSON, LATER, LATER, epoch=epoch),
    ):
        with pytest.raises(Blocked) as lost:
            await write
        assert lost.value.reason == "EpochLost"
    fresh, trips, looked_at = await reloaded(db)
    assert (fresh.mode, trips, looked_at) == (None, [TRIP.as_saved()], {})
