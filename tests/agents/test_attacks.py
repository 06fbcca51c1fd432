"""With the stolen login of an agent: each attack is denied, succeeds once its protection is gone, which is noticed as
drift, and is denied again when the plan was carried out anew."""

import asyncio
import uuid

import psycopg
import pytest

from paybill.agents import names
from paybill.agents.drift import drifted
from paybill.agents.runs import close_run
from tests.agents import shop
from tests.agents.attacks import ANYWHERE, GATED, GRANTED, NOTHING, THROUGH, Attack
from tests.agents.conftest import VERSIONS, administrator, may, new_shop, scene_of
from tests.databases.servers import start

GRANT = {"enforcement": {"reads": "Grant"}}


@pytest.fixture(scope="module", params=VERSIONS, ids="postgres-{}".format)
def at(request):
    """A server as its superuser sees it."""
    return start("Superuser", request.param)


async def runs_of(scene):
    """Runs in every state that a session might claim to be in."""
    work = (may("update", 100), may("create"), may("get"), may("list", 20), may("aggregate", 50))
    writing = (may("update", 2, step="writing"),)
    runs = {name: await scene.run(*work, *writing) for name in ("open", "other", "closed", "expired", "older")}
    scene.admin(
        "INSERT INTO pb.agent (role, policy_hash, schema_hash, plan_hash, calls_per_minute, rows_read_per_day,"
        " rows_written_per_day, statement_timeout, reads)"
        " SELECT 'another', policy_hash, schema_hash, '', 9, 9, 9, '1s', reads FROM pb.agent WHERE role = %s",
        [scene.role],
    )
    scene.admin("UPDATE pb.run SET role = 'another' WHERE id = %s", [runs["other"]])
    scene.admin("UPDATE pb.run SET deadline = clock_timestamp() WHERE id = %s", [runs["expired"]])
    scene.admin("UPDATE pb.run SET policy_hash = 'sha256:older' WHERE id = %s", [runs["older"]])
    async with administrator(scene.at, scene.database) as session:
        await close_run(session, runs["closed"], "Cancelled")
    return {**runs, "none": "", "forged": uuid.uuid4()}


async def settled(at, database, **changes):
    scene = await scene_of(at, database, **changes)
    scene.policy, scene.runs = shop.policy(**changes), await runs_of(scene)
    return scene


@pytest.fixture(scope="module")
def granted(at):
    """An agent that holds its columns itself."""
    with new_shop(at) as database:
        yield asyncio.run(settled(at, database, **GRANT))


@pytest.fixture(scope="module")
def gated(at):
    """An agent that goes through its gates."""
    with new_shop(at) as database:
        yield asyncio.run(settled(at, database))


def names_in(scene):
    old = scene.at.version < 17
    return {
        "t": shop.SCHEMA, "o": shop.OWNER, "l": f'"{scene.role}"', "db": scene.database,
        "g": f'"{names.gate(shop.TENANT, "support")}"', "k": f'"{names.keeper(shop.TENANT)}"',
        "emit": f"pg_logical_emit_message(boolean, text, text{'' if old else ', boolean'})",
    }  # fmt: skip


def outcome(attack: Attack, scene) -> str:
    """An SQLSTATE, NOTHING or THROUGH; whatever was done is rolled back."""
    with scene.agent(scene.runs[attack.run], attack.step) as session:
        try:
            session.execute("BEGIN")
            cursor = session.execute(attack.statement.format(**names_in(scene)))
            while cursor.nextset():
                pass
        except psycopg.Error as error:
            return error.sqlstate or str(error)
        finally:
            session.execute("ROLLBACK")
        return NOTHING if cursor.rowcount == 0 else THROUGH


async def parts_drifted(scene):
    async with administrator(scene.at, scene.database) as session:
        return await drifted(session, shop.TENANT, "support", shop.SCHEMA, scene.database)


async def proved_twice(attacks: tuple[Attack, ...], scene) -> None:
    first, spelled = attacks[0], names_in(scene)

    def outcomes():
        return {str(attack): outcome(attack, scene) for attack in attacks}

    denied = {str(attack): attack.denied for attack in attacks}
    scene.admin(first.given.format(**spelled) or "SELECT 1")
    try:
        assert outcomes() == denied
        scene.admin(first.without.format(**spelled))
        assert await parts_drifted(scene) != ()
        assert outcomes() == dict.fromkeys(denied, THROUGH)
    finally:
        scene.admin(first.ungiven.format(**spelled) or "SELECT 1")
        await scene.carry_out(scene.policy)
    assert outcomes() == denied or first.given


def by_protection(attacks):
    """What one protection denies is tried together: removing it and making the plan anew is what takes time."""
    groups = {}
    for attack in attacks:
        groups.setdefault((attack.without, attack.given), []).append(attack)
    return [pytest.param(tuple(group), id=str(group[0])) for group in groups.values()]


@pytest.mark.parametrize("attacks", by_protection([*ANYWHERE, *GRANTED]))
async def test_attack_with_granted_columns(granted, attacks):
    await proved_twice(attacks, granted)


@pytest.mark.parametrize("attacks", by_protection(GATED))
async def test_attack_on_the_gates(gated, attacks):
    await proved_twice(attacks, gated)
