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
from tests.databases.tenancy import Tenant

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
