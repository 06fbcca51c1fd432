"""A whole check of a pool: what it finds, that it leaves nothing behind, and that no killed one is in its way."""

import pytest

from paybill.api.failures import Blocked, Retry
from paybill.databases.observation import observe
from paybill.databases.pools import ensure_pool
from paybill.desired import sql_names
from paybill.isolation.attacks import Attack, attacks_on
from paybill.isolation.attempts import Logins, attempt
from paybill.isolation.canaries import canaries
from paybill.isolation.check import check
from paybill.isolation.ways import enter_other_databases, read_real_tables, read_real_views, ways_on
from tests.databases.servers import kinds
from tests.databases.tenancy import pool, share_tables

OPEN_ON_MANAGED = {"enter-other-databases"}


CORNERS = pytest.mark.parametrize("at", [kinds()[0], kinds()[-1]], indirect=True, ids=["first", "last"])
"""Two servers stand for all where it is about our own steps: a superuser on 18, a cloud's administrator on 15."""


async def unfenced(session):
    """Nobody else leads in a test."""


def traces(at, where):
    roles = [name for (name,) in at.run("SELECT rolname FROM pg_roles WHERE rolname ~ '^pb_cnry'")]
    schemas = at.run("SELECT nspname FROM pg_namespace WHERE nspname ~ '^(pb_canary$|t_cnry)'", where.name)
    databases = [name for (name,) in at.run("SELECT datname FROM pg_database WHERE datname ~ '^pb_t_cnry'")]
    ours = sql_names.canaries(where.name)
    return [name for name in (*roles, *databases) if any(one in name for one in ours)], schemas


@pytest.fixture(params=["Rows", "Schema", "Database"])
def level(request):
    return request.param


@pytest.fixture
async def where(at, server, level):
    """A pool of its own: the standing canaries of the attacks are in another."""
    place = pool("Rows" if level == "Rows" else "Schemas", cell=f"checked-{level}")
    await ensure_pool(server, place)
    if level == "Rows":
        share_tables(at, place)
    return place


async def test_a_check_denies_everything_and_leaves_nothing(at, server, where, level):
    proof = await check(server, where, level, fence=unfenced)

    assert proof.holds
    assert proof.findings == ()
    assert len(proof.results) == len(attacks_on(level)) + len(ways_on(level))
    assert {one.number for one in proof.results} >= {3, 4, 5, 6, 7, 8, 9, 12, 13, 24, 25, 26, 27, 28, 29, 30}
    detected = {one.name for one in proof.results if one.result == "detected"}
    assert detected == (OPEN_ON_MANAGED if at.profile == "Managed" else set())
    assert bool(proof.refused) is (at.profile == "Managed")
    assert traces(at, where) == ([], [])
    assert await observe(server, where, None) == {}


@CORNERS
async def test_what_a_killed_check_left_is_removed_by_the_next(at, server, where, level):
    class Killed(BaseException):
        pass

    async def killed(session):
        raise Killed

    with pytest.raises(Killed):
        async with canaries(server, where, level, fence=killed):
            left = traces(at, where)
    assert left[0] != []

    assert (await check(server, where, level, fence=unfenced)).holds
    assert traces(at, where) == ([], [])


@CORNERS
@pytest.mark.parametrize("level", ["Database"], indirect=True)
async def test_a_neighbours_database_that_lets_one_in_is_found(at, server, where, level):
    async with canaries(server, where, level, fence=unfenced) as scene, Logins(scene) as logins:
        assert (await enter_other_databases(logins)).result in {"denied", "detected"}
        at.run(f"GRANT CONNECT ON DATABASE {scene.victim.pool.name} TO pb_{scene.attacker.id}_rw")
        found = await enter_other_databases(logins)
        assert (found.result, found.number) == ("succeeded", 3)


@CORNERS
@pytest.mark.parametrize("level", ["Schema"], indirect=True)
async def test_two_checks_of_a_pool_do_not_meet(server, where, level):
    async with canaries(server, where, level, fence=unfenced):
        with pytest.raises(Retry, match="IsolationCheckRuns"):
            await check(server, where, level, fence=unfenced)


@CORNERS
@pytest.mark.parametrize("level", ["Rows"], indirect=True)
async def test_a_strangers_role_of_a_canarys_name_is_left_alone(at, server, where, level):
    stranger = sql_names.role(sql_names.canaries(where.name)[0], "rw")
    at.run(f"CREATE ROLE {stranger}")
    try:
        with pytest.raises(Blocked, match="NameConflict"):
            await check(server, where, level, fence=unfenced)
        assert at.run("SELECT 1 FROM pg_roles WHERE rolname = %s", values=[stranger]) == [(1,)]
    finally:
        at.run(f"DROP ROLE {stranger}")


@CORNERS
async def test_real_tables_are_read_as_well(at, server, row_scene, rows, red):
    red_rows = "ALTER TABLE app.customers {} ROW LEVEL SECURITY"
    async with Logins(row_scene) as logins:
        assert (await read_real_tables(logins)).result == "denied"
        at.run(red_rows.format("DISABLE"), rows.name)
        try:
            found = await read_real_tables(logins)
        finally:
            at.run(red_rows.format("ENABLE"), rows.name)
    assert (found.result, found.number) == ("succeeded", 14)
    assert "app.customers" in found.evidence


@CORNERS
async def test_a_view_over_real_tables_that_reads_as_its_owner_is_found(at, row_scene, rows, red):
    async with Logins(row_scene) as logins:
        at.run("CREATE VIEW app.leak AS SELECT * FROM app.customers; GRANT SELECT ON app.leak TO pb_rows_rw", rows.name)
        try:
            found = await read_real_views(logins)
        finally:
            at.run("DROP VIEW app.leak", rows.name)
        assert (found.result, found.number) == ("succeeded", 22)
        assert (await read_real_views(logins)).result == "denied"


@CORNERS
async def test_what_ends_otherwise_proves_nothing(at, row_scene, rows):
    missing = Attack(14, "read", "SELECT * FROM pb_canary.nowhere", "42501")
    async with Logins(row_scene) as logins:
        with pytest.raises(Retry, match="IsolationUnclear"):
            await attempt(missing, logins)
