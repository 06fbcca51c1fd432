"""Attacks 31 to 38: what a neighbour on the same server is in the way of, or can look at, without any right too many.

No grant closes these: what tenants share, they share. What is not closed is ended by the watchdog and by limits that a
login cannot lift, or shows nothing but opaque ids, or is there at no level but the shared ones.
"""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg

from paybill.isolation.attempts import words
from paybill.isolation.ground import FREE, NOT_THERE, PAUSE, Attempt, Ground, running, session
from paybill.isolation.results import Result
from paybill.lifecycle.watchdog import Breach

SECRET: Final = "pb-canary-secret"  # noqa: S105 - nobody's
_BURN: Final = (
    "SET work_mem = '1GB'; SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b,"
    " generate_series(1, 100000) c"
)
_SPILL: Final = (
    "SET statement_timeout = 0; SET work_mem = '64kB'; SELECT count(*) FROM (SELECT g FROM generate_series(1, 200000) g"
    " ORDER BY g DESC OFFSET 0) s"
)


async def lock_table(ground: Ground) -> Result:
    """31: lock a table of the neighbour's, or one that is shared with it, and keep the lock."""
    number, name, scene = 31, "lock-table", ground.scene
    async with session(scene.attacker) as attacker, session(scene.victim) as victim:
        try:
            await attacker.execute(FREE)
            await attacker.execute(f"BEGIN; LOCK TABLE {ground.table} IN ACCESS EXCLUSIVE MODE".encode())
        except NOT_THERE as error:
            return ground.ended(number, name, "denied", words(error))
        await victim.execute("SET lock_timeout = 0; SET statement_timeout = 0")
        reading = asyncio.create_task(victim.execute(f"TABLE {ground.table}".encode()))
        try:
            done = await ground.watch(reading.done)
            if reading.done() and done:
                return ground.ended(number, name, "detected", _did(done))
            return ground.ended(number, name, "succeeded", "the neighbour waits for as long as the attacker likes")
        finally:
            await attacker.close()
            await reading


async def listen(ground: Ground) -> Result:
    """32: listen on the neighbour's channel."""
    scene = ground.scene
    async with session(scene.attacker) as attacker, session(scene.victim) as victim:
        await attacker.execute("LISTEN orders")
        await victim.execute(f"NOTIFY orders, '{SECRET}'".encode())
        heard = [one.payload async for one in attacker.notifies(timeout=0.5, stop_after=1)]
    if heard:
        said = "the payload was received: one database is one bus, and Postgres has no privilege on channels"
        return ground.ended(32, "listen-to-neighbour", "succeeded", said)
    return ground.ended(32, "listen-to-neighbour", "denied", "nothing is heard from another database")


async def collide(ground: Ground) -> Result:
    """33: take the advisory lock that the neighbour's app works with."""
    number, name, scene = 33, "advisory-lock", ground.scene
    async with session(scene.attacker) as attacker, session(scene.victim) as victim:
        try:
            await victim.execute("SELECT pg_advisory_lock(42)")
            found = await (await attacker.execute("SELECT pg_try_advisory_lock(42)")).fetchone()
        except psycopg.errors.InsufficientPrivilege as error:
            return ground.ended(number, name, "denied", f"nobody may take one: {words(error)}")
    if found == (True,):
        return ground.ended(number, name, "denied", "the same number is another lock in another database")
    return ground.ended(number, name, "succeeded", "the neighbour's lock keeps this tenant out, and the reverse")


async def count_by_sequence(ground: Ground) -> Result:
    """34: learn from a sequence how much the neighbour writes."""
    number, name = 34, "read-volume-from-sequence"
    async with session(ground.scene.attacker) as attacker:
        try:
            await attacker.execute(f"SELECT nextval('{ground.table}_id_seq')".encode())
        except NOT_THERE as error:
            return ground.ended(number, name, "denied", words(error))
    return ground.ended(number, name, "succeeded", "the next value tells how many the neighbours took")


async def look_at_activity(ground: Ground) -> Result:
    """35: read what the neighbour's sessions are doing."""
    number, name, scene = 35, "read-activity", ground.scene
    query = "SELECT query FROM pg_stat_activity WHERE usename = %s"
    async with session(scene.attacker) as attacker, session(scene.victim) as victim:
        await victim.execute(f"SELECT '{SECRET}'".encode())
        rows = await (await attacker.execute(query, [scene.victim.login("app_a")])).fetchall()
    if any(SECRET in str(text) for (text,) in rows):
        return ground.ended(number, name, "succeeded", "the neighbour's statements are shown")
    if rows:
        said = f"{len(rows)} sessions of an opaque id are shown, their statements are not"
        return ground.ended(number, name, "detected", said)
    return ground.ended(number, name, "denied", "no session of the neighbour's is shown")


async def list_names(ground: Ground) -> Result:
    """36: list the neighbour's roles, databases and schemas; what is in them is attack 1's."""
    number, name, victim = 36, "list-names", ground.scene.victim
    query = (
        "SELECT rolname::text FROM pg_roles WHERE rolname ~ %(id)s"
        " UNION SELECT datname::text FROM pg_database WHERE datname ~ %(id)s"
        " UNION SELECT nspname::text FROM pg_namespace WHERE nspname ~ %(id)s"
    )
    async with session(ground.scene.attacker) as attacker:
        found = sorted(one for (one,) in await (await attacker.execute(query, {"id": victim.id})).fetchall())
    told = [one for one in found if not one.startswith(("pb_", f"t_{victim.id}"))]
    if told:
        return ground.ended(number, name, "succeeded", f"names that tell something: {', '.join(told)}")
    if found:
        return ground.ended(number, name, "detected", f"{len(found)} names are shown, all made of an opaque id")
    return ground.ended(number, name, "denied", "no name of the neighbour's is shown")


async def burn(ground: Ground) -> Result:
    """37: compute without end, with all limits that are settings lifted."""
    return await _load(ground, 37, "compute-without-end", _BURN)


async def spill(ground: Ground) -> Result:
    """37: fill the disk with temporary files."""
    number, name = 37, "fill-temporary-files"
    async with session(ground.scene.attacker) as attacker:
        try:
            await attacker.execute(_SPILL.encode())
        except psycopg.errors.ConfigurationLimitExceeded as error:
            return ground.ended(number, name, "denied", words(error))
    return ground.ended(number, name, "succeeded", "more temporary files than the tenant may have")


async def hold_back_vacuum(ground: Ground) -> Result:
    """38: keep a snapshot, so that nothing is cleaned up for anybody."""
    snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class LIMIT 1"
    return await _load(ground, 38, "hold-back-vacuum", snapshot)


async def _load(ground: Ground, number: int, name: str, statement: str) -> Result:
    """Something that goes on until somebody ends it; where the server is nobody else's, the neighbour feels nothing."""
    scene = ground.scene
    async with session(scene.attacker) as attacker, running(ground, attacker, statement) as pid:
        if ground.alone:
            async with session(scene.victim) as victim:
                await victim.execute("SELECT 1")
            return ground.ended(number, name, "denied", "the neighbour is on another server, and is answered")
        done = await ground.watch()
        if done and not await _goes_on(ground, pid):
            return ground.ended(number, name, "detected", _did(done))
    return ground.ended(number, name, "succeeded", "it goes on for as long as the attacker likes")


async def _goes_on(ground: Ground, pid: int) -> bool:
    query = "SELECT xact_start IS NOT NULL FROM pg_stat_activity WHERE pid = %s"
    for _ in range(10):
        if await (await ground.scene.admin.execute(query, [pid])).fetchone() != (True,):
            return False
        await asyncio.sleep(PAUSE)
    return True


def _did(done: tuple[Breach, ...]) -> str:
    """What the watchdog did, without process ids: the evidence of two runs is the same."""
    deeds = {"Cancel": "cancelled", "Terminate": "ended"}
    return "the watchdog: " + ", then ".join(f"{deeds[one.deed]} for {one.rule}" for one in done)


ON_SHARED: Final[tuple[Attempt, ...]] = (
    lock_table, listen, collide, count_by_sequence, look_at_activity, list_names, burn, spill, hold_back_vacuum,
)  # fmt: skip
