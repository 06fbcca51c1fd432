"""The fence: an operator that no longer leads cannot change the registry or the facts."""

import asyncio

import pytest
from psycopg import sql

from paybill.api.failures import Blocked, Retry
from paybill.control import ControlDatabase, Facts, FactStore, Placement, Registry, assert_epoch, take_epoch
from tests.control.waiting import until_waiting

HERE = Placement("eu", "pool-1", "Namespace", "Schema", "app")


async def test_each_leader_gets_the_next_number_per_shard(db):
    assert [await take_epoch(db), await take_epoch(db), await take_epoch(db, "eu")] == [1, 2, 1]


async def test_who_took_it_and_when_is_kept(db):
    await take_epoch(db, holder="host/1/abc")
    async with db.transaction() as connection:
        row = await (await connection.execute("SELECT holder, taken_time <= now() FROM paybill.epochs")).fetchone()
    assert row == ("host/1/abc", True)


async def old_leaders_writes(db, old: int):
    """Everything a replaced leader could still try, each by name."""
    registry, facts = Registry(db, "one"), FactStore(db, "one")
    await registry.load()
    await facts.load()
    mine = registry.by_uid("mine")
    later = mine.created_time
    return {
        "claim": lambda: registry.claim("new", "new", lambda _: HERE, old),
        "update": lambda: registry.update(mine.id, epoch=old, plan_name="other"),
        "mark_deleted": lambda: registry.mark_deleted(mine.id, later, requested=later, epoch=old),
        "release": lambda: registry.release(registry.by_uid("second").id, epoch=old),
        "mark_dropped": lambda: registry.mark_dropped(registry.by_uid("third").id, epoch=old),
        "put": lambda: facts.put(Facts("sub", "mine", "Suspended"), epoch=old),
    }


WRITES = ["claim", "update", "mark_deleted", "release", "mark_dropped", "put"]


async def prepared(db) -> int:
    old = await take_epoch(db)
    registry = Registry(db, "one")
    for uid in ("mine", "second", "third"):
        await registry.claim(uid, uid, lambda _: HERE, old)
    third = registry.by_uid("third")
    await registry.mark_deleted(third.id, third.created_time, epoch=old)
    return old


@pytest.mark.parametrize("name", WRITES)
async def test_the_old_leader_is_refused(db, name):
    old = await prepared(db)
    writes = await old_leaders_writes(db, old)
    before = await everything(db)
    await take_epoch(db)
    with pytest.raises(Blocked) as failure:
        await writes[name]()
    assert failure.value.reason == "EpochLost"
    assert await everything(db) == before


@pytest.mark.parametrize("name", WRITES)
async def test_without_the_fence_the_old_leader_would_write(db, name, monkeypatch):
    old = await prepared(db)
    writes = await old_leaders_writes(db, old)
    before = await everything(db)
    await take_epoch(db)

    async def unfenced(*_):
        pass

    lifted = sql.SQL("WITH fence AS (SELECT FROM paybill.epochs WHERE shard = %s AND epoch >= %s FOR SHARE) ")
    for module in ("registry", "facts"):
        monkeypatch.setattr(f"paybill.control.{module}.assert_epoch", unfenced)
        monkeypatch.setattr(f"paybill.control.{module}.FENCED", lifted)
    await writes[name]()
    assert await everything(db) != before


async def everything(db) -> list[tuple]:
    async with db.transaction() as connection:
        tenants = await (await connection.execute("SELECT t::text FROM paybill.tenants t ORDER BY id")).fetchall()
        facts = await (await connection.execute("SELECT f::text FROM paybill.subscription_facts f")).fetchall()
    return tenants + facts


async def test_a_new_leader_waits_for_the_old_ones_last_write(db):
    old = await take_epoch(db)
    async with db.transaction() as connection:
        await assert_epoch(connection, old)
        taking = asyncio.create_task(take_epoch(db))
        await until_waiting(db, 1)
        assert not taking.done()
    assert await taking == old + 1


async def test_an_epoch_that_was_never_handed_out_is_refused(db):
    with pytest.raises(Blocked, match="none was ever handed out"):
        await Registry(db, "one").claim("a", "a", lambda _: HERE, 1)


async def test_a_leader_that_freezes_in_the_middle_of_a_write_is_not_waited_for_for_ever(db, control_dsn):
    """Its session is ended by the server; what it was writing is rolled back."""
    old = await take_epoch(db)
    frozen = await ControlDatabase.open(control_dsn, application_name="frozen")

    async def freeze_while_writing() -> None:
        async with frozen.transaction() as connection:
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '300ms'")
            await assert_epoch(connection, old)
            assert await take_epoch(db) == old + 1
            await connection.execute("UPDATE paybill.tenants SET plan_name = 'stale'")

    with pytest.raises(Retry):
        await freeze_while_writing()
    await frozen.close()


async def test_the_server_frees_a_frozen_leaders_locks_before_its_successor_gives_up(db):
    async with db.transaction() as connection:
        settings = "SELECT name, setting::int FROM pg_settings WHERE name = ANY(%s)"
        names = ["idle_in_transaction_session_timeout", "lock_timeout"]
        limits = dict(await (await connection.execute(settings, (names,))).fetchall())
    assert 0 < limits["idle_in_transaction_session_timeout"] < limits["lock_timeout"]
