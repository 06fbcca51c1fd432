"""The database away: no step begins, what was begun is finished and told later, once and in order."""

import asyncio
import os
import signal
from urllib.parse import urlsplit

import psycopg
import pytest

from paybill.api.failures import Retry
from paybill.audit import AuditLog, Outcome, verify
from paybill.control import ControlDatabase, take_epoch
from tests.audit.rows import intent, kinds, stored, tampered
from tests.control.postgres import ThrowAwayPostgres
from tests.control.wire import Wire


@pytest.fixture
def server():
    server = ThrowAwayPostgres(fsync=True)
    yield server
    server.remove()


@pytest.fixture
async def away(server):
    db = await ControlDatabase.open(server.dsn("postgres"), application_name="test")
    await db.migrate()
    log = AuditLog(db.pool, epoch=await take_epoch(db))
    yield server, log
    await log.close()
    await db.close()


async def intend_when_possible(log: AuditLog, *entries):
    async with asyncio.timeout(40):
        while True:
            try:
                return await log.intend(entries)
            except Retry as failure:
                await asyncio.sleep(min(failure.after or 0.05, 0.5))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
async def test_outcomes_wait_for_the_database_and_land_in_order_before_new_steps(away, how):
    server, log = away
    tokens = await log.intend([intent(number) for number in range(5)])
    server.stop(how=how)
    with pytest.raises(Retry) as failure:
        await log.intend([intent(9)])
    assert failure.value.reason == "AuditUnavailable"
    async with asyncio.timeout(30):
        for token in tokens:
            await log.conclude([Outcome(token)])
    server.start()
    (later,) = await intend_when_possible(log, intent(6))
    await log.conclude([Outcome(later)])
    rows = stored(server.dsn("postgres"))
    assert [row.step for row in rows[5:]] == [*(token.step for token in tokens), later.step, later.step]
    report = verify(rows, [log.head()])
    assert (report.intact, report.unfinished) == (True, ())


async def test_while_it_is_away_steps_are_refused_at_once(away):
    server, log = away
    await log.intend([intent(0)])
    server.stop()
    refused = await asyncio.gather(*(log.intend([intent(number)]) for number in range(200)), return_exceptions=True)
    assert all(isinstance(failure, Retry) and failure.reason == "AuditUnavailable" for failure in refused)
    server.start()


async def test_a_database_that_says_nothing_counts_as_away(away, monkeypatch):
    server, log = away
    (token,) = await log.intend([intent(0)])
    monkeypatch.setattr("paybill.audit.writer.LONGEST_COMMIT", 0.5)
    frozen = backends(server)
    for pid in frozen:
        signal_process(pid, signal.SIGSTOP)
    try:
        with pytest.raises(Retry, match="AuditUnavailable"):
            async with asyncio.timeout(30):
                await log.intend([intent(1)])
        await log.conclude([Outcome(token)])
    finally:
        for pid in frozen:
            signal_process(pid, signal.SIGCONT)
    monkeypatch.setattr("paybill.audit.writer.LONGEST_COMMIT", 20.0)
    await intend_when_possible(log, intent(2))
    report = verify(stored(server.dsn("postgres")))
    assert report.intact
    assert "Namespace/t-00000000" not in {row.object for row in report.unfinished}


def backends(server: ThrowAwayPostgres) -> list[int]:
    with psycopg.connect(server.dsn("postgres")) as connection:
        sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = 'test'"
        return [pid for (pid,) in connection.execute(sessions).fetchall()]


def signal_process(pid: int, number: int) -> None:
    os.kill(pid, number)


async def test_the_spool_is_bounded(away, monkeypatch):
    server, log = away
    monkeypatch.setattr("paybill.audit.log.SPOOL", 3)
    tokens = await log.intend([intent(number) for number in range(4)])
    server.stop()
    for token in tokens[:3]:
        await log.conclude([Outcome(token)])
    with pytest.raises(Retry, match="outcomes of 3 calls wait"):
        await log.conclude([Outcome(tokens[3])])
    server.start()
    await intend_when_possible(log, intent(7))
    await log.conclude([Outcome(tokens[3])])
    assert verify(stored(server.dsn("postgres"))).intact


async def test_closing_while_it_is_away_ends_in_time_and_says_what_is_lost(away, caplog):
    server, log = away
    (token,) = await log.intend([intent(0)])
    server.stop()
    await log.conclude([Outcome(token)])
    async with asyncio.timeout(20):
        await log.close(patience=0.2)
    assert "1 rows unwritten" in caplog.text


@pytest.fixture
async def cut(control_dsn, db, epoch):
    """A log whose wire to the database can be cut."""
    wire = Wire(urlsplit(control_dsn).port)
    port = await wire.open()
    behind = await ControlDatabase.open(
        control_dsn.replace(f":{urlsplit(control_dsn).port}/", f":{port}/"), application_name="behind"
    )
    log = AuditLog(behind.pool, epoch=epoch)
    yield wire, log
    await log.close()
    await behind.close()
    await wire.close()


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_outcome_whose_commit_was_not_answered_is_logged_exactly_once(cut, control_dsn, moment):
    wire, log = cut
    (token,) = await log.intend([intent(1)])
    wire.cut = moment
    await log.conclude([Outcome(token)])
    assert wire.cuts == 1
    await intend_when_possible(log, intent(2))
    assert kinds(stored(control_dsn)) == [
        ("intent", "Namespace/t-00000001", None),
        ("outcome", "Namespace/t-00000001", "ok"),
        ("intent", "Namespace/t-00000002", None),
    ]
    assert verify(stored(control_dsn), [log.head()]).intact


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_refused_intent_that_landed_after_all_is_concluded_as_abandoned(cut, control_dsn, moment):
    wire, log = cut
    wire.cut = moment
    with pytest.raises(Retry):
        await log.intend([intent(1)])
    (token,) = await intend_when_possible(log, intent(2))
    await log.conclude([Outcome(token)])
    landed = [row for row in kinds(stored(control_dsn)) if row[1] == "Namespace/t-00000001"]
    expected = [("intent", "Namespace/t-00000001", None), ("outcome", "Namespace/t-00000001", "abandoned")]
    assert landed == ([] if moment == "before" else expected)
    report = verify(stored(control_dsn), [log.head()])
    assert (report.intact, report.unfinished) == (True, ())


async def test_a_database_that_lost_the_end_of_the_chain_gets_a_new_chain_and_verification_tells(cut, control_dsn):
    wire, log = cut
    await log.intend([intent(0)])
    await log.intend([intent(1)])
    before = log.head()
    tampered(control_dsn, "DELETE FROM paybill.audit_log WHERE n = 2")
    wire.cut = "before"
    with pytest.raises(Retry):
        await log.intend([intent(2)])
    await intend_when_possible(log, intent(3))
    assert log.head().writer != before.writer
    assert verify(stored(control_dsn)).intact
    assert [p.kind for p in verify(stored(control_dsn), [before]).problems] == ["HeadMissing"]
