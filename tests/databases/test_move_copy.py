"""A move's own copy: every kind of value as it was, exactly what the slot will not send, nothing left when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest

from paybill.api.failures import Retry
from paybill.databases.pools import ensure_pool
from paybill.databases.server import Server
from paybill.moves import archive, copying, logins, replication, shape, snapshot, streams, target
from paybill.moves.job import Job
from paybill.moves.streams import Carried, Pace
from tests.databases.moving import Writer, crowd, fill, job_to, logged, move, own, switch_over
from tests.databases.servers import start
from tests.databases.tenancy import pool, provision
from tests.databases.test_moves import left


@pytest.fixture
def at():
    """The one kind of server where rows are copied while they are used, whatever they are."""
    return start("Superuser", 18)


async def made(job: Job) -> tuple[shape.Findings, bytes]:
    """A target without rows, and a subscription that does nothing yet."""
    found, definition = await shape.look(job), await archive.definition(job)
    await target.make(job, definition, found.extensions, {}, keys=False)
    await replication.begin(job, found.tables, "Paybill")
    return found, definition


KINDS = r"""
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TYPE pair AS (a int, b mood);
CREATE DOMAIN whole AS int CHECK (value >= 0);
CREATE TABLE kinds (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone int, said text, raw bytea, moods mood[], one pair,
  size whole, doubled int GENERATED ALWAYS AS (size * 2) STORED, real_one float8, at timestamptz,
  span interval, data jsonb);
ALTER TABLE kinds DROP COLUMN gone;
CREATE TABLE bare ();
ALTER TABLE bare REPLICA IDENTITY FULL;
CREATE TABLE years (id int, year int, PRIMARY KEY (id, year)) PARTITION BY LIST (year);
CREATE TABLE years_1 PARTITION OF years FOR VALUES IN (1);
CREATE TABLE years_2 PARTITION OF years FOR VALUES IN (2);
CREATE TABLE parents (id int PRIMARY KEY);
CREATE TABLE children (more text) INHERITS (parents);
ALTER TABLE children ADD PRIMARY KEY (id);
CREATE TABLE "of A; --" (id int PRIMARY KEY, "a ""b" text);
CREATE TABLE hens (id int PRIMARY KEY, egg int);
CREATE TABLE eggs (id int PRIMARY KEY, hen int REFERENCES hens);
ALTER TABLE hens ADD FOREIGN KEY (egg) REFERENCES eggs;
"""
VALUES = r"""
INSERT INTO kinds (said, raw, moods, one, size, real_one, at, span, data) VALUES
  (E'tab\t line\n \\N \\. back\\slash ü', '\x00ff5c0a', '{good,bad,NULL}', '(1,bad)', 7, 0.1 + 0.2, 'infinity',
   '1 mon -2 days', '{"a": [1, null]}'), (NULL, NULL, NULL, NULL, NULL, 'NaN', NULL, NULL, 'null'),
  ('', '', '{}', '(,)', 0, -0.0, NULL, '0', '{}');
INSERT INTO bare SELECT FROM generate_series(1, 3);
INSERT INTO years SELECT g, 1 + g % 2 FROM generate_series(1, 9) g;
INSERT INTO parents VALUES (1); INSERT INTO children VALUES (2, 'child');
INSERT INTO "of A; --" VALUES (1, 'x');
INSERT INTO hens VALUES (1, NULL); INSERT INTO eggs VALUES (1, 1); UPDATE hens SET egg = 1;
"""


async def test_every_kind_of_value_and_table_is_there_as_it_was(at, schemas, home, acme):
    acme.sql(KINDS, "mig_a")
    acme.sql(VALUES, "mig_a")
    seen = "SELECT kinds::text FROM kinds ORDER BY id"
    before = acme.sql(seen)

    moved, _, mode = await move(await job_to(acme, own(acme), home), acme)

    assert mode == "Online"
    assert moved.sql(seen) == before
    assert moved.sql(
        "SELECT (SELECT count(*) FROM bare), (SELECT count(*) FROM years_2), (SELECT count(*) FROM parents),"
        ' (SELECT count(*) FROM ONLY parents), (SELECT "a ""b" FROM "of A; --"), (SELECT egg FROM hens)'
    ) == [(3, 5, 2, 1, "x", 1)]
    assert await moved.differences() == ()


async def test_what_is_written_behind_the_snapshot_comes_by_replication_alone(schemas, home, acme, monkeypatch):
    fill(acme, 20)
    usual = snapshot.taken

    @contextlib.asynccontextmanager
    async def taken(job):
        acme.sql("INSERT INTO items (note) VALUES ('before')")
        async with usual(job) as moment:
            acme.sql("INSERT INTO items (note) VALUES ('after'); DELETE FROM notes WHERE id = 1;"
                     " UPDATE items SET note = 'other' WHERE id = 2")  # fmt: skip
            yield moment

    monkeypatch.setattr(snapshot, "taken", taken)
    moved, _, mode = await move(await job_to(acme, own(acme), home), acme)

    assert mode == "Online"
    assert moved.sql("SELECT (SELECT count(*) FROM items), count(*), min(id) FROM notes WHERE id > 0") == [(22, 19, 2)]
    assert moved.sql("SELECT note FROM items WHERE id IN (2, 21, 22) ORDER BY id") == [
        ("other",),
        ("before",),
        ("after",),
    ]


async def test_one_that_is_ended_in_the_middle_leaves_no_login_and_is_begun_anew(
    at, schemas, home, acme, monkeypatch
):  # fmt: skip
    fill(acme, 500)
    job, reached = await job_to(acme, own(acme), home), asyncio.Event()
    found, definition = await made(job)

    async def never(self: Pace) -> None:
        reached.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as stopped:
        stopped.setattr(Pace, "rest", never)
        task = asyncio.create_task(copying.copy(job, found.tables, definition, Carried()))
        async with asyncio.timeout(60):
            await reached.wait()
            seen = await replication.progress(job)
            assert not seen.near
            assert not seen.broken
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    roles = "SELECT rolname::text FROM pg_roles WHERE rolname LIKE %s ORDER BY 1"
    assert at.run(roles, "postgres", [f"pb_mv_{acme.id}%"]) == [(f"pb_mv_{acme.id}_repl",)]
    assert at.run(f"SELECT count(*) FROM t_{acme.id}.items", job.target.pool.name) == [(0,)]

    moved, _, mode = await move(job, acme)
    assert mode == "Online"
    assert moved.sql("SELECT count(*) FROM items") == [(500,)]


@pytest.mark.parametrize("which", ["read", "write", "snap"])
async def test_a_session_that_ends_fails_the_copy_and_loses_nothing(at, schemas, home, acme, monkeypatch, which):
    fill(acme, 500)
    job, usual = await job_to(acme, own(acme), home), Pace.rest
    found, definition = await made(job)

    async def end_it(self: Pace) -> None:
        at.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", "postgres",
               [f"pb_mv_{acme.id}_{which}"])  # fmt: skip
        await usual(self)

    with monkeypatch.context() as ended:
        ended.setattr(Pace, "rest", end_it)
        ended.setattr(copying, "TOGETHER", 1)
        with pytest.raises(Retry):
            await copying.copy(job, found.tables, definition, Carried())
    await target.clear(job)
    assert left(at, acme) == {("schema", f"t_{acme.id}")}
    assert acme.sql("SELECT count(*) FROM items") == [(500,)]


async def test_workers_of_the_server_copy_what_is_too_large_for_that(schemas, home, acme):
    fill(acme, 200)
    with Writer(acme) as writer:
        writer.wait_for(10)
        moved, _, mode = await move(await job_to(acme, own(acme), home), acme, writer, "Workers")
        writer.wait_for(10)
    assert mode == "Online"
    assert set(writer.committed) <= logged(moved)
    assert await moved.differences() == ()
    assert [copying.suits(size) for size in (copying.MOST, copying.MOST + 1)] == [True, False]


async def test_where_nobody_may_replicate_but_the_target_it_is_told_before_anything_is_made(
    at, schemas, home, acme, monkeypatch, caplog
):  # fmt: skip
    job = await job_to(acme, own(acme), home)
    assert await snapshot.possible(job)
    assert "copied by its target's server" not in caplog.text

    monkeypatch.setattr(logins, "REPLICATES", frozenset({"repl"}))
    assert not await snapshot.possible(job)
    assert f"the rows of tenant {acme.id} are copied by its target's server" in caplog.text
    assert left(at, acme) == {("schema", f"t_{acme.id}")}


def test_many_small_tables_are_one_transaction_and_a_large_one_is_alone():
    small = [copying.Table(f"m{number}", 8192, ("id",)) for number in range(450)]
    large = [copying.Table(f"l{number}", copying.LARGE, ("id",)) for number in range(2)]
    groups = copying.together([*large, *small])
    assert [len(group) for group in groups] == [1, 1, 200, 200, 50]
    assert [table for group in groups for table in group] == [*large, *small]


async def test_each_burst_of_work_is_followed_by_a_rest_as_long(monkeypatch):
    now, rests = [100.0], []

    async def sleep(seconds: float) -> None:
        rests.append(round(seconds, 3))
        now[0] += seconds

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(streams.asyncio, "sleep", sleep)
    monkeypatch.setattr(loop, "time", lambda: now[0])
    pace = Pace()
    for worked in (0.001, 0.003, 0.003, 0.02, 60.0):
        await pace.rest()
        now[0] += worked
    await pace.rest()
    monkeypatch.undo()
    assert rests == [0.007, 0.02, 1.0], "short work adds up, and no rest is longer than a second"


@pytest.mark.exhaustive
@pytest.mark.parametrize("tables", [2_000, 10_000])
async def test_a_tenant_of_many_tables_is_moved_while_it_writes(tables):
    at = start("Superuser", 18, locks=64 + tables // 20)
    server = await Server.connect(at.admin_dsn, name="pool-1", installation="test-installation")
    try:
        schemas, home = pool("Schemas"), dataclasses.replace(pool("Databases"), holds="Schemas")
        for where in (schemas, home):
            await ensure_pool(server, where)
        tenant = await provision(at, server, schemas)
        tenant.sql("CREATE TABLE notes (id int PRIMARY KEY, body text)", "mig_a")
        fill(tenant, 20)
        crowd(tenant, tables)
        with Writer(tenant) as writer:
            writer.wait_for(10)
            job = await job_to(tenant, own(tenant), home)
            moved, done, mode = await move(job, tenant, writer)
            writer.wait_for(10)
        assert (mode, done.tables) == ("Online", tables + 4)
        assert set(writer.committed) <= logged(moved)
        assert moved.sql(f"SELECT n FROM m{tables - 1}") == [(tables - 1,)]
    finally:
        await server.close()


async def test_a_copy_is_not_near_before_its_changes_are_followed(schemas, home, acme):
    fill(acme, 20)
    job = await job_to(acme, own(acme), home)
    found, definition = await made(job)
    carried = Carried()
    await copying.copy(job, found.tables, definition, carried)
    assert (carried.tables, carried.rows) == (4, 61)
    assert carried.size > 61 * 3
    seen = await replication.progress(job)
    assert (seen.following, seen.fetching, seen.near) == (False, False, False)
    assert not dataclasses.replace(seen, following=True).near, "nobody fetches what is left"
    assert not dataclasses.replace(seen, fetching=True).near, "changes do not follow yet"
    assert dataclasses.replace(seen, following=True, fetching=True).near
    await replication.follow(job)
    await replication.follow(job)
    async with asyncio.timeout(60):
        while not (await replication.progress(job)).near:
            await asyncio.sleep(0.05)
    await switch_over(job, "Online", definition, found.shape)
