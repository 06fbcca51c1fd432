"""How much room runs take: a bound on those that are open at once, and on what a run can write into its journal."""

import asyncio
import uuid
from datetime import timedelta

import pytest
from psycopg.types.json import Jsonb

from paybill.agents.runs import Budget, close_run, open_run
from paybill.api.failures import Retry
from tests.agents import shop
from tests.agents.conftest import administrator, may, new_shop, scene_of
from tests.agents.test_limits import refused
from tests.databases.servers import start

FEW = 3
AT_ONCE = 20
BUDGET = Budget(calls=5, rows_read=50, rows_written=50, time=timedelta(seconds=600))


@pytest.fixture(scope="module")
def scene():
    """An agent that may have few runs open."""
    at = start("Superuser", 18)
    with new_shop(at) as database:
        yield asyncio.run(scene_of(at, database, limits={**shop.POLICY["limits"], "openRuns": FEW}))


async def opened(scene, run=None):
    """The run, or None when there was no room for it."""
    run = run or uuid.uuid4()
    async with administrator(scene.at, scene.database) as session:
        try:
            await open_run(session, run, scene.role, "sha256:workflow", BUDGET, [may("get")])
        except Retry as failure:
            return None if failure.reason == "TooManyRuns" else failure.reason
    return run


async def ended(scene, *runs):
    async with administrator(scene.at, scene.database) as session:
        for run in runs:
            await close_run(session, run, "Cancelled")


async def test_attack_22_no_more_runs_are_open_at_once_than_the_policy_says(scene):
    asked = await asyncio.gather(*(opened(scene) for _ in range(AT_ONCE)))
    runs = [run for run in asked if run is not None]
    assert len(runs) == FEW, "asked for at the same moment"
    assert scene.admin("SELECT count(*) FROM pb.run WHERE closed_time IS NULL") == [(FEW,)]
    assert scene.admin("SELECT count(*) FROM pb.journal") == [(FEW,)], "what was not opened leaves nothing behind"
    assert await opened(scene, runs[0]) == runs[0], "what is open is found again, whatever the bound"
    await ended(scene, runs[0])
    assert await opened(scene) is not None
    assert await opened(scene) is None
    # One past its deadline takes no room, though nobody has closed it yet.
    scene.admin("UPDATE pb.run SET deadline = clock_timestamp() WHERE id = %s", [runs[1]])
    assert await opened(scene) is not None
    assert await opened(scene) is None
    scene.admin("UPDATE pb.agent SET open_runs = 1000")
    assert None not in await asyncio.gather(*(opened(scene) for _ in range(AT_ONCE)))
    scene.admin("UPDATE pb.run SET closed_time = clock_timestamp() WHERE closed_time IS NULL")
    scene.admin("UPDATE pb.agent SET open_runs = %s", [FEW])


async def test_attack_22_a_run_writes_a_row_for_each_of_its_calls_and_no_more(scene):
    run = await scene.run(may("get"), may("create"), calls=5)
    read, make = "SELECT pba_support.orders_get(%s)", "SELECT pba_support.orders_create(%s)"
    huge = "x" * 1_000_000
    with scene.agent(run) as session:
        for _ in range(20):
            assert refused(session, read, Jsonb({"id": huge})) != ""
            assert refused(session, read, Jsonb([1] * 10_000)) == "PA006"
            assert refused(session, "SELECT pba_support.comments_get('{\"id\": 1}')") == "PA002"
        session.execute("SELECT set_config('pb.key', %s, false)", ["k" * 201])
        assert refused(session, make, Jsonb({"customer_id": 7, "amount": "1"})) != "", "a key has 200 characters"
        session.execute("SELECT set_config('pb.key', %s, false)", ["k" * 200])
        assert refused(session, make, Jsonb({"customer_id": 7, "amount": "1", "notes": huge})) == ""
        session.execute("RESET pb.key")
        answers = [refused(session, read, Jsonb({"id": 2})) for _ in range(20)]
    assert answers == [*[""] * 4, *["PA003"] * 16]
    [(rows, largest)] = scene.admin("SELECT count(*), max(pg_column_size(j)) FROM pb.journal j WHERE run = %s", [run])
    assert (rows, largest < 1000) == (1 + 5, True)
    [(kept,)] = scene.admin("SELECT max(pg_column_size(a)) FROM pb.answer a WHERE run = %s", [run])
    assert kept < 1000, "of a row that was made its key is kept, however large it is"
    # Without the bound of calls it would go on.
    scene.admin("UPDATE pb.run SET max_calls = 1000 WHERE id = %s", [run])
    scene.admin("UPDATE pb.step_grant SET max_calls = 1000 WHERE run = %s", [run])
    with scene.agent(run) as session:
        assert [refused(session, read, Jsonb({"id": 2})) for _ in range(20)] == [""] * 20
