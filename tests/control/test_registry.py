"""The registry: one id per Tenant for ever, no server overfilled, memory and rows never apart."""

import asyncio
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import psycopg
import pytest

from paybill.api.failures import Blocked, Retry
from paybill.control import Claim, ControlDatabase, Placement, Registry
from tests.control.waiting import until_waiting
from tests.control.wire import Wire

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def capacity(limit: int):
    """Places on one server until ``limit`` tenants sit there."""

    def place(counts) -> Placement:
        if counts.get(("eu", "pool-1"), 0) >= limit:
            raise Blocked("CellFull", "cell eu has no room left")
        return Placement("eu", "pool-1", "Namespace", "Schema", "app")

    return place


@pytest.fixture
async def registry(db) -> Registry:
    registry = Registry(db, "one")
    await registry.load()
    return registry


@pytest.fixture
async def others(control_dsn, db):
    """Five more operators' sessions on the same database."""
    databases = [await ControlDatabase.open(control_dsn, application_name=f"other{n}") for n in range(5)]
    yield databases
    await asyncio.gather(*(database.close() for database in databases))


def by_hand(dsn: str, statement: str, values=()) -> list[tuple]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


async def same_as_database(registry: Registry, db) -> bool:
    fresh = Registry(db, "one")
    await fresh.load()
    return sorted(fresh.all(), key=lambda c: c.id) == sorted(registry.all(), key=lambda c: c.id)


async def test_a_claim_gives_an_opaque_id_and_the_chosen_place(registry, epoch):
    claim = await registry.claim("acme", "uid-1", capacity(1), epoch)
    assert re.fullmatch("[0-9a-z]{8}", claim.id)
    assert (claim.tenant_name, claim.tenant_uid, claim.state) == ("acme", "uid-1", "claimed")
    assert claim.placement == Placement("eu", "pool-1", "Namespace", "Schema", "app")
    assert registry.by_uid("uid-1") is registry.by_id(claim.id) is claim


async def test_claiming_twice_gives_the_same_id_and_takes_one_place(registry, db, epoch):
    first, second = await asyncio.gather(*(registry.claim("acme", "uid-1", capacity(1), epoch) for _ in range(2)))
    restarted = Registry(db, "one")
    third = await restarted.claim("acme", "uid-1", capacity(1), epoch)
    assert first == second == third


async def test_fifty_claims_race_for_twenty_places(db, others, epoch, control_dsn):
    registries = [Registry(database, "one") for database in others]
    results = await asyncio.gather(
        *(registries[n % 5].claim(f"t{n}", f"uid-{n}", capacity(20), epoch) for n in range(50)), return_exceptions=True
    )
    assert Counter(type(result) for result in results) == {Claim: 20, Blocked: 30}
    assert by_hand(control_dsn, "SELECT count(*), count(DISTINCT id) FROM paybill.tenants") == [(20, 20)]
    assert by_hand(control_dsn, "SELECT cell, server, tenants FROM paybill.placements") == [("eu", "pool-1", 20)]


async def race_for_the_last_place(db, others, epoch, dsn) -> list:
    """Two operators claim the second of two places while the count's row is held, then let go."""
    await Registry(db, "one").claim("first", "uid-first", capacity(2), epoch)
    with psycopg.connect(dsn) as holder:
        holder.execute("SELECT * FROM paybill.placements FOR UPDATE")
        racers = [
            asyncio.create_task(Registry(database, "one").claim(f"t{n}", f"uid-{n}", capacity(2), epoch))
            for n, database in enumerate(others[:2])
        ]
        await until_waiting(db, 2)
        holder.rollback()
    return await asyncio.gather(*racers, return_exceptions=True)


async def test_two_operators_racing_for_the_last_place_give_it_to_one(db, others, epoch, control_dsn):
    results = await race_for_the_last_place(db, others, epoch, control_dsn)
    assert Counter(type(result) for result in results) == {Claim: 1, Blocked: 1}


async def test_without_the_placement_lock_the_last_place_would_go_to_both(db, others, epoch, control_dsn):
    by_hand(
        control_dsn, "CREATE OR REPLACE FUNCTION paybill.place_lock(installation text) RETURNS void LANGUAGE sql AS ''"
    )
    results = await race_for_the_last_place(db, others, epoch, control_dsn)
    assert Counter(type(result) for result in results) == {Claim: 2}


async def test_a_full_cell_leaves_nothing_behind(registry, epoch, control_dsn):
    with pytest.raises(Blocked, match="CellFull"):
        await registry.claim("acme", "uid-1", capacity(0), epoch)
    assert by_hand(control_dsn, "SELECT count(*) FROM paybill.tenants") == [(0,)]
    assert registry.by_uid("uid-1") is None


async def test_an_id_that_was_ever_used_is_not_used_again(db, epoch):
    drawn = iter(["aaaaaaaa", "aaaaaaaa", "bbbbbbbb"])
    registry = Registry(db, "one", new_id=lambda: next(drawn))
    first = await registry.claim("acme", "uid-1", capacity(9), epoch)
    await registry.mark_deleted(first.id, NOW, requested=NOW, epoch=epoch)
    await registry.mark_dropped(first.id, epoch=epoch)
    second = await registry.claim("acme", "uid-2", capacity(9), epoch)
    assert (first.id, second.id) == ("aaaaaaaa", "bbbbbbbb")


async def test_when_no_id_is_free_nothing_is_claimed(db, epoch):
    registry = Registry(db, "one", new_id=lambda: "aaaaaaaa")
    await registry.claim("acme", "uid-1", capacity(9), epoch)
    with pytest.raises(Blocked, match="NoFreeId"):
        await registry.claim("other", "uid-2", capacity(9), epoch)


async def test_another_installations_tenant_is_not_taken_over(db, registry, epoch):
    await Registry(db, "two").claim("acme", "uid-1", capacity(9), epoch)
    with pytest.raises(Blocked, match="ForeignInstallation"):
        await registry.claim("acme", "uid-1", capacity(9), epoch)


async def test_an_update_is_mirrored_and_an_equal_one_writes_nothing(registry, db, epoch, control_dsn):
    claim = await registry.claim("acme", "uid-1", capacity(9), epoch)
    changes = {"subscription_uid": "sub-1", "subscription_name": "acme", "ready_time": NOW, "binding_version": "77"}
    updated = await registry.update(claim.id, epoch=epoch, **changes)
    before = by_hand(control_dsn, "SELECT xmin::text, t::text FROM paybill.tenants t")
    assert await registry.update(claim.id, epoch=epoch, **changes) is updated
    assert by_hand(control_dsn, "SELECT xmin::text, t::text FROM paybill.tenants t") == before
    assert registry.by_subscription("sub-1") == updated
    assert updated.updated_time > claim.updated_time
    assert await same_as_database(registry, db)


async def test_a_moved_subscription_is_found_under_its_new_tenant_only(registry, epoch):
    one = await registry.claim("one", "uid-1", capacity(9), epoch)
    two = await registry.claim("two", "uid-2", capacity(9), epoch)
    await registry.update(one.id, epoch=epoch, subscription_uid="sub-1")
    await registry.update(two.id, epoch=epoch, subscription_uid="sub-1")
    await registry.update(one.id, epoch=epoch, subscription_uid=None)
    assert registry.by_subscription("sub-1").id == two.id


@pytest.mark.parametrize("column", ["id", "state", "tenant_uid", "installation", "version", "nonsense; DROP TABLE x"])
async def test_identity_and_state_are_not_updatable(registry, epoch, column):
    claim = await registry.claim("acme", "uid-1", capacity(9), epoch)
    with pytest.raises(ValueError, match="does not let"):
        await registry.update(claim.id, epoch=epoch, **{column: "x"})


async def test_a_row_changed_by_hand_is_noticed_not_overwritten(registry, db, epoch, control_dsn):
    claim = await registry.claim("acme", "uid-1", capacity(9), epoch)
    by_hand(control_dsn, "UPDATE paybill.tenants SET plan_name = 'by-hand'")
    with pytest.raises(Retry, match="RegistryConflict"):
        await registry.update(claim.id, epoch=epoch, plan_name="growth", plan_revision="1")
    assert registry.by_id(claim.id).plan_name == "by-hand"
    assert (await registry.update(claim.id, epoch=epoch, plan_name="growth")).plan_name == "growth"
    assert await same_as_database(registry, db)


@pytest.mark.parametrize("statement", ["DELETE FROM paybill.tenants", "TRUNCATE paybill.tenants"])
async def test_rows_cannot_be_removed_unless_the_trigger_is(registry, epoch, control_dsn, statement):
    await registry.claim("acme", "uid-1", capacity(9), epoch)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        by_hand(control_dsn, statement)
    by_hand(control_dsn, "DROP TRIGGER tenants_stay ON paybill.tenants")
    by_hand(control_dsn, statement)
    assert by_hand(control_dsn, "SELECT count(*) FROM paybill.tenants") == [(0,)]


@pytest.mark.parametrize("change", ["id = 'zzzzzzzz'", "state = 'claimed'", "installation = 'two'"])
async def test_a_tombstone_cannot_be_revived_unless_the_trigger_is_gone(registry, epoch, control_dsn, change):
    claim = await registry.claim("acme", "uid-1", capacity(9), epoch)
    await registry.mark_deleted(claim.id, NOW, epoch=epoch)
    await registry.mark_dropped(claim.id, epoch=epoch)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        by_hand(control_dsn, f"UPDATE paybill.tenants SET {change}")
    by_hand(control_dsn, "DROP TRIGGER tenants_changed ON paybill.tenants")
    by_hand(control_dsn, f"UPDATE paybill.tenants SET {change}")


async def test_deletion_keeps_its_first_times_and_frees_the_place_only_when_dropped(registry, db, epoch):
    claim = await registry.claim("acme", "uid-1", capacity(1), epoch)
    deleted = await registry.mark_deleted(claim.id, NOW + timedelta(days=30), requested=NOW, epoch=epoch)
    again = await registry.mark_deleted(claim.id, NOW + timedelta(days=60), requested=NOW, epoch=epoch)
    assert deleted == again
    assert (deleted.delete_requested_time, deleted.drop_after) == (NOW, NOW + timedelta(days=30))
    with pytest.raises(Blocked, match="CellFull"):
        await registry.claim("other", "uid-2", capacity(1), epoch)
    assert (await registry.mark_dropped(claim.id, epoch=epoch)).state == "dropped"
    assert registry.by_uid("uid-1") is registry.by_id(claim.id) is None
    assert (await registry.claim("other", "uid-2", capacity(1), epoch)).id != claim.id
    assert await same_as_database(registry, db)


async def test_drops_fall_due_at_their_time_the_longest_due_first(registry, epoch):
    for days in (3, 1, 2):
        claim = await registry.claim(f"t{days}", f"uid-{days}", capacity(9), epoch)
        await registry.mark_deleted(claim.id, NOW + timedelta(days=days), requested=NOW, epoch=epoch)
    due = registry.due_drops(NOW + timedelta(days=2))
    assert [claim.tenant_name for claim in due] == ["t1", "t2"]


async def test_a_live_claim_cannot_be_dropped_nor_a_released_one_deleted(registry, epoch):
    claim = await registry.claim("acme", "uid-1", capacity(9), epoch)
    with pytest.raises(Blocked, match="RegistryStateForbids"):
        await registry.mark_dropped(claim.id, epoch=epoch)
    assert (await registry.release(claim.id, epoch=epoch)).state == "released"
    with pytest.raises(Blocked, match="RegistryStateForbids"):
        await registry.mark_deleted(claim.id, NOW, epoch=epoch)
    assert registry.by_uid("uid-1").state == "released"


async def test_a_move_is_counted_on_both_servers_also_when_made_by_hand(registry, epoch, control_dsn):
    claim = await registry.claim("acme", "uid-1", capacity(9), epoch)
    await registry.update(claim.id, epoch=epoch, server="pool-2")
    counts = "SELECT server, tenants FROM paybill.placements WHERE tenants > 0"
    assert by_hand(control_dsn, counts) == [("pool-2", 1)]
    by_hand(control_dsn, "UPDATE paybill.tenants SET server = 'pool-3'")
    assert by_hand(control_dsn, counts) == [("pool-3", 1)]


async def test_ten_thousand_tenants_are_loaded_with_one_query(db, registry, epoch, control_dsn):
    by_hand(
        control_dsn,
        "INSERT INTO paybill.tenants (id, installation, tenant_name, tenant_uid, cell, server, compute, level)"
        " SELECT lpad(n::text, 8, '0'), 'one', 'n' || n, 'u' || n, 'eu', 's', 'Shared', 'Rows'"
        " FROM generate_series(1, 10000) n",
    )
    await registry.load()
    assert len(registry.all()) == 10_000
    assert registry.by_uid("u777").id == "00000777"


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_claim_whose_commit_was_not_answered_is_the_same_claim_when_tried_again(db, epoch, control_dsn, moment):
    port = urlsplit(control_dsn).port
    wire = Wire(port)
    behind = control_dsn.replace(f":{port}/", f":{await wire.open()}/")
    database = await ControlDatabase.open(behind, application_name="behind")
    registry = Registry(database, "one")
    wire.cut = moment
    with pytest.raises(Retry):
        await registry.claim("acme", "uid-1", capacity(1), epoch)
    landed = by_hand(control_dsn, "SELECT id FROM paybill.tenants")
    claim = await registry.claim("acme", "uid-1", capacity(1), epoch)
    assert landed == ([(claim.id,)] if moment == "after" else [])
    assert by_hand(control_dsn, "SELECT tenants FROM paybill.placements") == [(1,)]
    await database.close()
    await wire.close()
