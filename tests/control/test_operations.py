"""Stacks and operations outlive the leader that wrote them; one operation per tenant, and only who leads may write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from paybill.api.failures import Blocked, Retry
from paybill.cli.operations import leftovers
from paybill.control import ControlDatabase, take_epoch
from paybill.control.operations import Holder, OperationRow, OperationStore, StackFacts
from paybill.desired.stack import Change

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)
TENANT, OTHER = "k3x9m2qd", "zzzz9999"
CHANGES = (
    Change(action="create", address="urn:a", type="t", fields=("x.y", 'z["ü"]'), data=True),
    Change(action="delete", address="urn:b", type="t"),
)
STACK = StackFacts(
    tenant_id=TENANT,
    engine="Pulumi",
    stack=f"{TENANT}-eu-west-1",
    applied_digest="sha256:applied",
    applied_time=NOW,
    handed="sha256:handed",
    retained=("arn:b", "arn:a"),
    unsearched="Azure is not searched",
    drift_checked_time=LATER,
    drift=CHANGES,
    recovery_due=True,
    destroyed_time=LATER,
)
SMALLEST = StackFacts(tenant_id=TENANT, engine="Embedded", stack=f"{TENANT}-local")


def row(name: str = "op-1", **changes: Any) -> OperationRow:
    given = {"tenant_id": TENANT, "tenant_name": "acme", "cell": "eu", "engine": "Pulumi", "kind": "up"}
    rest = {"inputs_digest": "sha256:i", "queued_time": NOW}
    return OperationRow(**{"id": name, **given, **rest, **changes})


def ended(name: str = "op-1", **changes: Any) -> OperationRow:
    return row(name, **({"state": "Succeeded", "ended_time": LATER, "exit_code": 0} | changes))


FULL = row(
    tier="Paying",
    cause="Plan/growth changed",
    expected="sha256:e",
    approved_by="zoe",
    state="Failed",
    exit_code=60,
    reason="Throttled",
    message="the cloud says: später",
    changes=CHANGES,
    changes_digest="sha256:c",
    counts={"create": 1, "same": 12},
    attempt=7,
    started_time=NOW,
    ended_time=LATER,
)


@pytest.fixture
async def store(db: ControlDatabase) -> OperationStore:
    return await reloaded(db)


async def reloaded(db: ControlDatabase, installation: str = "one") -> OperationStore:
    """As the next leader reads it."""
    fresh = OperationStore(db, installation)
    await fresh.load()
    return fresh


def seen(store: OperationStore) -> tuple[Any, ...]:
    """Everything that a store says."""
    of = (store.stack(TENANT), store.newest(TENANT), store.open_of(TENANT))
    return (*of, store.stacks(), store.opened())


async def refusal(attempt: Awaitable[Any]) -> str:
    with pytest.raises((Retry, Blocked)) as refused:
        await attempt
    return refused.value.reason


async def test_nothing_is_known_at_first(store: OperationStore) -> None:
    assert seen(store) == (None, None, None, (), ())
    assert not await store.known("op-1")


@pytest.mark.parametrize("facts", [STACK, SMALLEST], ids=["all that can be known", "the least"])
async def test_a_stack_is_the_same_after_a_restart(
    db: ControlDatabase, store: OperationStore, epoch: int, facts: StackFacts
) -> None:
    assert await store.put_stack(facts, epoch=epoch) == facts
    assert store.stack(TENANT) == facts
    assert seen(await reloaded(db)) == seen(store)


async def test_what_is_no_longer_so_is_taken_back(db: ControlDatabase, store: OperationStore, epoch: int) -> None:
    await store.put_stack(STACK, epoch=epoch)
    less = replace(SMALLEST, engine="Pulumi", stack=STACK.stack)
    await store.put_stack(less, epoch=epoch)
    assert (await reloaded(db)).stack(TENANT) == store.stack(TENANT) == less


@pytest.mark.parametrize("written", [FULL, row(), row(state="Running", started_time=NOW)], ids=["full", "new", "runs"])
async def test_an_operation_is_the_same_after_a_restart(
    db: ControlDatabase, store: OperationStore, epoch: int, written: OperationRow
) -> None:
    assert await store.put(written, epoch=epoch) == written
    assert store.newest(TENANT) == written
    assert seen(await reloaded(db)) == seen(store)


async def test_the_decision_gets_what_it_asks_for(store: OperationStore, epoch: int) -> None:
    decided = (await store.put(FULL, epoch=epoch)).decided
    assert (decided.kind, decided.attempt, decided.changes, decided.expected) == ("up", 7, CHANGES, "sha256:e")
    assert (decided.reason, decided.ended_time, decided.changes_digest) == ("Throttled", LATER, "sha256:c")


async def test_from_waiting_to_its_end_it_is_one(db: ControlDatabase, store: OperationStore, epoch: int) -> None:
    waiting = await store.put(row(), epoch=epoch)
    running = await store.change(waiting, epoch=epoch, state="Running", started_time=NOW)
    assert store.opened() == (running,)
    assert seen(await reloaded(db)) == seen(store)
    done = await store.change(running, epoch=epoch, state="Succeeded", ended_time=LATER)
    assert (store.opened(), store.open_of(TENANT), store.newest(TENANT)) == ((), None, done)
    assert seen(await reloaded(db)) == seen(store)


async def test_those_that_have_not_ended_are_listed_from_the_oldest(store: OperationStore, epoch: int) -> None:
    for name, tenant, moment in (("c", "cccc0000", LATER), ("b", "bbbb0000", NOW), ("a", "aaaa0000", NOW)):
        await store.put(row(name, tenant_id=tenant, queued_time=moment), epoch=epoch)
    assert [one.id for one in store.opened()] == ["a", "b", "c"]


async def test_a_tenant_has_one_that_has_not_ended(db: ControlDatabase, store: OperationStore, epoch: int) -> None:
    first = await store.put(row(), epoch=epoch)
    for kind in ("up", "drift"):
        assert await refusal(store.put(row("op-2", kind=kind), epoch=epoch)) == "OperationRunning"
    await store.put(row("op-3", tenant_id=OTHER), epoch=epoch)
    assert store.open_of(TENANT) == store.newest(TENANT) == first
    assert seen(await reloaded(db)) == seen(store)


@pytest.mark.parametrize("kind", ["up", "drift"])
async def test_nor_when_another_memory_knows_nothing_of_it(
    db: ControlDatabase, store: OperationStore, epoch: int, kind: str
) -> None:
    """The database's word counts: that of a leader that loaded before the other one wrote."""
    elsewhere = await reloaded(db)
    first = await store.put(row(kind=kind), epoch=epoch)
    assert await refusal(elsewhere.put(row("op-2"), epoch=epoch)) == "OperationRunning"
    assert elsewhere.opened() == (first,), "it may be its own, whose answer was lost: it goes on with that one"
    assert seen(await reloaded(db)) == seen(elsewhere)
    await elsewhere.change(first, epoch=epoch, state="Succeeded", ended_time=LATER)
    await elsewhere.put(row("op-2"), epoch=epoch)


async def test_what_a_tool_said_is_kept_whatever_it_said(
    db: ControlDatabase, store: OperationStore, epoch: int
) -> None:
    change = Change(action="update", address="urn:\0a", type="t", fields=("x\0",))
    await store.put_stack(replace(STACK, drift=(change,), retained=("arn\0",)), epoch=epoch)
    await store.put(ended(state="Failed", message="core dumped: \0\0", changes=(change,)), epoch=epoch)
    kept = (await reloaded(db)).newest(TENANT)
    assert kept is not None
    assert kept.message == "core dumped: \ufffd\ufffd"
    assert kept.changes[0].address == "urn:\ufffda"


async def test_what_failed_long_ago_is_left_out_but_never_the_newest(
    db: ControlDatabase, store: OperationStore, epoch: int, control_dsn: str
) -> None:
    now = datetime.now(UTC)
    ages = {"old": 40, "done": 39, "recent": 20, "newest": 0}
    for name, days in ages.items():
        state, when = "Succeeded" if name == "done" else "Failed", now - timedelta(days=days)
        await store.put(ended(name, state=state, queued_time=when, ended_time=when), epoch=epoch)
    await store.put(ended("alone", tenant_id=OTHER, state="Failed", queued_time=NOW, ended_time=NOW), epoch=epoch)
    for tenant_id in (TENANT, OTHER):
        await store.forget_old(tenant_id, epoch=epoch)
    with psycopg.connect(control_dsn) as session:
        left = session.execute("SELECT id FROM paybill.operations ORDER BY queued_time, id").fetchall()
    assert {name for (name,) in left} == {"done", "recent", "newest", "alone"}


async def test_another_installations_operation_of_the_same_id_is_left_alone(
    db: ControlDatabase, store: OperationStore, epoch: int
) -> None:
    await store.put(ended(), epoch=epoch)
    await store.put_stack(STACK, epoch=epoch)
    assert seen(await reloaded(db, "two")) == (None, None, None, (), ())


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda store, epoch: store.put_stack(STACK, epoch=epoch), id="a stack"),
        pytest.param(lambda store, epoch: store.put(row("op-2"), epoch=epoch), id="a new operation"),
        pytest.param(lambda store, epoch: store.put(ended(), epoch=epoch), id="the end of an operation"),
        pytest.param(lambda store, epoch: store.change(ended(), epoch=epoch, attempt=2), id="a change"),
    ],
)
async def test_who_leads_no_longer_writes_nothing(
    db: ControlDatabase, store: OperationStore, epoch: int, write: Callable[[OperationStore, int], Awaitable[Any]]
) -> None:
    await store.put(ended("op-0", tenant_id=OTHER), epoch=epoch)
    before = seen(store)
    newer = await take_epoch(db)
    assert await refusal(write(store, epoch)) == "EpochLost"
    assert seen(store) == seen(await reloaded(db)) == before
    await write(store, newer)


async def test_a_reading_stands_apart_and_hides_nothing(store: OperationStore, epoch: int, db: ControlDatabase) -> None:
    await store.put(ended("op-1", kind="up", queued_time=NOW), epoch=epoch)
    await store.put(ended("op-2", kind="outputs", queued_time=LATER), epoch=epoch)
    for one in (store, await reloaded(db)):
        newest, read = one.newest(TENANT), one.newest_read(TENANT)
        assert newest is not None
        assert read is not None
        assert (newest.id, read.id, one.last_queued(TENANT)) == ("op-1", "op-2", LATER)


async def test_who_carried_operations_out_is_known_and_whether_their_end_was_seen(
    store: OperationStore, epoch: int
) -> None:
    await store.put(ended("op-1", holder="a@pod-1", pod="pod-1"), epoch=epoch)
    await store.put(ended("op-2", holder="a@pod-2", pod="pod-2"), epoch=epoch)
    await store.put(ended("op-3", holder="a@pod-2", pod="pod-2", state="Lost"), epoch=epoch)
    await store.put(row("op-4", holder="a@pod-3", pod="pod-3", state="Running"), epoch=epoch)
    assert await store.holders(TENANT) == (
        Holder(holder="a@pod-1", pod="pod-1", lost=False),
        Holder(holder="a@pod-2", pod="pod-2", lost=True),
    )
    assert await store.holders(OTHER) == ()


async def test_what_is_left_is_listed_and_so_is_where_nobody_looked(
    store: OperationStore, epoch: int, control_dsn: str
) -> None:
    await store.put_stack(STACK, epoch=epoch)
    await store.put_stack(replace(SMALLEST, tenant_id=OTHER, destroyed_time=LATER), epoch=epoch)
    said = CliRunner().invoke(leftovers, ["--database", control_dsn])
    listed = [line.split(maxsplit=4)[-1].split() for line in said.output.splitlines()[1:]]
    assert listed == [["kept", "arn:b"], ["kept", "arn:a"], ["not", "searched", "Azure", "is", "not", "searched"]]
    assert OTHER not in said.output


async def test_the_same_again_writes_nothing(
    db: ControlDatabase, store: OperationStore, epoch: int, control_dsn: str
) -> None:
    await store.put_stack(STACK, epoch=epoch)
    written = _version(control_dsn)
    for one in (store, await reloaded(db)):
        assert await one.put_stack(replace(STACK), epoch=epoch) == STACK
    assert _version(control_dsn) == written
    await store.put_stack(replace(STACK, recovery_due=False), epoch=epoch)
    assert _version(control_dsn)[0][1] > written[0][1], "its time says when it was written last"


def _version(dsn: str) -> Any:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT xmin::text, updated_time FROM paybill.stacks").fetchall()


async def test_a_look_for_drift_is_never_the_newest(db: ControlDatabase, store: OperationStore, epoch: int) -> None:
    first = await store.put(ended(), epoch=epoch)
    look = await store.put(row("look", kind="drift", queued_time=LATER), epoch=epoch)
    assert (store.newest(TENANT), store.open_of(TENANT)) == (first, look)
    assert seen(await reloaded(db)) == seen(store)
    await store.change(look, epoch=epoch, state="Failed", ended_time=LATER)
    assert (store.newest(TENANT), store.open_of(TENANT)) == (first, None)
    assert seen(await reloaded(db)) == seen(store)


async def test_the_newest_is_the_one_that_was_asked_for_last(
    db: ControlDatabase, store: OperationStore, epoch: int
) -> None:
    for hours in range(3):
        await store.put(ended(f"op-{9 - hours}", queued_time=NOW + timedelta(hours=hours)), epoch=epoch)
    last = await store.put(ended("op-1", queued_time=LATER + timedelta(hours=9)), epoch=epoch)
    assert store.newest(TENANT) == (await reloaded(db)).newest(TENANT) == last


async def test_one_that_has_not_ended_is_the_newest_though_the_clock_went_back(
    db: ControlDatabase, store: OperationStore, epoch: int
) -> None:
    await store.put(ended(queued_time=LATER), epoch=epoch)
    running = await store.put(row("op-2", queued_time=NOW), epoch=epoch)
    assert store.newest(TENANT) == (await reloaded(db)).newest(TENANT) == running


async def test_whether_there_ever_was_one_is_known_for_good(
    db: ControlDatabase, store: OperationStore, epoch: int
) -> None:
    assert not await store.known("op-1")
    await store.put(row(), epoch=epoch)
    for one in (store, await reloaded(db)):
        assert await one.known("op-1")
        assert not await one.known("op-2")


@pytest.mark.parametrize("state", ["Waiting", "Running"])
async def test_what_has_not_ended_has_no_end(store: OperationStore, epoch: int, state: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await store.put(ended(state=state), epoch=epoch)
    assert store.newest(TENANT) is None
