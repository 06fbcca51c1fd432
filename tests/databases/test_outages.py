"""A server that gives no sessions, or no answers: one finds out for all, nobody waits long, and it is over at once."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar

import psycopg
import pytest

from paybill.api.failures import Blocked, Retry
from paybill.databases import places
from paybill.databases.server import Limits, Server
from paybill.postgres import PatientConnection
from tests.cluster.outages import Sick

IN_FLIGHT = 3


class Counted(PatientConnection):  # type: ignore[type-arg]
    """The sessions of a server, whose attempts to open are counted and whose patience is short."""

    patience = 3.0
    attempts = 0
    most = 0
    made: ClassVar[weakref.WeakSet[Counted]] = weakref.WeakSet()

    @classmethod
    async def connect(cls, *args, **options):
        Counted.attempts += 1
        session = await super().connect(*args, **options)
        Counted.made.add(session)
        Counted.most = max(Counted.most, sum(not one.closed for one in Counted.made))
        return session


@pytest.fixture(scope="module")
def sick() -> Iterator[Sick]:
    server = Sick()
    yield server
    server.remove()


@pytest.fixture
async def server(sick: Sick, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(places, "PATIENCE", 0.5)
    limits = Limits(in_flight=IN_FLIGHT, connect=2)
    server = await Server.connect(sick.dsn(), name="pool-1", installation="test", limits=limits, connection=Counted)
    Counted.attempts = 0
    yield server
    await server.close()


async def ask(server: Server, statement: str = "SELECT 1", database: str = "postgres") -> None:
    async with server.session(database) as session:
        await session.execute(statement)


async def reasons(server: Server, number: int) -> list[str]:
    """What so many tenants are told that ask at the same time."""
    results = await asyncio.gather(*(ask(server) for _ in range(number)), return_exceptions=True)
    return ["ok" if result is None else getattr(result, "reason", repr(result)) for result in results]


async def well_again(server: Server) -> None:
    """It is used again, within the longest pause that a short outage can have led to."""
    async with asyncio.timeout(10):
        while await reasons(server, 1) != ["ok"]:
            await asyncio.sleep(0.05)


async def test_a_thousand_tenants_do_not_each_find_out_for_themselves(server: Server, sick: Sick) -> None:
    with sick.down():
        ends = time.monotonic() + 3.0
        told = 0
        while time.monotonic() < ends:
            said = set(await reasons(server, 1_000))
            # On a slow machine one of the first may give up waiting before the server is known to be down.
            assert "DatabaseUnreachable" in said <= {"DatabaseUnreachable", "DatabaseBusy"}
            told += 1_000
        assert told >= 3_000
        assert Counted.attempts <= IN_FLIGHT + 3, "the first ones, and a probe after each pause"
    await well_again(server)
    assert set(await reasons(server, 100)) == {"ok"}


async def test_without_the_pause_each_of_them_would_try(server: Server, sick: Sick) -> None:
    with sick.down():
        for _ in range(50):
            with pytest.raises(psycopg.OperationalError):
                await server._open("postgres")
        assert Counted.attempts == 50
    await well_again(server)


async def test_out_of_connections_is_busy(server: Server, sick: Sick) -> None:
    with sick.out_of_connections():
        assert set(await reasons(server, 100)) == {"DatabaseBusy"}
        assert Counted.attempts <= IN_FLIGHT
    await well_again(server)


async def test_a_frozen_server_costs_nobody_more_than_the_patience(server: Server, sick: Sick) -> None:
    """Its sockets are open and nothing comes: the idle session is asked, the new one does not come."""
    await asyncio.sleep(0.6)  # idle for longer than PATIENCE
    with sick.frozen():
        began = time.monotonic()
        assert set(await reasons(server, 200)) <= {"DatabaseUnreachable", "DatabaseBusy"}
        assert time.monotonic() - began < 8.0
        began = time.monotonic()
        assert set(await reasons(server, 200)) <= {"DatabaseUnreachable", "DatabaseBusy"}
        assert time.monotonic() - began < 3.0, "by now it is known"
    await well_again(server)


async def test_while_all_places_get_no_answers_others_are_told_at_once(server: Server) -> None:
    slow = [asyncio.create_task(ask(server, "SELECT pg_sleep(2)")) for _ in range(IN_FLIGHT)]
    await asyncio.sleep(0.7)
    began = time.monotonic()
    assert set(await reasons(server, 500)) == {"DatabaseBusy"}
    assert time.monotonic() - began < 0.5
    await asyncio.gather(*slow)
    assert await reasons(server, 1) == ["ok"]


async def test_a_place_is_waited_for_while_work_goes_on(server: Server) -> None:
    assert set(await reasons(server, 200)) == {"ok"}


async def test_there_are_never_more_sessions_than_agreed_in_whichever_databases(server: Server, sick: Sick) -> None:
    databases = ["postgres"]
    for number in range(4):
        if not sick.run("SELECT 1 FROM pg_database WHERE datname = %s", values=[f"db{number}"]):
            sick.run(f"CREATE DATABASE db{number}")
        databases.append(f"db{number}")
    Counted.most = 0
    for _ in range(5):
        work = [ask(server, "SELECT pg_sleep(0.02)", database) for database in databases for _ in range(4)]
        await asyncio.gather(*work)
    assert Counted.most == IN_FLIGHT


async def test_a_full_disk_is_said_and_over_when_there_is_room(server: Server, sick: Sick) -> None:
    with sick.full_disk():
        with pytest.raises(Retry) as failure:
            await ask(server, "CREATE TABLE public.big AS SELECT md5(i::text) FROM generate_series(1, 20000) i")
        assert failure.value.reason == "DatabaseFull"
    await well_again(server)


async def test_a_standby_is_said(server: Server, sick: Sick) -> None:
    with sick.read_only():
        await well_again(server)
        with pytest.raises(Retry) as failure:
            await ask(server, "CREATE ROLE somebody")
        assert failure.value.reason == "DatabaseReadOnly"
    await well_again(server)


async def test_a_login_that_is_refused_is_not_tried_by_everybody(server: Server, sick: Sick) -> None:
    hba = sick.server.data / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text("host all all 127.0.0.1/32 reject\n")
    try:
        assert sick.server.process is not None
        sick.server.process.send_signal(1)  # SIGHUP: read it again
        sick.line._run(sick.line.wire.hang_up())
        async with asyncio.timeout(5):
            while "DatabaseAccessDenied" not in await reasons(server, 1):
                await asyncio.sleep(0.05)
        Counted.attempts = 0
        results = await asyncio.gather(*(ask(server) for _ in range(300)), return_exceptions=True)
        assert all(isinstance(result, Blocked) for result in results)
        assert Counted.attempts <= 1
    finally:
        hba.write_text(before)
        sick.server.process.send_signal(1)
    await well_again(server)


async def test_sessions_that_nobody_uses_are_closed_and_those_in_use_are_not(sick: Sick) -> None:
    limits = Limits(in_flight=IN_FLIGHT, idle=0.3)
    server = await Server.connect(sick.dsn(), name="pool-1", installation="test", limits=limits, connection=Counted)

    try:
        async with server.session() as used, asyncio.timeout(10):
            await asyncio.gather(ask(server), ask(server))
            while sum(not one.closed for one in Counted.made) > 1:
                await asyncio.sleep(0.02)
            assert not used.closed
        async with asyncio.timeout(10):
            while not used.closed:
                await asyncio.sleep(0.02)
        assert await reasons(server, 10) == ["ok"] * 10
    finally:
        await server.close()
