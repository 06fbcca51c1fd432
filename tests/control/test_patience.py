"""A server that keeps its connections and says nothing is given up, and a task that is told to end does end."""

import asyncio
import time
from urllib.parse import urlsplit

import psycopg
import pytest

from paybill.api.failures import Retry
from paybill.control import ControlDatabase, take_epoch
from paybill.postgres import PatientConnection
from tests.control.wire import Wire

FOR_EVER = 3600.0


class Impatient(PatientConnection):
    patience = 0.3


@pytest.fixture
async def wire(control_dsn):
    """A wire to the server; what is sent through it can be kept back."""
    wire = Wire(urlsplit(control_dsn).port)
    wire.port = await wire.open()
    yield wire
    await wire.close()


def through(wire, dsn):
    return dsn.replace(f":{urlsplit(dsn).port}/", f":{wire.port}/")


async def test_silence_is_an_error_and_the_connection_is_done_with(wire, control_dsn):
    session = await Impatient.connect(through(wire, control_dsn), autocommit=True)
    await session.execute("SELECT 1")
    wire.delay = FOR_EVER

    with pytest.raises(psycopg.OperationalError, match=r"no answer within 0\.3 s"):
        await session.execute("SELECT 1")

    assert session.closed
    with pytest.raises(psycopg.OperationalError):
        await session.execute("SELECT 1")


async def test_the_registry_says_so_and_works_again_when_the_server_does(db, wire, control_dsn):
    behind = await ControlDatabase.open(through(wire, control_dsn), application_name="behind", connection=Impatient)
    first = await take_epoch(behind)
    wire.delay = FOR_EVER

    with pytest.raises(Retry) as failure:
        await take_epoch(behind)

    assert failure.value.reason == "ControlDatabaseUnreachable"
    wire.delay = 0.0
    async with asyncio.timeout(20):
        while True:
            try:
                assert await take_epoch(behind) > first
                break
            except Retry:
                await asyncio.sleep(0.05)
    await behind.close()


async def test_what_is_known_to_take_long_may(control_dsn):
    session = await Impatient.connect(control_dsn, autocommit=True)
    with session.patiently(10):
        await session.execute("SELECT pg_sleep(0.5)")
    with pytest.raises(psycopg.OperationalError):
        await session.execute("SELECT pg_sleep(5)")


@pytest.mark.exhaustive
async def test_a_task_that_is_told_to_end_while_its_server_is_silent_ends(db, wire, control_dsn):
    """psycopg gives such a connection up; the end of the transaction then must not take the place of the end."""
    behind = await ControlDatabase.open(through(wire, control_dsn), application_name="behind")

    async def work():
        async with behind.transaction() as connection:
            wire.delay = FOR_EVER
            await connection.execute("SELECT 1")

    task = asyncio.create_task(work())
    await until(lambda: wire.delay)
    await asyncio.sleep(0.1)  # it waits for the answer now
    began = time.monotonic()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert time.monotonic() - began < 30
    await behind.close()


async def until(look):
    async with asyncio.timeout(10):
        while not look():
            await asyncio.sleep(0.01)
