"""What a login overrides, the watchdog ends; with the watchdog off it goes on. On both profiles, Postgres 18 and 15."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from paybill.isolation.watchdog import Bounds, Watchdog
from paybill.lifecycle.watchdog import Limits
from tests.cluster.waiting import until
from tests.databases.servers import kinds
from tests.databases.tenancy import Tenant, quick_verifier

CORNERS = pytest.mark.parametrize("at", [kinds()[0], kinds()[-1]], indirect=True, ids=["first", "last"])
"""Two servers stand for all where it is about the decision: a superuser on 18, a cloud's administrator on 15."""
BOUNDS = Bounds(lock_wait=0.2, grace=0.0)
TIGHT = Limits(statement=-0.9, transaction=60.0, idle_in_transaction=-0.9)
"""With the slack a tenth of a second each: nobody waits for real limits here."""
SLEEP = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SELECT pg_sleep(600)"
STUBBORN = """
DO $$ BEGIN
  LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;
END $$"""


@dataclass
class Run:
    """A statement of a tenant that is at work; ``error`` is what it ended with."""

    session: psycopg.Connection
    thread: threading.Thread
    ended: list[psycopg.Error | None]

    @property
    def pid(self) -> int:
        return self.session.info.backend_pid

    def over(self) -> bool:
        return bool(self.ended)


@contextlib.contextmanager
def running(tenant: Tenant, statement: str, suffix: str = "app_a") -> Iterator[Run]:
    ended: list[psycopg.Error | None] = []

    def work() -> None:
        try:
            session.execute(statement)
            ended.append(None)
        except psycopg.Error as error:
            ended.append(error)

    with contextlib.closing(tenant.connect(suffix)) as session:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield Run(session, thread, ended)
        finally:
            tenant.at.run("SELECT pg_terminate_backend(%s)", values=[session.info.backend_pid])
            thread.join(20)


@pytest.fixture
def watchdog(server, schemas):
    return Watchdog(server=server, database=schemas.name)


def only(tenant: Tenant, limits: Limits):
    return lambda one: limits if one == tenant.id else None


async def found(watchdog: Watchdog, tenant: Tenant, limits: Limits, bounds: Bounds = BOUNDS):
    async def look():
        return await watchdog.look(only(tenant, limits), bounds)

    return (await until(look))[0]


async def test_a_statement_without_a_timeout_is_cancelled_and_goes_on_where_nobody_looks(watchdog, acme):
    with running(acme, SLEEP) as run:
        breach = await found(watchdog, acme, TIGHT)
        assert (breach.rule, breach.deed, breach.session.login) == ("StatementTooLong", "Cancel", acme.login("app_a"))
        assert not run.over(), "a look alone ends nothing"

        assert await watchdog.end(breach, TIGHT, BOUNDS)

        await until(run.over)
        assert isinstance(run.ended[0], psycopg.errors.QueryCanceled)
        assert not await watchdog.end(breach, TIGHT, BOUNDS), "it is within its limits by now"


@CORNERS
async def test_who_catches_a_cancel_is_ended_after_the_grace(watchdog, acme):
    with running(acme, "SET statement_timeout = 0;" + STUBBORN) as run:
        breach = await found(watchdog, acme, TIGHT)
        assert await watchdog.end(breach, TIGHT, BOUNDS)
        patient = Bounds(lock_wait=0.2, grace=600.0)
        assert await watchdog.look(only(acme, TIGHT), patient) == (), "it is given its time"

        breach = await found(watchdog, acme, TIGHT)
        assert breach.deed == "Terminate"
        assert await watchdog.end(breach, TIGHT, BOUNDS)

        await until(run.over)
        assert run.session.broken


async def test_a_lock_on_a_shared_table_is_taken_away(server, rows, red, blue):
    watchdog, limits = Watchdog(server=server, database=rows.name), Limits(shares_tables=True)
    with contextlib.closing(red.connect()) as session:
        session.execute("SET idle_in_transaction_session_timeout = 0; BEGIN; LOCK app.customers IN EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.LockNotAvailable):  # with the watchdog off
            blue.sql("SET lock_timeout = '200ms'; UPDATE customers SET email = 'new'")
        assert await watchdog.look(only(red, limits), BOUNDS) == (), "it keeps nobody waiting now"
        with running(blue, "UPDATE customers SET email = 'new'") as waiting:
            breach = await found(watchdog, red, limits)
            assert (breach.rule, breach.deed) == ("LocksSharedTable", "Terminate")
            assert await watchdog.look(only(blue, limits), BOUNDS) == (), "who waits is not to blame"

            assert await watchdog.end(breach, limits, BOUNDS)

            await until(waiting.over)
            assert waiting.ended == [None]
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")


@CORNERS
async def test_who_waits_with_a_statement_for_a_whole_table_is_cancelled_and_not_who_has_a_row(server, rows, red, blue):
    """LOCK TABLE that waits for a neighbour's row lets nobody else in: the neighbour must not pay for it."""
    watchdog, limits = Watchdog(server=server, database=rows.name), Limits(shares_tables=True)
    with contextlib.closing(blue.connect()) as writer:
        writer.execute("BEGIN; UPDATE customers SET email = 'new'")
        with running(red, "BEGIN; LOCK TABLE app.customers IN ACCESS EXCLUSIVE MODE") as lock:
            await until(lambda: red.at.run("SELECT 1 FROM pg_locks WHERE NOT granted AND pid = %s", values=[lock.pid]))
            with running(blue, "SELECT * FROM customers") as third:
                breach = await found(watchdog, red, limits)
                assert (breach.session.pid, breach.deed) == (lock.pid, "Cancel")
                assert await watchdog.look(only(blue, limits), BOUNDS) == ()
                assert await watchdog.end(breach, limits, BOUNDS)
                await until(third.over)
                assert third.ended == [None]
        writer.execute("COMMIT")


@CORNERS
async def test_a_session_of_our_own_and_the_login_of_a_job_are_not_touched(watchdog, server, acme):
    hasty = Limits(statement=-9.0, transaction=-9.0, idle_in_transaction=-9.0)
    login = acme.login("mig_a")
    async with server.login(acme.pool.name, login, acme.passwords[login]) as ours, ours.transaction():
        await ours.execute("SELECT 1")
        assert await watchdog.look(only(acme, hasty), BOUNDS) == ()
        with running(acme, "BEGIN; SELECT pg_sleep(600)", "mig_a") as theirs:
            assert (await found(watchdog, acme, hasty)).session.pid == theirs.pid
    assert server.ours == set()


@CORNERS
async def test_idle_sessions_make_room_when_the_server_is_full(watchdog, acme, beta, monkeypatch):
    monkeypatch.setattr("paybill.isolation.watchdog.RESTED", -1.0)
    monkeypatch.setattr("paybill.lifecycle.watchdog.RESTED", -1.0)
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(contextlib.closing(acme.connect())) for _ in range(3)]
        few = stack.enter_context(contextlib.closing(beta.connect()))
        assert await watchdog.look(lambda _: Limits(), BOUNDS) == ()
        monkeypatch.setattr("paybill.isolation.watchdog.LEAST_RESERVE", 10_000)

        breaches = await watchdog.look(lambda one: Limits() if one in (acme.id, beta.id) else None, BOUNDS)

        assert [(one.rule, one.deed, one.session.tenant) for one in breaches] == [
            ("HoardsConnections", "Terminate", acme.id)
        ] * 2
        assert all([await watchdog.end(one, Limits(), BOUNDS) for one in breaches])
        await until(lambda: sum(_alive(one) for one in many) == 1)
        assert _alive(few)


def _alive(session: psycopg.Connection) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        session.execute("SELECT 1")
        return True
    return False


@pytest.mark.parametrize("at", [("Managed", 18)], indirect=True, ids=["Managed-18"])
async def test_what_a_managed_administrator_may_not_end_is_said(at, watchdog, acme, beta):
    at.run(f"REVOKE ADMIN OPTION FOR {acme.login('app_a')} FROM cloud")
    with running(acme, SLEEP), running(beta, SLEEP) as other:

        async def refused():
            await watchdog.look(lambda one: TIGHT if one in (acme.id, beta.id) else None, BOUNDS)
            return watchdog.refused

        assert await until(refused) == (acme.login("app_a"),)
        breach = await found(watchdog, beta, TIGHT)
        assert await watchdog.end(breach, TIGHT, BOUNDS), "one that cannot be looked at keeps nobody from the others"
        await until(other.over)

    at.run("GRANT pg_read_all_stats, pg_signal_backend TO cloud")
    try:
        with running(acme, SLEEP) as run:
            breach = await found(watchdog, acme, TIGHT)
            assert await watchdog.end(breach, TIGHT, BOUNDS)
            await until(run.over)
    finally:
        at.run("REVOKE pg_read_all_stats, pg_signal_backend FROM cloud")


@CORNERS
async def test_an_agents_login_is_held_to_its_tenants_limits(at, watchdog, acme):
    login = f"pba_{acme.id}_a_bot-1"
    at.run(f"CREATE ROLE \"{login}\" LOGIN PASSWORD '{quick_verifier('x')}' IN ROLE {acme.pool.name}")
    session = psycopg.connect(
        host="127.0.0.1", port=at.port, dbname=acme.pool.name, user=login, password="x", autocommit=True
    )
    with contextlib.closing(session):
        session.execute("BEGIN")
        breach = await found(watchdog, acme, TIGHT)
        assert (breach.rule, breach.session.login) == ("IdleInTransaction", login)
        assert await watchdog.end(breach, TIGHT, BOUNDS)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
