"""The control database's connection and schema: what is applied once, who is refused, and in which words."""

import asyncio
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from paybill.api.failures import Blocked, Invalid, Retry
from paybill.control import ControlDatabase, Placement, Registry, schema, take_epoch
from tests.control.fixtures import shared_server
from tests.control.postgres import ThrowAwayPostgres

SYSTEM_SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def query(dsn: str, statement: str, values=()) -> list[tuple]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


async def test_migrating_again_changes_nothing(db, control_dsn):
    before = query(control_dsn, "SELECT * FROM paybill.schema_migrations")
    await db.migrate()
    assert query(control_dsn, "SELECT * FROM paybill.schema_migrations") == before
    assert [row[0] for row in before] == [migration.version for migration in schema.known()]


async def test_many_processes_may_migrate_at_once(control_dsn):
    databases = await asyncio.gather(
        *(ControlDatabase.open(control_dsn, application_name=f"p{number}") for number in range(8))
    )
    await asyncio.gather(*(database.migrate() for database in databases))
    assert len(query(control_dsn, "SELECT 1 FROM paybill.schema_migrations")) == len(schema.known())
    await asyncio.gather(*(database.close() for database in databases))


async def test_a_migration_that_fails_leaves_nothing_behind(db, control_dsn):
    first = schema.known()[-1]
    half = replace(first, version=9001, name="half", sql="CREATE TABLE paybill.half (); SELECT 1/0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        async with db.transaction() as connection:
            await schema.migrate(connection, (*schema.known(), half))
    assert query(control_dsn, "SELECT to_regclass('paybill.half')::text") == [(None,)]
    assert len(query(control_dsn, "SELECT 1 FROM paybill.schema_migrations")) == len(schema.known())


@pytest.mark.parametrize(("ahead", "refused"), [(1, False), (2, True)])
async def test_a_schema_may_be_one_release_ahead_but_not_two(db, control_dsn, ahead, refused):
    newest = schema.known()[-1].release
    query(
        control_dsn,
        "INSERT INTO paybill.schema_migrations (version, name, release, checksum) VALUES (9000, 'later', %s, 'x')",
        (newest + ahead,),
    )
    if not refused:
        await db.migrate()
        return
    with pytest.raises(Blocked) as failure:
        await db.migrate()
    assert failure.value.reason == "ControlSchemaTooNew"
    assert "9000 later" in failure.value.message


async def test_an_applied_migration_that_was_edited_is_refused(db, control_dsn):
    query(control_dsn, "UPDATE paybill.schema_migrations SET checksum = 'other' WHERE version = 1")
    with pytest.raises(Blocked) as failure:
        await db.migrate()
    assert failure.value.reason == "ControlSchemaAltered"


async def test_an_unreachable_server_is_named_without_its_password():
    with pytest.raises(Retry) as failure:
        await ControlDatabase.open("postgresql://paybill:hunter2@127.0.0.1:1/control", application_name="test")
    assert failure.value.reason == "ControlDatabaseUnreachable"
    assert "control at 127.0.0.1:1" in failure.value.message
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("dsn", ["postgresql://u:hunter2@h:port/x?nonsense=hunter2", "hunter2", "password=hunter2 x"])
async def test_an_unreadable_connection_string_is_not_repeated(dsn):
    with pytest.raises(Invalid) as failure:
        await ControlDatabase.open(dsn, application_name="test")
    assert "hunter2" not in str(failure.value)
    assert failure.value.__cause__ is None


async def test_a_role_that_may_not_create_the_schema_is_told_what_to_grant(control_dsn):
    query(control_dsn, "CREATE ROLE weak_operator LOGIN")
    weak = await ControlDatabase.open(control_dsn.replace("postgres@", "weak_operator@"), application_name="test")
    with pytest.raises(Blocked) as failure:
        await weak.migrate()
    assert failure.value.reason == "ControlDatabaseForbidden"
    assert "GRANT CREATE" in failure.value.message
    await weak.close()


async def test_objects_in_public_are_never_called(db, control_dsn):
    trap = "CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS 'SELECT ''trapped'''"
    query(control_dsn, trap)
    async with db.transaction() as connection:
        path = await (await connection.execute("SHOW search_path")).fetchone()
        assert path == ("pg_catalog,paybill",)
        assert await (await connection.execute("SELECT lower('A')")).fetchone() == ("a",)


async def test_a_server_that_went_away_is_a_retry_and_its_return_is_noticed():
    server = ThrowAwayPostgres()
    try:
        db = await ControlDatabase.open(server.dsn("postgres"), application_name="test")
        await db.migrate()
        server.stop()
        with pytest.raises(Retry):
            await take_epoch(db)
        server.start()
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await take_epoch(db) == 1
                    break
                except Retry:
                    await asyncio.sleep(0.05)
        await db.close()
    finally:
        server.remove()


@pytest.mark.skipif(not SYSTEM_SERVERS, reason="no system Postgres in /usr/lib/postgresql")
async def test_the_schema_works_on_the_oldest_system_server():
    server = ThrowAwayPostgres(binaries=SYSTEM_SERVERS[0])
    try:
        db = await ControlDatabase.open(server.dsn("postgres"), application_name="test")
        await db.migrate()
        epoch = await take_epoch(db)
        claim = await Registry(db, "one").claim("a", "u", lambda _: Placement("c", "s", "Shared", "Rows"), epoch)
        assert claim.state == "claimed"
        await db.close()
    finally:
        server.remove()


def test_the_shared_server_is_the_one_the_tests_think(control_dsn):
    assert str(shared_server().port) in control_dsn
