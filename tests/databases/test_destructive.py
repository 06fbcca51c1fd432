"""Attacks 31 to 47: each is denied, or detected and acted on; and goes through where what is against it is gone."""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from paybill.backups.programs import Login
from paybill.cli.main import main
from paybill.databases.server import Server
from paybill.isolation import climbing, overloads, undermining
from paybill.isolation.destructive import LEVELS, OPEN, destroy, ground, surprising
from tests.control.postgres import ThrowAwayPostgres
from tests.databases.servers import start

DETECTED = {31, 35, 36, 37, 38, 39, 40}
"""What goes through at some level, and is seen and acted on, or shows opaque ids only."""


@pytest.fixture(scope="module")
def elsewhere():
    process = ThrowAwayPostgres(wal_level="logical")
    yield process
    process.remove()


@pytest.fixture
async def servers(elsewhere):
    ours = await Server.connect(start("Superuser", 18).admin_dsn, name="one", installation="test-installation")
    other = await Server.connect(elsewhere.dsn("postgres"), name="two", installation="test-installation")
    yield ours, other
    await ours.close()
    await other.close()


@pytest.mark.parametrize("level", ["Rows", "Database"])  # the command tries all four
async def test_a_level(servers, level):
    results = await destroy(level, *servers)
    assert {one.number for one in results} == set(range(31, 48))
    assert [str(one) for one in results if surprising(one)] == []
    assert {(one.number, one.level) for one in results if one.result == "succeeded"} == {
        one for one in OPEN if one[1] == level
    }
    assert {one.number for one in results if one.result == "detected"} <= DETECTED
    assert all(one.evidence for one in results)


@contextlib.asynccontextmanager
async def superuser(canary):
    """What nobody should do: work on a tenant's tables as the administrator, with no path pinned."""
    dsn = f"host=127.0.0.1 port={canary.server.address()['port']} user=postgres dbname={canary.pool.name}"
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as session:
        yield session


async def counts_as_superuser(canary):
    async with superuser(canary) as session:
        await session.execute(f"SELECT count(*) FROM {canary.desired.schema}.bait WHERE id IS NOT NULL")


async def compares_unpinned(canary):
    async with superuser(canary) as session:
        await session.execute("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname::text = 'x'::text LIMIT 1")


@contextlib.asynccontextmanager
async def as_superuser(canary):
    """A database that a backup is restored into as the administrator."""
    async with canary.server.session() as admin:
        await admin.execute("DROP DATABASE IF EXISTS careless")
        await admin.execute("CREATE DATABASE careless")
    yield Login(canary.server.address(), "careless", "postgres", "")
    async with canary.server.session() as admin:
        await admin.execute("DROP DATABASE careless WITH (FORCE)")


async def nothing(_canary):
    """No look for drift."""


def by_hand(canary_ground):
    async def pasted(_desired, text):
        async with superuser(canary_ground.scene.attacker) as session:
            await session.execute(f'CREATE ROLE "pb_{text}_rw"; ROLLBACK'.encode())

    return pasted


SPOILED = {
    "33": "GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint), pg_try_advisory_lock(bigint) TO {a}, {b}",
    "34": "GRANT USAGE ON SEQUENCE pb_canary.customers_id_seq TO {a}",
    "35": "GRANT pg_read_all_stats TO {a}",
    "36": 'CREATE ROLE "acme-{id}"',
    "37": "ALTER ROLE {a} RESET temp_file_limit; ALTER ROLE {a} SET temp_file_limit = -1",
}
MENDED = {"36": 'DROP ROLE "acme-{id}"'}


def without(attempt, **missing):
    return lambda where: attempt(where, **missing)


def blind(attempt):
    return lambda where: attempt(replace(where, watchdog=None))


def spoiled(number, attempt):
    async def run(where):
        attacker, victim = where.scene.attacker, where.scene.victim
        names = {"a": attacker.login("app_a"), "b": victim.login("app_a"), "id": victim.id}
        at = start("Superuser", 18)
        at.run(SPOILED[number].format(**names), where.scene.pool.name)
        try:
            return await attempt(where)
        finally:
            at.run(MENDED.get(number, "SELECT 1").format(**names), where.scene.pool.name)

    return run


async def unmarked(where):
    victim = where.scene.victim
    at, mark = start("Superuser", 18), f"paybill:{victim.desired.installation}:"
    marked = [(f"ROLE pb_{victim.id}_{one}") for one in ("owner", "rw", "r", "app_a", "ro_a", "mig_a")]
    for what in (*marked, f"SCHEMA {victim.desired.schema}"):
        at.run(f"COMMENT ON {what} IS '{mark}somebody-else'", victim.pool.name)
    try:
        return await undermining.claim(where)
    finally:
        for what in (*marked, f"SCHEMA {victim.desired.schema}"):
            at.run(f"COMMENT ON {what} IS '{victim.desired.mark}'", victim.pool.name)


TWICE = {
    "31-without-watchdog": ("Rows", overloads.lock_table, blind(overloads.lock_table)),
    "33-open-functions": ("Schema", overloads.collide, spoiled("33", overloads.collide)),
    "34-granted-sequence": ("Rows", overloads.count_by_sequence, spoiled("34", overloads.count_by_sequence)),
    "35-shown-statements": ("Schema", overloads.look_at_activity, spoiled("35", overloads.look_at_activity)),
    "36-names-that-tell": ("Schema", overloads.list_names, spoiled("36", overloads.list_names)),
    "37-without-watchdog": ("Schema", overloads.burn, blind(overloads.burn)),
    "37-without-limit": ("Schema", overloads.spill, spoiled("37", overloads.spill)),
    "37-without-quota": ("Schema", undermining.fill, without(undermining.fill, limit=None)),
    "38-without-watchdog": ("Schema", overloads.hold_back_vacuum, blind(overloads.hold_back_vacuum)),
    "39-without-drift": ("Schema", undermining.collude, without(undermining.collude, healed=nothing)),
    "40-without-drift": ("Schema", undermining.change_password, without(undermining.change_password, healed=nothing)),
    "41-as-superuser": ("Schema", climbing.replace_table, without(climbing.replace_table, reads=counts_as_superuser)),
    "42-unpinned": (
        "Schema",
        climbing.replace_operator,
        without(climbing.replace_operator, reads=compares_unpinned),
    ),
    "43-open-target": ("Schema", climbing.wait_at_the_target, without(climbing.wait_at_the_target, closes=False)),
    "44-as-superuser": ("Schema", climbing.restore_trap, without(climbing.restore_trap, into=as_superuser)),
    "45-pasted": ("Schema", undermining.inject, lambda where: undermining.inject(where, named=by_hand(where))),
    "46-without-mark": ("Schema", undermining.claim, unmarked),
    "47-plain": ("Schema", climbing.command_in_a_dump, without(climbing.command_in_a_dump, form="--format=plain")),
}
IN_THE_GATE = {"31-without-watchdog", "41-as-superuser", "44-as-superuser"}


@pytest.mark.parametrize(
    "case", [pytest.param(one, marks=() if one in IN_THE_GATE else pytest.mark.exhaustive) for one in TWICE]
)
async def test_it_goes_through_where_the_one_thing_against_it_is_gone(servers, monkeypatch, case):
    monkeypatch.setattr("paybill.isolation.ground.PATIENCE", 1.0 if "watchdog" in case else 4.0)
    level, attempt, careless = TWICE[case]
    async with ground(level, *servers) as where:
        assert (await careless(where)).result == "succeeded"
    monkeypatch.setattr("paybill.isolation.ground.PATIENCE", 10.0)
    async with ground(level, *servers) as where:
        assert (await attempt(where)).result in ("denied", "detected")


@pytest.mark.exhaustive
def test_the_command_answers_in_the_agreed_shape_and_leaves_nothing():
    before = set(Path(tempfile.gettempdir()).glob("paybill-scratch-*"))

    answer = CliRunner().invoke(main, ["isolation", "check", "--destructive", "--output", "json"])

    told = json.loads(answer.stdout)
    assert answer.exit_code == 0, answer.stdout[-1500:]
    assert all(set(one) == {"level", "number", "name", "result", "evidence"} for one in told["attacks"])
    for level in LEVELS:
        numbers = {one["number"] for one in told["attacks"] if one["level"] == level}
        assert numbers == set(range(31, 48))
    assert set(Path(tempfile.gettempdir()).glob("paybill-scratch-*")) == before


def test_the_destructive_attacks_are_never_for_a_server_in_use():
    answer = CliRunner().invoke(main, ["isolation", "check", "--destructive", "--cell", "eu-1"])
    assert answer.exit_code == 2
    assert "name neither a Cell nor a server" in answer.output
