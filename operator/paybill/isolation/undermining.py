"""Attacks 37 (by rows), 39, 40, 45 and 46: what a tenant does with its own, and what is declared in its name."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import psycopg
from psycopg.sql import SQL, Identifier

from paybill.api.failures import Blocked, Invalid
from paybill.databases.credentials import scram_verifier
from paybill.databases.observation import observe
from paybill.databases.tenants import ensure
from paybill.databases.usage import usage
from paybill.desired.database import differences
from paybill.desired.database_tenant import TenantDatabase
from paybill.isolation.attempts import words
from paybill.isolation.canaries import Canary
from paybill.isolation.ground import NOT_THERE, Attempt, Ground, session
from paybill.isolation.results import Result
from paybill.lifecycle.storage import judge

ODD: Final = (
    'x"; ALTER ROLE {login} SUPERUSER; --', "a'b;--xx", "abc\0defg", "ABCDEFGH", "аbcdefgh", "a" * 64, "", "pg_class",
)  # fmt: skip
"""Ids that are none: quotes, a NUL, capitals, a Cyrillic letter, 64 characters, nothing, a name of Postgres' own."""

Healed = Callable[[Canary], Awaitable[None]]


async def heal(canary: Canary) -> None:
    """What a reconcile does about a tenant that differs, password included."""
    verifiers = {login: scram_verifier(password) for login, password in canary.passwords.items()}
    await ensure(canary.server, canary.pool, canary.desired, passwords=verifiers)


async def collude(ground: Ground, *, healed: Healed = heal) -> Result:
    """39: the owner of a schema grants it to a neighbour, who reads it."""
    number, name, scene = 39, "grant-own-data-to-neighbour", ground.scene
    friend, own = scene.victim.login("app_a"), scene.attacker.desired.schema
    kind, table = ("mig_a", f"{own}.notes") if scene.level != "Rows" else ("app_a", ground.table)
    async with session(scene.attacker, kind) as owner:
        try:
            await owner.execute(f"GRANT USAGE ON SCHEMA {table.partition('.')[0]} TO {friend}".encode())
            await owner.execute(f"GRANT SELECT ON {table} TO {friend}".encode())
        except (*NOT_THERE, psycopg.errors.UndefinedObject) as error:
            return ground.ended(number, name, "denied", words(error))
    if scene.level == "Rows" or not await _reads(scene.victim, table):
        return ground.ended(number, name, "denied", "nothing was given: the tables are not its own, or not there")
    found = await _differences(scene.attacker)
    await healed(scene.attacker)
    if not found or await _reads(scene.victim, table):
        return ground.ended(number, name, "succeeded", "the neighbour reads what it was given")
    return ground.ended(number, name, "detected", f"taken back by the look for drift: {'; '.join(found)}")


async def change_password(ground: Ground, *, healed: Healed = heal) -> Result:
    """40: change the login's own password, so that what the Secret says no longer works."""
    number, name, attacker = 40, "change-own-password", ground.scene.attacker
    login = attacker.login("app_a")
    async with session(attacker) as opened:
        try:
            # As a verifier: what was in clear would be in this server's log.
            stolen = scram_verifier("somebody else knows this")
            await opened.execute(f"ALTER ROLE {login} PASSWORD '{stolen}'".encode())
        except psycopg.errors.InsufficientPrivilege as error:
            return ground.ended(number, name, "denied", words(error))
    locked_out = not await _logs_in(attacker)
    try:
        await healed(attacker)
        if locked_out and await _logs_in(attacker):
            said = "the login of the Secret was refused; the look for drift found it, and it works again"
            return ground.ended(number, name, "detected", said)
        return ground.ended(number, name, "succeeded", "what the Secret says is refused")
    finally:
        await heal(attacker)


async def fill(ground: Ground, *, limit: str | None = "1M") -> Result:
    """37: fill the disk with rows of one's own, which no right and no setting of Postgres bounds."""
    number, name, attacker = 37, "fill-disk", ground.scene.attacker
    more = "INSERT INTO notes SELECT g, repeat(md5(g::text), 30) FROM generate_series(%s, %s::int) g"
    async with session(attacker) as opened:
        await opened.execute(more, [1_000, 3_000])
        used = (await usage(attacker.server, attacker.pool, only=frozenset({attacker.id})))[attacker.id]
        verdict = judge(limit, used.bytes, ground.scene.level, None, datetime.now(UTC))
        if verdict is not None and verdict.read_only:
            await ensure(attacker.server, attacker.pool, replace(attacker.desired, access="ReadOnly"))
        try:
            await opened.execute(more, [4_000, 6_000])
        except psycopg.errors.InsufficientPrivilege as error:
            return ground.ended(number, name, "detected", f"measured, then read-only: {words(error)}")
        finally:
            await ensure(attacker.server, attacker.pool, attacker.desired)
    return ground.ended(number, name, "succeeded", "rows without end")


Named = Callable[[TenantDatabase, str], Awaitable[None]]


async def inject(ground: Ground, *, named: Named | None = None) -> Result:
    """45: ids that would be SQL, or somebody else's name, if they reached the server."""
    number, name, attacker = 45, "inject-by-name", ground.scene.attacker

    async def ours(desired: TenantDatabase, text: str) -> None:
        await ensure(attacker.server, attacker.pool, replace(desired, id=text))

    went = []
    for text in (one.format(login=attacker.login("app_a")) for one in ODD):
        try:
            await (named or ours)(attacker.desired, text)
        except (Invalid, psycopg.Error, ValueError):
            continue
        went.append(text)
    if went:
        return ground.ended(number, name, "succeeded", f"{len(went)} of {len(ODD)} reached the server")
    return ground.ended(number, name, "denied", f"BadTenantId for each of {len(ODD)}, before anything is sent")


async def claim(ground: Ground) -> Result:
    """46: another Tenant, of another UID, declared to have the neighbour's roles, schema and database."""
    number, name, victim = 46, "claim-existing-names", ground.scene.victim
    try:
        await ensure(victim.server, victim.pool, replace(victim.desired, uid="somebody-else"))
    except Blocked as failure:
        if failure.reason != "NameConflict":
            raise
        return ground.ended(number, name, "denied", f"{failure.reason}: the mark names another owner")
    return ground.ended(number, name, "succeeded", "another Tenant has the neighbour's roles")


async def _differences(canary: Canary) -> tuple[str, ...]:
    seen = await observe(canary.server, canary.pool, [canary.id])
    return differences(canary.desired, seen[canary.id])


async def _reads(canary: Canary, table: str) -> bool:
    schema, _, relation = table.partition(".")
    async with session(canary) as opened:
        with contextlib.suppress(*NOT_THERE):
            await opened.execute(SQL("SELECT 1 FROM {}").format(Identifier(schema, relation)))
            return True
    return False


async def _logs_in(canary: Canary) -> bool:
    try:
        async with session(canary):
            return True
    except psycopg.OperationalError:
        return False


ON_DECLARED: Final[tuple[Attempt, ...]] = (collude, change_password, inject, claim)
