"""An operator that was replaced changes nothing on a tenants' server, whatever it was in the middle of."""

import asyncio
from dataclasses import replace
from functools import partial

import psycopg
import pytest

from paybill.api.failures import Blocked
from paybill.databases.drop import drop
from paybill.databases.leader import announce, hold
from paybill.databases.server import Server
from paybill.databases.tenants import ensure

NEWEST = "SELECT epoch FROM paybill.leader"


@pytest.fixture
async def successor(at):
    """The administrator's sessions of the process that leads next."""
    server = await Server.connect(at.admin_dsn, name="pool-1", installation="test-installation")
    yield server
    await server.close()


async def epochs(server, where) -> tuple[int, int]:
    """Announce the next epoch as this server's leader; returns it and the one after it."""
    first = await announce(server, where, 1)
    if server.epoch is None:
        await announce(server, where, first + 1)
    return server.epoch, server.epoch + 1


def refused():
    return pytest.raises(Blocked, match="no longer leads")


async def test_what_a_replaced_leader_sends_is_refused_and_without_the_epoch_it_would_act(acme, successor):
    _, following = await epochs(acme.server, acme.pool)
    await acme.ensure()
    await announce(successor, acme.pool, following)

    with refused():
        await acme.ensure(access="None")
    assert acme.sql("SELECT 1") == [(1,)]

    acme.server.epoch = None
    await acme.ensure(access="None")
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        acme.sql("SELECT 1")


async def test_a_replaced_leader_makes_no_tenant(acme, successor):
    _, following = await epochs(acme.server, acme.pool)
    await announce(successor, acme.pool, following)
    wanted = replace(acme.desired, id="zzzz9999")

    for fresh in (True, False):
        with refused():
            await ensure(acme.server, acme.pool, wanted, expect_absent=fresh)
    assert acme.at.run("SELECT 1 FROM pg_roles WHERE rolname LIKE 'pb_zzzz9999%%'", acme.pool.name) == []


async def test_a_replaced_leader_drops_nothing_and_without_the_epoch_it_would(acme, successor):
    _, following = await epochs(acme.server, acme.pool)
    await announce(successor, acme.pool, following)
    acme.sql("INSERT INTO notes VALUES (1, 'kept')")
    fence = partial(hold, acme.server)

    with refused():
        await drop(acme.server, acme.pool, acme.id, acme.desired.uid, fence=fence)
    assert acme.sql("SELECT body FROM notes") == [("kept",)]

    acme.server.epoch = None
    await drop(acme.server, acme.pool, acme.id, acme.desired.uid, fence=fence)
    assert acme.at.run("SELECT 1 FROM pg_namespace WHERE nspname = %s", acme.pool.name, [acme.schema]) == []


async def test_the_next_leader_waits_for_what_was_begun_under_the_last_one(acme, successor):
    _, following = await epochs(acme.server, acme.pool)
    async with acme.server.session(acme.pool.name) as session:
        async with session.transaction():
            await hold(acme.server, session)
            announcing = asyncio.create_task(announce(successor, acme.pool, following))
            done, _ = await asyncio.wait({announcing}, timeout=0.5)
            assert not done
        assert await announcing == following


async def test_an_older_epoch_takes_nothing_from_a_newer_one(acme, successor):
    mine, following = await epochs(acme.server, acme.pool)
    await announce(successor, acme.pool, following)

    assert await announce(acme.server, acme.pool, mine) == following
    assert acme.at.run(NEWEST, acme.pool.name) == [(following,)]
    with refused():
        await acme.ensure(connections=12)


@pytest.mark.parametrize(
    "attack",
    [
        "SELECT * FROM paybill.leader",
        "UPDATE paybill.leader SET epoch = 9223372036854775807",
        "SELECT * FROM paybill.leader FOR SHARE",
        "BEGIN; LOCK TABLE paybill.leader",
        "DROP TABLE paybill.leader",
    ],
)
async def test_a_tenant_can_neither_see_nor_hold_nor_move_the_epoch(acme, red, attack):
    for tenant, login in ((acme, "app_a"), (acme, "mig_a"), (red, "app_a")):
        await epochs(tenant.server, tenant.pool)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            tenant.sql(attack, login)


@pytest.mark.parametrize("attack", ["SELECT * FROM paybill.leader", "UPDATE paybill.leader SET epoch = epoch"])
async def test_with_the_table_granted_the_same_attack_succeeds(at, acme, attack):
    await epochs(acme.server, acme.pool)
    role = acme.login("app_a")
    at.run(f"GRANT USAGE ON SCHEMA paybill TO {role}; GRANT ALL ON paybill.leader TO {role}", acme.pool.name)
    try:
        acme.sql(attack)
    finally:
        at.run(f"REVOKE ALL ON paybill.leader FROM {role}; REVOKE ALL ON SCHEMA paybill FROM {role}", acme.pool.name)
