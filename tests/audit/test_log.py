"""The log's writer: what is committed when, by whom, and what it refuses to hold."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from paybill.api.failures import Blocked, Invalid
from paybill.audit import AuditLog, Outcome, verify
from paybill.audit.chain import Head
from paybill.control import take_epoch
from tests.audit.rows import intent, kinds, steps, stored
from tests.control.waiting import until_waiting


@pytest.fixture
async def log(db, epoch):
    log = AuditLog(db.pool, epoch=epoch)
    yield log
    await log.close()


async def test_an_intent_is_committed_when_intend_returns_and_the_outcome_when_conclude_does(log, control_dsn):
    (token,) = await log.intend([intent(1, destructive=True)])
    assert kinds(stored(control_dsn)) == [("intent", "Namespace/t-00000001", None)]
    await log.conclude([Outcome(token, "failed", "QuotaNotEnforced")])
    begun, ended = stored(control_dsn)
    assert (ended.kind, ended.result, ended.reason) == ("outcome", "failed", "QuotaNotEnforced")
    assert (begun.step, begun.destructive, begun.tenant_id) == (ended.step, ended.destructive, ended.tenant_id)
    assert verify([begun, ended]).intact
    assert log.head() == Head(ended.writer, 2, ended.hash)


async def test_two_thousand_concurrent_intents_cost_a_few_transactions(log, control_dsn):
    await asyncio.gather(*(log.intend([intent(number)]) for number in range(2000)))
    with psycopg.connect(control_dsn) as connection:
        counted = "SELECT count(*), count(DISTINCT xmin::text) FROM paybill.audit_log"
        rows, transactions = connection.execute(counted).fetchone()
    assert rows == 2000
    assert transactions <= 5


async def test_the_steps_of_one_call_stand_together_and_in_order(log, control_dsn):
    calls = await asyncio.gather(*(log.intend([intent(10 * n + m) for m in range(3)]) for n in range(50)))
    written = [row.step for row in stored(control_dsn)]
    for tokens in calls:
        first = written.index(tokens[0].step)
        assert written[first : first + 3] == steps(tokens)


async def test_a_call_larger_than_a_batch_is_still_one_transaction(log, control_dsn):
    await log.intend([intent(number) for number in range(2500)])
    with psycopg.connect(control_dsn) as connection:
        assert connection.execute("SELECT count(DISTINCT xmin::text) FROM paybill.audit_log").fetchone() == (1,)
    assert verify(stored(control_dsn)).intact


async def test_nothing_to_do_writes_nothing(log, control_dsn):
    assert await log.intend([]) == ()
    await log.conclude([])
    assert stored(control_dsn) == []


async def test_writers_side_by_side_keep_chains_of_their_own(db, epoch, control_dsn):
    logs = [AuditLog(db.pool, epoch=epoch) for _ in range(3)]

    async def step(log: AuditLog, number: int) -> None:
        (token,) = await log.intend([intent(number)])
        await log.conclude([Outcome(token)])

    await asyncio.gather(*(step(logs[number % 3], number) for number in range(90)))
    report = verify(stored(control_dsn), [log.head() for log in logs])
    assert (report.intact, report.rows, len(report.heads), report.unfinished) == (True, 180, 3, ())
    await asyncio.gather(*(log.close() for log in logs))


async def test_a_replaced_leader_can_log_neither_intent_nor_outcome(log, db, control_dsn):
    (token,) = await log.intend([intent(1)])
    await take_epoch(db)
    for attempt in (log.intend([intent(2)]), log.conclude([Outcome(token)]), log.intend([intent(3)])):
        with pytest.raises(Blocked) as failure:
            await attempt
        assert failure.value.reason == "EpochLost"
    assert kinds(stored(control_dsn)) == [("intent", "Namespace/t-00000001", None)]


async def test_without_the_fence_the_replaced_leader_would_log(log, db, control_dsn, monkeypatch):
    (token,) = await log.intend([intent(1)])
    await take_epoch(db)

    monkeypatch.setattr("paybill.audit.store.outdated", lambda *_: False)
    await log.conclude([Outcome(token)])
    assert len(stored(control_dsn)) == 2


async def test_outcomes_that_nobody_waits_for_go_with_the_next_intents(log, control_dsn):
    tokens = await log.intend([intent(1), intent(2)])
    log.note([Outcome(token) for token in tokens])
    await log.intend([intent(3)])
    assert [row.kind for row in stored(control_dsn)] == ["intent", "intent", "outcome", "outcome", "intent"]


async def test_outcomes_that_nobody_waits_for_are_written_without_company_too(log, control_dsn):
    (token,) = await log.intend([intent(1)])
    log.note([Outcome(token)])
    async with asyncio.timeout(5):
        while verify(stored(control_dsn)).unfinished:
            await asyncio.sleep(0)


async def test_closing_writes_what_lingers(log, control_dsn):
    (token,) = await log.intend([intent(1)])
    log.note([Outcome(token)])
    await log.close()
    assert verify(stored(control_dsn)).unfinished == ()


async def test_a_step_is_concluded_once(log, control_dsn):
    first, second = await log.intend([intent(1), intent(2)])
    with pytest.raises(Invalid):
        await log.conclude([Outcome(first), Outcome(first)])
    await log.conclude([Outcome(first)])
    with pytest.raises(Invalid):
        await log.conclude([Outcome(first)])
    await log.conclude([Outcome(second)])
    assert verify(stored(control_dsn)).unfinished == ()


async def test_an_intent_whose_caller_has_gone_is_not_left_unfinished(log, db, control_dsn):
    await log.intend([intent(0)])
    waiting = asyncio.create_task(log.intend([intent(1)]))
    with psycopg.connect(control_dsn) as holder:
        holder.execute("LOCK TABLE paybill.audit_log IN EXCLUSIVE MODE")
        waiting = [waiting, asyncio.create_task(log.intend([intent(2)]))]
        await until_waiting(db, 1)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        holder.rollback()
    (token,) = await log.intend([intent(3)])
    await log.conclude([Outcome(token)])
    report = verify(stored(control_dsn))
    assert [row.object for row in report.unfinished] == ["Namespace/t-00000000"]
    assert ("outcome", "Namespace/t-00000001", "abandoned") in kinds(stored(control_dsn))


async def test_destructive_actions_are_told_by_tenant_cell_and_time_with_when_each_was_first_begun(log):
    before = datetime.now(UTC)
    suspend = {"action": "subscription.suspend", "destructive": True}
    await log.intend([intent(1, **suspend), intent(1, **suspend), intent(2, **suspend)])
    await log.intend([intent(3, **suspend, cell="us")])
    await log.intend([intent(4, action="database.drop", destructive=True), intent(5, action="subscription.suspend")])
    between = datetime.now(UTC)
    await log.intend([intent(1, **suspend)])
    begun = await log.begun("subscription.suspend", "eu", before)
    assert set(begun) == {intent(1).tenant_id, intent(2).tenant_id}
    assert all(before <= time <= between for time in begun.values())
    assert set(await log.begun("subscription.suspend", "us", before)) == {intent(3).tenant_id}
    everywhere = {intent(number).tenant_id for number in (1, 2, 3)}
    assert set(await log.begun("subscription.suspend", None, before)) == everywhere
    assert await log.begun("subscription.suspend", "eu", datetime.now(UTC) + timedelta(seconds=1)) == {}


async def test_that_uses_its_index(log, control_dsn):
    await log.intend([intent(n, action="database.drop", destructive=n % 50 == 0) for n in range(3000)])
    with psycopg.connect(control_dsn, autocommit=True) as connection:
        connection.execute("ANALYZE paybill.audit_log")
        plan = connection.execute(
            "EXPLAIN SELECT coalesce(tenant_id, object), min(time) FROM paybill.audit_log"
            " WHERE destructive AND kind = 'intent' AND action = 'database.drop' AND cell = 'eu'"
            " AND time >= now() - interval '1 hour' GROUP BY coalesce(tenant_id, object)"
        ).fetchall()
    assert any("audit_log_destructive" in line for (line,) in plan)


async def test_heads_are_published_outside_the_database(log, caplog):
    caplog.set_level(logging.INFO, "paybill.audit.head")
    await log.intend([intent(0)])
    await log.intend([intent(number) for number in range(1500)])
    await log.intend([intent(1)])
    await log.close()
    published = [Head.parse(record.message.removeprefix("audit head ")) for record in caplog.records]
    assert [head.n for head in published] == [1, 1501, 1502]
    assert published[-1] == log.head()


@pytest.mark.parametrize("statement", ["UPDATE {} SET cause = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("mode", ["origin", "replica"])
async def test_the_table_is_append_only_unless_the_trigger_is_gone(log, control_dsn, statement, mode):
    await log.intend([intent(1)])
    statement = statement.format("paybill.audit_log")
    with psycopg.connect(control_dsn, autocommit=True) as connection:
        connection.execute(f"SET session_replication_role = {mode}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
        connection.execute("DROP TRIGGER audit_log_append_only ON paybill.audit_log")
        connection.execute(statement)
    assert not [row for row in stored(control_dsn) if row.cause == "Tenant/acme generation 3"]


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "Apply the namespace"},
        {"action": "apply"},
        {"object": "Namespace/a\x00b"},
        {"object": ""},
        {"object": "x" * 513},
        {"cause": "line\nbreak"},
        {"cause": "\ud800"},
        {"tenant_id": "\x00"},
        {"inputs_digest": "password=hunter2 x"},
    ],
)
def test_what_the_log_must_not_hold_is_refused_at_the_door(changes):
    with pytest.raises(Invalid):
        intent(**changes)


async def test_an_error_text_is_no_outcome(log):
    (token,) = await log.intend([intent(1)])
    for text in ("connection to u:hunter2@h failed", "", "x" * 65):
        with pytest.raises(Invalid):
            Outcome(token, "failed", text)
    await log.conclude([Outcome(token)])
