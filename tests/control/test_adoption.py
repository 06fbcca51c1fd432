"""Adoptions: a row and the facts of its contract change hands together, and never while the row is being dropped."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from paybill.api.failures import Blocked, Retry
from paybill.control import (
    Adoptions,
    Claim,
    ControlDatabase,
    Facts,
    FactStore,
    Placement,
    Registry,
    schema,
    take_epoch,
)
from tests.control.waiting import until_waiting

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PLACE = Placement("eu", "pool-1", "Namespace", "Schema", "app")


class Desk:
    """The registry, the facts and the adoptions of one operator."""

    def __init__(self, db: ControlDatabase, epoch: int) -> None:
        self.db = db
        self.epoch = epoch
        self.registry = Registry(db, "one")
        self.facts = FactStore(db, "one")
        self.adoptions = Adoptions(db, self.registry, self.facts)

    async def load(self) -> Desk:
        await self.registry.load()
        await self.facts.load()
        return self

    async def claim(self, name: str = "acme", uid: str = "old") -> Claim:
        bound = {"subscription_uid": f"sub-{uid}", "subscription_name": name}
        initial = {**bound, "binding_uid": "secret", "binding_version": "7"}
        claim = await self.registry.claim(name, uid, lambda _: PLACE, self.epoch, **initial)
        await self.facts.put(Facts(f"sub-{uid}", uid, "Suspended", suspended_time=NOW), epoch=self.epoch)
        return claim

    async def adopt(self, claim: Claim, uid: str = "new", **changes: str | None) -> Claim:
        given = {"name": claim.tenant_name, "approval": "approval-uid", "continues": None, **changes}
        return await self.adoptions.adopt(claim, uid=uid, now=NOW, epoch=self.epoch, **given)

    async def go_on(self, claim: Claim) -> Claim:
        return await self.adoptions.continue_contract(claim, name="acme", uid="sub-new", epoch=self.epoch)

    async def deleted(self) -> Claim:
        claim = await self.claim()
        return await self.registry.mark_deleted(claim.id, NOW + timedelta(days=30), requested=NOW, epoch=self.epoch)


@pytest.fixture
async def desk(db, epoch) -> Desk:
    return await Desk(db, epoch).load()


async def reloaded(desk: Desk) -> Desk:
    return await Desk(desk.db, desk.epoch).load()


async def same_as_database(desk: Desk) -> bool:
    fresh = await reloaded(desk)
    facts = [
        sorted(((f.subscription_uid, f.tenant_uid, f.phase, f.suspended_time) for f in d.facts.all()), key=str)
        for d in (fresh, desk)
    ]
    return fresh.registry.all() == desk.registry.all() and facts[0] == facts[1]


@pytest.mark.parametrize("state", ["claimed", "released", "deleted"])
async def test_whatever_is_left_of_a_tenant_gets_its_new_owner(desk, state):
    claim = await desk.deleted() if state == "deleted" else await desk.claim()
    if state == "released":
        claim = await desk.registry.release(claim.id, epoch=desk.epoch)

    adopted = await desk.adopt(claim, name="acme-again")

    assert (adopted.id, adopted.state, adopted.tenant_name, adopted.tenant_uid) == (
        claim.id, "claimed", "acme-again", "new",
    )  # fmt: skip
    assert (adopted.drop_after, adopted.delete_requested_time) == (None, None)
    assert (adopted.adopted_by, adopted.adopted_time) == ("approval-uid", NOW)
    assert adopted.placement == claim.placement
    assert (adopted.binding_uid, adopted.binding_version) == (None, None), "its Secrets are to be looked for"
    assert desk.registry.by_uid("new") is adopted
    assert desk.registry.by_uid("old") is None
    assert (desk.registry.named("acme"), desk.registry.named("acme-again")) == ((), (adopted,))
    assert await same_as_database(desk)


async def test_the_facts_of_its_contracts_go_along_and_nobody_elses_do(desk):
    claim = await desk.claim()
    await desk.claim("globex", "other")
    await desk.adopt(claim)
    assert (desk.facts.get("sub-old").tenant_uid, desk.facts.get("sub-other").tenant_uid) == ("new", "other")
    assert desk.facts.get("sub-old").suspended_time == NOW
    assert await same_as_database(desk)


async def test_what_its_database_objects_are_marked_with_never_changes(desk, control_dsn):
    claim = await desk.claim()
    adopted = await desk.adopt(await desk.adopt(claim, "second"), "third")
    assert (adopted.tenant_uid, adopted.origin_uid) == ("third", "old")
    with psycopg.connect(control_dsn, autocommit=True) as hand:
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            hand.execute("UPDATE paybill.tenants SET origin_uid = 'x'")
        hand.execute("DROP TRIGGER tenants_changed ON paybill.tenants")
        hand.execute("UPDATE paybill.tenants SET origin_uid = 'x'")


async def test_a_new_subscription_goes_on_with_the_old_ones_facts(desk):
    claim = await desk.adopt(await desk.claim(), continues="sub-old")
    continued = await desk.go_on(claim)
    assert (continued.subscription_uid, continued.continues_uid) == ("sub-new", None)
    assert desk.facts.get("sub-old") is None
    assert desk.facts.get("sub-new").suspended_time == NOW
    assert desk.registry.by_subscription("sub-new") == continued
    assert await same_as_database(desk)


@pytest.mark.parametrize("what", ["adopt", "continue"])
async def test_the_row_does_not_change_hands_without_the_facts(desk, what, control_dsn):
    claim = await desk.claim()
    if what == "continue":
        claim = await desk.adopt(claim, continues="sub-old")
    with psycopg.connect(control_dsn, autocommit=True) as hand:
        hand.execute(
            "CREATE TRIGGER broken BEFORE UPDATE ON paybill.subscription_facts"
            " FOR EACH STATEMENT EXECUTE FUNCTION paybill.refuse()"
        )
    change = desk.adopt(claim) if what == "adopt" else desk.go_on(claim)
    with pytest.raises(Blocked, match="refuses UPDATE"):
        await change
    assert (await reloaded(desk)).registry.by_id(claim.id) == claim
    assert desk.registry.by_id(claim.id) == claim


async def test_a_process_that_no_longer_leads_adopts_nothing(desk, db):
    claim = await desk.claim()
    await take_epoch(db)
    with pytest.raises(Blocked, match="EpochLost"):
        await desk.adopt(claim)
    desk.epoch += 1
    assert (await desk.adopt(claim)).tenant_uid == "new"


async def test_a_tenant_that_has_a_row_gets_no_second_one(desk):
    claim = await desk.claim()
    await desk.claim("globex", "new")
    with pytest.raises(Retry, match="RegistryConflict"):
        await desk.adopt(claim, "new")
    assert await same_as_database(desk)


async def test_a_row_that_was_changed_meanwhile_is_looked_at_again(desk, control_dsn):
    claim = await desk.claim()
    with psycopg.connect(control_dsn, autocommit=True) as hand:
        hand.execute("UPDATE paybill.tenants SET plan_name = 'by-hand'")
    with pytest.raises(Retry, match="RegistryConflict"):
        await desk.adopt(claim)
    assert (await desk.adopt(desk.registry.by_id(claim.id))).plan_name == "by-hand"


async def test_a_drop_that_has_begun_cannot_be_undone_unless_its_mark_is_taken_away(desk, control_dsn):
    claim = await desk.deleted()
    begun = await desk.registry.begin_drop(claim.id, NOW, epoch=desk.epoch)
    with pytest.raises(Blocked, match="its drop has begun"):
        await desk.adopt(begun)
    with psycopg.connect(control_dsn, autocommit=True) as hand:
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            hand.execute("UPDATE paybill.tenants SET state = 'claimed'")
        hand.execute("UPDATE paybill.tenants SET drop_started_time = NULL")
    assert (await desk.adopt(await desk.registry.refresh(claim.id))).state == "claimed"


async def test_what_was_dropped_is_gone_for_every_tenant(desk):
    claim = await desk.deleted()
    await desk.registry.begin_drop(claim.id, NOW, epoch=desk.epoch)
    await desk.registry.mark_dropped(claim.id, epoch=desk.epoch)
    with pytest.raises(Blocked, match="cannot be adopted any more"):
        await desk.adopt(claim)
    assert await desk.adoptions.state_of(claim.id) == ("dropped", "one")
    assert await desk.adoptions.state_of("zzzzzzzz") is None


async def test_a_drop_begins_once_and_only_of_what_was_deleted(desk):
    claim = await desk.deleted()
    first = await desk.registry.begin_drop(claim.id, NOW, epoch=desk.epoch)
    assert await desk.registry.begin_drop(claim.id, NOW + timedelta(days=1), epoch=desk.epoch) is first
    living = await desk.claim("globex", "other")
    with pytest.raises(Blocked, match="RegistryStateForbids"):
        await desk.registry.begin_drop(living.id, NOW, epoch=desk.epoch)


@pytest.mark.parametrize("round_", range(5))
async def test_of_a_drop_and_an_adoption_at_the_same_time_one_wins(desk, control_dsn, round_):
    claim = await desk.deleted()
    other = await reloaded(desk)  # an operator of its own, with its own memory
    with psycopg.connect(control_dsn) as holder:
        holder.execute("SELECT FROM paybill.tenants FOR UPDATE")
        racers = [asyncio.create_task(one) for one in (
            desk.registry.begin_drop(claim.id, NOW, epoch=desk.epoch),
            other.adopt(other.registry.by_id(claim.id)),
        )[:: 1 if round_ % 2 else -1]]  # fmt: skip
        await until_waiting(desk.db, 2)
        holder.rollback()
    results = await asyncio.gather(*racers, return_exceptions=True)
    assert sorted(isinstance(result, Claim) for result in results) == [False, True]
    row = (await reloaded(desk)).registry.by_id(claim.id)
    assert (row.state == "claimed") is (row.drop_started_time is None)


async def test_an_operator_of_the_release_before_claims_and_reads_as_it_did(desk, control_dsn):
    with psycopg.connect(control_dsn, autocommit=True) as before:
        before.execute(
            "INSERT INTO paybill.tenants (id, installation, tenant_name, tenant_uid, cell, compute, level)"
            " VALUES ('aaaaaaaa', 'one', 'acme', 'uid-1', 'eu', 'Shared', 'Rows')"
        )
    await desk.load()
    assert desk.registry.by_id("aaaaaaaa").origin_uid == "uid-1"


async def test_rows_from_before_the_migration_keep_their_marks(control_dsn):
    database = await ControlDatabase.open(control_dsn, application_name="test")
    async with database.transaction() as connection:
        await schema.migrate(connection, schema.known()[:1])
    with psycopg.connect(control_dsn, autocommit=True) as before:
        before.execute(
            "INSERT INTO paybill.tenants (id, installation, tenant_name, tenant_uid, cell, compute, level, state)"
            " VALUES ('aaaaaaaa', 'one', 'a', 'uid-1', 'eu', 'Shared', 'Rows', 'claimed'),"
            " ('bbbbbbbb', 'one', 'b', 'uid-2', 'eu', 'Shared', 'Rows', 'dropped')"
        )
    await database.migrate()
    with psycopg.connect(control_dsn) as after:
        found = after.execute("SELECT id, origin_uid, state FROM paybill.tenants ORDER BY id").fetchall()
    assert found == [("aaaaaaaa", "uid-1", "claimed"), ("bbbbbbbb", "uid-2", "dropped")]
    await database.close()
