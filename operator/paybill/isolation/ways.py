"""The attacks that are more than one statement: other databases, somebody else's session, the limit of connections."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import psycopg
from psycopg.sql import SQL, Identifier

from paybill.api.failures import Retry
from paybill.desired import sql_names as names
from paybill.isolation.attacks import Level
from paybill.isolation.attempts import Logins, forget, unclear, words
from paybill.isolation.canaries import CONNECTIONS, Scene
from paybill.isolation.results import Ending, Result

Way = Callable[[Logins], Awaitable[Result]]

_ENTERABLE: Final = """
SELECT datname::text FROM pg_database
 WHERE datallowconn AND datname <> %(own)s
   AND (datname = ANY(%(tried)s) OR has_database_privilege(%(login)s, oid, 'CONNECT')) ORDER BY 1
"""
_TENANT_TABLES: Final = """
SELECT c.relname::text, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
 WHERE n.nspname = %s AND c.relkind::text = ANY(%s) AND has_table_privilege(%s, c.oid, 'SELECT') ORDER BY 1
"""


async def enter_other_databases(logins: Logins) -> Result:
    """3: log in to the maintenance databases, the victim's, the pool, and to every other one that lets one in."""
    scene = logins.scene
    sought = ["postgres", "template1", scene.victim.pool.name, scene.admin.info.dbname]
    values = {"own": scene.pool.name, "tried": sought, "login": scene.attacker.login("app_a")}
    cursor = await scene.admin.execute(_ENTERABLE, values)
    tried = [name for (name,) in await cursor.fetchall()]
    entered = []
    for database in tried:
        try:
            session = await scene.attacker.connect(database=database)
        except psycopg.OperationalError as error:
            if "permission denied for database" not in str(error):
                raise unclear(scene, f"3-enter-{database}", words(error)) from error
        else:
            entered.append(database)
            await session.close()
    if not entered:
        return _result(scene, 3, "enter-other-databases", "denied", f"refused by {', '.join(tried) or 'all'}")
    if scene.managed and set(entered) <= set(scene.left_open):
        said = f"{', '.join(entered)}: this managed server keeps them open to PUBLIC; they hold nothing of any tenant"
        return _result(scene, 3, "enter-other-databases", "detected", said)
    return _result(scene, 3, "enter-other-databases", "succeeded", f"let in by {', '.join(entered)}")


async def read_large_object(logins: Logins) -> Result:
    """24: read a large object of the victim's by its number; where large objects are closed there is none."""
    scene, name = logins.scene, "read-large-object"
    victim = await logins.session(scene.victim, "app_a")
    try:
        cursor = await victim.execute("SELECT lo_create(0)")
        row = await cursor.fetchone()
    except psycopg.errors.InsufficientPrivilege as error:
        return _result(scene, 24, name, "denied", f"nobody may make one: {words(error)}")
    finally:
        await forget(victim)
    oid = int(row[0]) if row is not None else 0
    attacker = await logins.session(scene.attacker, "app_a")
    try:
        await attacker.execute("SELECT lo_get(%s)", [oid])
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject) as error:
        return _result(scene, 24, name, "denied", words(error))
    else:
        return _result(scene, 24, name, "succeeded", "the neighbour's large object was read by its number")
    finally:
        await forget(attacker)
        await victim.execute("SELECT lo_unlink(%s)", [oid])


async def end_neighbours_session(logins: Logins) -> Result:
    """25: end a session of the victim's."""
    scene, name = logins.scene, "end-neighbours-session"
    victim = await logins.session(scene.victim, "app_a")
    attacker = await logins.session(scene.attacker, "app_a")
    try:
        await attacker.execute("SELECT pg_terminate_backend(%s)", [victim.info.backend_pid])
    except psycopg.errors.InsufficientPrivilege as error:
        await victim.execute("SELECT 1")
        return _result(scene, 25, name, "denied", words(error))
    finally:
        await forget(attacker)
    await logins.close(scene.victim, "app_a")
    return _result(scene, 25, name, "succeeded", "the neighbour's session was ended")


async def drop_database(logins: Logins) -> Result:
    """26: drop the database that one is in. Who may is told that it is in use, so this can never come true."""
    scene, name = logins.scene, "drop-database"
    attacker = await logins.session(scene.attacker, "app_a")
    try:
        await attacker.execute(SQL("DROP DATABASE {}").format(Identifier(scene.pool.name)))
    except psycopg.errors.InsufficientPrivilege as error:
        return _result(scene, 26, name, "denied", words(error))
    except psycopg.errors.ObjectInUse as error:
        return _result(scene, 26, name, "succeeded", f"only its own session kept it from it: {words(error)}")
    finally:
        await forget(attacker)
    raise unclear(scene, "26-drop-database", "went through")


async def exceed_connections(logins: Logins) -> Result:
    """30: one session more than the login's limit."""
    scene, name = logins.scene, "exceed-connections"
    await logins.close(scene.attacker, "app_a")
    async with contextlib.AsyncExitStack() as stack:
        for number in range(CONNECTIONS + 1):
            try:
                session = await scene.attacker.connect()
            except psycopg.OperationalError as error:
                if "too many connections for role" in str(error) and number == CONNECTIONS:
                    return _result(scene, 30, name, "denied", f"session {number + 1} was refused: {words(error)}")
                raise unclear(scene, "30-exceed-connections", words(error)) from error
            stack.push_async_callback(session.close)
    return _result(scene, 30, name, "succeeded", f"{CONNECTIONS + 1} sessions of a login that may have {CONNECTIONS}")


async def read_real_tables(logins: Logins) -> Result:
    """14: read every shared table of the tenants: the attacker has no row in any of them, so it must see none."""
    return await _rows_of_others(logins, 14, "read-every-shared-table", "tables", ["r", "p", "f"])


async def read_real_views(logins: Logins) -> Result:
    """22: the same through every view and materialized view that tenants may read."""
    return await _rows_of_others(logins, 22, "read-every-view", "views", ["v", "m"])


async def _rows_of_others(logins: Logins, number: int, name: str, what: str, kinds: list[str]) -> Result:
    scene = logins.scene
    values = [names.ROWS_SCHEMA, kinds, scene.attacker.login("app_a")]
    cursor = await scene.admin.execute(_TENANT_TABLES, values)
    found = [table for table, _ in await cursor.fetchall()]
    leaking = [table async for table in _leaking(logins, found)]
    if leaking:
        shown = ", ".join(f"{names.ROWS_SCHEMA}.{table}" for table in leaking)
        return _result(scene, number, name, "succeeded", f"rows of another tenant were seen in {shown}")
    return _result(scene, number, name, "denied", f"no row of anybody's is seen in the {len(found)} {what}")


async def _leaking(logins: Logins, tables: list[str]) -> AsyncIterator[str]:
    scene = logins.scene
    attacker = await logins.session(scene.attacker, "app_a")
    for table in tables:
        query = SQL("SELECT 1 FROM {} WHERE tenant_id::text IS DISTINCT FROM %s LIMIT 1")
        try:
            cursor = await attacker.execute(query.format(Identifier(names.ROWS_SCHEMA, table)), [scene.attacker.id])
            if await cursor.fetchone() is not None:
                yield table
        except psycopg.errors.UndefinedTable:
            continue  # dropped since it was listed
        except psycopg.errors.InsufficientPrivilege:
            continue  # a view over what its reader may not read
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
            said = f"server {scene.server.name}: table {table} could not be read within a moment: {words(error)}"
            raise Retry("IsolationUnclear", said) from error
        finally:
            await forget(attacker)


def _result(scene: Scene, number: int, name: str, ending: Ending, evidence: str) -> Result:
    return Result(level=scene.level, number=number, name=name, result=ending, evidence=evidence)


EVERYWHERE: Final = (
    enter_other_databases,
    read_large_object,
    end_neighbours_session,
    drop_database,
    exceed_connections,
)
ON_ROWS: Final = (read_real_tables, read_real_views)


def ways_on(level: Level) -> tuple[Way, ...]:
    """The attacks of one level."""
    return (*EVERYWHERE, *(ON_ROWS if level == "Rows" else ()))
