"""The control database away: one finds out for everybody, it is said once, and whoever waits is woken afterwards."""

import asyncio
import time

import pytest

from paybill.api.failures import Retry
from paybill.control import ControlDatabase
from tests.control.postgres import ThrowAwayPostgres


@pytest.fixture(scope="module")
def server():
    server = ThrowAwayPostgres()
    yield server
    server.remove()


@pytest.fixture
async def database(server):
    if server.process is None:
        server.start()
    database = await ControlDatabase.open(server.dsn("postgres"), application_name="test")
    yield database
    await database.close()


async def run(database: ControlDatabase, *statements: str) -> None:
    async with database.transaction() as connection:
        for statement in statements:
            await connection.execute(statement)


async def ask(database: ControlDatabase) -> str:
    try:
        await run(database, "SELECT 1")
    except Retry as failure:
        return failure.reason
    return "ok"


async def found_away(database: ControlDatabase) -> None:
    async with asyncio.timeout(20):
        while not database.away:
            await ask(database)


async def test_while_it_is_away_everybody_is_told_at_once(server, database):
    server.stop()
    await found_away(database)
    began = time.monotonic()
    told = await asyncio.gather(*(ask(database) for _ in range(1_000)))
    assert set(told) == {"ControlDatabaseUnreachable"}
    assert time.monotonic() - began < 5.0, "one of them at most waits for a session"


async def test_whoever_waits_is_woken_when_it_is_back(server, database, caplog):
    woken = []
    database.came_back = lambda: woken.append(True)
    server.stop()
    await found_away(database)
    server.start()
    async with asyncio.timeout(20):
        while database.away:
            await ask(database)
            await asyncio.sleep(0.05)
    assert woken == [True]
    said = [record.message for record in caplog.records if record.name == "paybill.control.database"]
    assert len(said) == 2, said


async def test_a_restart_that_nobody_noticed_is_no_failure(server, database):
    """The sessions that the pool holds are dead then, and none of them is given to anybody."""
    assert set(await asyncio.gather(*(ask(database) for _ in range(20)))) == {"ok"}
    server.stop()
    server.start()
    assert set(await asyncio.gather(*(ask(database) for _ in range(20)))) == {"ok"}


async def test_an_error_of_one_statement_is_not_the_servers(server, database):
    for _ in range(5):
        with pytest.raises(Retry, match="statement timeout"):
            await run(database, "SET LOCAL statement_timeout = '10ms'", "SELECT pg_sleep(1)")
        assert not database.away
