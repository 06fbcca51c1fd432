"""Moves that are cut short, that meet something foreign, or whose tenant has what cannot be copied while it is used."""

from __future__ import annotations

import asyncio
import atexit
import dataclasses
import hashlib
import signal
import time

import psycopg
import pytest

from paybill.api.failures import Blocked, Retry
from paybill.databases.pools import ensure_pool
from paybill.databases.server import Server
from paybill.moves import (
    archive,
    closing,
    copying,
    large_objects,
    leaving,
    logins,
    replication,
    shape,
    target,
    verification,
)
from paybill.moves.streams import Carried, Pace
from tests.control.postgres import ThrowAwayPostgres
from tests.databases.moving import (
    Writer,
    begun,
    copied,
    fill,
    job_to,
    logged,
    move,
    open_target,
    own,
    reachable,
    switch_over,
)
from tests.databases.servers import HBA, TestServer, start
from tests.databases.test_moves import left


@pytest.fixture
def at():
    """The one kind of server where rows are copied while they are used, whatever they are."""
    return start("Superuser", 18)


LONG = pytest.mark.exhaustive
CUTS = (
    "made", pytest.param("published", marks=LONG), pytest.param("subscribed", marks=LONG), "carried",
    pytest.param("followed", marks=LONG), pytest.param("copied", marks=LONG), "closed",
    pytest.param("drained", marks=LONG), "completed", pytest.param("verified", marks=LONG),
)  # fmt: skip


async def go(job, cut: str) -> str:
    """The steps up to a cut, as an operator that is killed there leaves them; returns which step was kept last."""
    found = await shape.look(job)
    definition = await archive.definition(job)
    await target.make(job, definition, found.extensions, {}, keys=False)
    if cut == "made":
        return "Prepare"
    await replication._publish(job, found.tables)
    if cut == "published":
        return "Prepare"
    await replication.begin(job, found.tables, "Paybill")
    if cut == "subscribed":
        return "Prepare"
    await copying.copy(job, found.tables, definition, Carried())
    if cut == "carried":
        return "Prepare"
    await replication.follow(job)
    if cut == "followed":
        return "Copy"
    await copied(job)
    if cut == "copied":
        return "Copy"
    await closing.close(job)
    if cut == "closed":
        return "Cutover"
    await replication.drain(job)
    if cut == "drained":
        return "Cutover"
    await verification.complete(job, "Online", definition)
    if cut == "completed":
        return "Cutover"
    await verification.verify(job)
    return "Cutover"


@pytest.mark.parametrize("cut", CUTS)
async def test_one_that_was_cut_short_goes_on_from_the_step_that_is_kept(at, schemas, home, acme, cut):
    fill(acme, 20)
    acme.sql(
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note := NEW.note || '!'; RETURN NEW;"
        " END$$; CREATE TRIGGER stamp BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION stamp()", "mig_a",
    )  # fmt: skip
    job = await job_to(acme, own(acme), home)
    with Writer(acme) as writer:
        writer.wait_for(10)
        kept = await go(job, cut)
        # Another process goes on, which knows nothing but the step that was kept.
        if kept == "Prepare":
            moved, _, _ = await move(job, acme, writer)
        else:
            found = await shape.look(job)
            definition = await archive.definition(job)
            await copied(job)
            await switch_over(job, "Online", definition, found.shape)
            writer.database = job.target.pool.name
            moved = await open_target(job, acme)
            await leaving.retire(job)
            await leaving.retire(job)
        writer.wait_for(10)

    assert set(writer.committed) <= logged(moved)
    assert moved.sql("INSERT INTO items (note) VALUES ('new') RETURNING id, note") == [(21, "new!")]
    assert moved.sql("SELECT count(*) FROM items WHERE note LIKE '%!'") == [(1,)]
    await leaving.discard(job)
    assert left(at, acme) == {("database", f"pb_t_{acme.id}"), ("role", f"pb_t_{acme.id}")}


@pytest.mark.parametrize("cut", ["made", "subscribed", "verified"])
async def test_one_that_is_given_up_leaves_the_tenant_as_it_was(at, schemas, home, acme, cut):
    fill(acme, 20)
    job = await job_to(acme, own(acme), home)
    await go(job, cut)
    if cut == "verified":
        await closing.reopen(job)

    await target.clear(job)

    assert left(at, acme) == {("schema", f"t_{acme.id}")}
    await acme.ensure()
    assert await acme.differences() == ()
    assert acme.sql("SELECT count(*) FROM items") == [(20,)]


async def broken_off(job, at) -> None:
    """A move that is given up, as an operator leaves it that ended in the middle of DROP DATABASE."""
    await go(job, "subscribed")
    await replication.end(job)
    await job.target.server.forget(job.target.pool.name)
    at.run("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", "postgres", [job.target.pool.name])
    with pytest.raises(psycopg.OperationalError, match="invalid database"):
        at.run("SELECT 1", job.target.pool.name)


async def test_a_drop_of_the_target_that_was_cut_short_is_completed(at, schemas, home, acme):
    fill(acme, 20)
    job = await job_to(acme, own(acme), home)
    await broken_off(job, at)

    assert (await replication.progress(job)).broken == "its database is gone"
    await target.clear(job)

    assert left(at, acme) == {("schema", f"t_{acme.id}")}


async def test_a_move_begins_anew_over_a_target_whose_drop_was_cut_short(at, schemas, home, acme):
    fill(acme, 20)
    job = await job_to(acme, own(acme), home)
    await broken_off(job, at)

    moved, _, mode = await move(job, acme)

    assert mode == "Online"
    assert moved.sql("SELECT count(*) FROM items") == [(20,)]
    await leaving.discard(job)


async def test_something_foreign_in_the_way_is_left_alone(at, schemas, home, acme):
    job = await job_to(acme, own(acme), home)
    at.run(f"CREATE DATABASE pb_t_{acme.id}")
    try:
        with pytest.raises(Blocked, match="Nothing was changed") as said:
            await target.make(job, b"", (), {}, keys=False)
        assert said.value.reason == "NameConflict"
    finally:
        at.run(f"DROP DATABASE pb_t_{acme.id}")
    assert acme.sql("SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ("CREATE TABLE loose (a int)", "loose without a primary key"),
        ("CREATE UNLOGGED TABLE quick (id int PRIMARY KEY)", "1 unlogged tables"),
        ("CREATE MATERIALIZED VIEW seen AS SELECT 1 AS a", "1 materialized views"),
    ],
)
async def test_what_cannot_be_replicated_is_moved_offline_and_is_all_there(schemas, home, acme, made, says):
    fill(acme, 20)
    acme.sql(made, "mig_a")
    job = await job_to(acme, own(acme), home)

    assert says in "; ".join((await shape.look(job)).offline)
    moved, done, mode = await move(job, acme)

    assert mode == "Offline"
    assert done.rows >= 40
    assert moved.sql("SELECT count(*) FROM items") == [(20,)]
    assert moved.sql("INSERT INTO items (note) VALUES ('next') RETURNING id") == [(21,)]


async def test_large_objects_are_refused_where_their_database_is_shared(at, schemas, home, acme):
    at.run(f"SELECT lo_create(0); ALTER LARGE OBJECT {at.run('SELECT lo_create(0)', schemas.name)[0][0]} OWNER TO "
           f"pb_{acme.id}_owner", schemas.name)  # fmt: skip
    job = await job_to(acme, own(acme), home)

    assert "large objects" in "; ".join((await shape.look(job)).refusals)


async def test_large_objects_go_from_one_database_of_its_own_to_another(at, other_at, server, schemas, home, acme):
    tenant, _, _ = await move(await job_to(acme, own(acme), home), acme)
    number = tenant.sql("SELECT lo_from_bytea(0, decode(repeat('ab', 1500000), 'hex'))")[0][0]
    empty = tenant.sql("SELECT lo_create(0)")[0][0]
    tenant.sql(f"GRANT SELECT ON LARGE OBJECT {number} TO {tenant.login('r')}")
    before = await tenant.differences()
    other = await Server.connect(other_at.admin_dsn, name="pool-2", installation="test-installation")
    try:
        there = dataclasses.replace(home, server="pool-2")
        await ensure_pool(other, there)
        job = dataclasses.replace(
            job := await job_to(tenant, own(acme), there, server=other),
            source=dataclasses.replace(job.source, home=home),
        )
        assert "2 large objects" in "; ".join((await shape.look(job)).offline)
        moved, _, mode = await move(job, tenant)
        moved.at = other_at

        assert mode == "Offline"
        assert moved.sql(f"SELECT md5(lo_get({number})), length(lo_get({empty}))") == [
            (hashlib.md5(b"\xab" * 1500000, usedforsecurity=False).hexdigest(), 0)
        ]
        moved.sql(f"SELECT lo_put({number}, 0, 'x')")
        assert moved.sql(f"SELECT lo_get({number}, 0, 2)", "ro_a") == [(b"x\xab",)]
        assert await moved.differences() == before

        other_at.run(f"SELECT lo_put({number}, 0, 'y')", moved.pool.name)
        with pytest.raises(Blocked, match=f"large objects {number}"):
            await large_objects.compare(job)
        await leaving.discard(job)
    finally:
        await other.close()


async def test_a_table_that_is_altered_meanwhile_is_noticed_behind_the_fence(schemas, home, acme):
    fill(acme, 20)
    job = await job_to(acme, own(acme), home)
    found = await shape.look(job)
    assert await verification.unchanged(job, found.shape)

    acme.sql("ALTER TABLE items ADD COLUMN extra int", "mig_a")

    assert not await verification.unchanged(job, found.shape)


async def test_a_row_that_differs_stops_the_switch(at, schemas, home, acme):
    fill(acme, 20)
    job = await job_to(acme, own(acme), home)
    await go(job, "drained")
    at.run(f"UPDATE t_{acme.id}.items SET note = 'other' WHERE id = 7", f"pb_t_{acme.id}")

    with pytest.raises(Blocked, match="items has 20 rows whose checksum") as said:
        await verification.verify(job)
    assert said.value.reason == "MoveDiffers"


async def test_no_password_is_in_the_servers_log(at, schemas, home, acme, monkeypatch):
    made = []
    usual = logins.make

    async def make(*args):
        made.append(await usual(*args))
        return made[-1]

    monkeypatch.setattr(logins, "make", make)
    at.run("ALTER SYSTEM SET log_statement = 'all'")
    at.run("SELECT pg_reload_conf()")
    try:
        job = await job_to(acme, own(acme), home)
        await move(job, acme)
    finally:
        at.run("ALTER SYSTEM RESET log_statement")
        at.run("SELECT pg_reload_conf()")
    log = (at.process.folder / "log").read_text(errors="replace")
    assert "CREATE PUBLICATION" in log
    assert len(made) > 3
    assert [login.user for login in made if login.password in log] == []


@pytest.fixture(scope="module")
def other_at():
    """Another server, as the outside sees it."""
    process = ThrowAwayPostgres(wal_level="logical")
    atexit.register(process.remove)
    (process.data / "pg_hba.conf").write_text(HBA)
    found = TestServer(process, "Superuser", 18)
    found.run("SELECT pg_reload_conf()")
    return found


@pytest.mark.parametrize("level", ["Schema", "Database"])
async def test_it_goes_to_another_server_at_the_level_it_has(at, other_at, server, schemas, home, acme, level):
    fill(acme, 100)
    other = await Server.connect(other_at.admin_dsn, name="pool-2", installation="test-installation")
    try:
        there = dataclasses.replace(home if level == "Database" else schemas, server="pool-2")
        await ensure_pool(other, there)
        tenant = acme
        if level == "Database":
            tenant, _, _ = await move(await job_to(acme, own(acme), home), acme)
        job = await job_to(tenant, own(acme) if level == "Database" else there, there, server=other)
        if level == "Database":
            source = dataclasses.replace(job.source, home=home)
            job = dataclasses.replace(job, source=source)
        assert not job.same_server
        with Writer(tenant) as writer:
            writer.wait_for(20)
            moved, _, mode = await move(job, tenant, None)
            moved.at = other_at
            writer.tenant, writer.database = moved, moved.pool.name
            writer.wait_for(20)

        assert mode == "Online"
        assert await moved.differences() == ()
        assert set(writer.committed) <= logged(moved)
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            tenant.sql("SELECT 1")
        await leaving.discard(job)
        assert at.run("SELECT 1 FROM pg_roles WHERE strpos(rolname, %s) > 0", "postgres", [f"pb_{acme.id}_"]) == []
    finally:
        await other.close()


@pytest.mark.parametrize("who", ["source", "target"])
async def test_a_server_that_dies_in_the_middle_of_the_copy_is_waited_for(at, other_at, schemas, acme, who):
    fill(acme, 20_000)
    async with begun(acme, schemas, other_at, "Workers") as made:
        job = made.job
        died = (at if who == "source" else other_at).process
        died.stop(how=signal.SIGQUIT)
        died.start()

        await until_copied(job)
        await switch_over(job, "Online", made.definition, made.found.shape)
        moved = await open_target(job, acme)
        assert moved.at is at
        moved.at = other_at
        assert moved.sql("SELECT count(*) FROM items") == [(20_000,)]
        await leaving.retire(job)


@pytest.mark.parametrize("who", ["source", "target"])
async def test_a_server_that_dies_under_a_copy_of_ours_has_it_begun_anew(
    at, other_at, server, schemas, acme, monkeypatch, who
):
    fill(acme, 2_000)
    died = (at if who == "source" else other_at).process

    async def dies(_: Pace) -> None:
        monkeypatch.undo()
        died.stop(how=signal.SIGQUIT)
        died.start()  # in this thread: the server ends with the one that began it

    async with begun(acme, schemas, other_at, "Paybill") as made:
        monkeypatch.setattr(Pace, "rest", dies)
        with pytest.raises(Retry):
            await copying.copy(made.job, made.found.tables, made.definition, Carried())
        await reachable(server, at)
        await reachable(made.server, other_at)
        assert acme.sql("SELECT count(*) FROM items") == [(2_000,)]

        with Writer(acme) as writer:
            moved, _, mode = await move(made.job, acme)
            moved.at = other_at
            writer.tenant, writer.database = moved, moved.pool.name
            writer.wait_for(10)
        assert mode == "Online"
        assert set(writer.committed) <= logged(moved)
        assert moved.sql("SELECT count(*) FROM items") == [(2_000,)]


async def until_copied(job) -> None:
    """As ``copied``, by way of the time in which a server gives no sessions."""
    ends = time.monotonic() + 60
    while True:
        try:
            if (await replication.progress(job)).near:
                return
        except Retry:
            assert time.monotonic() < ends
        assert time.monotonic() < ends
        await asyncio.sleep(0.1)


async def test_what_an_earlier_move_left_is_no_hindrance(at, schemas, home, acme):
    fill(acme, 20)
    job = await job_to(acme, own(acme), home)
    at.run(f"CREATE PUBLICATION pb_mv_{acme.id}", schemas.name)
    at.run(f"SELECT pg_create_logical_replication_slot('pb_mv_{acme.id}', 'pgoutput')", schemas.name)

    moved, _, mode = await move(job, acme)

    assert mode == "Online"
    assert moved.sql("SELECT count(*) FROM items") == [(20,)]


async def test_an_extension_that_is_missing_is_made_where_nobody_shares_it(at, schemas, home, acme):
    job = await job_to(acme, own(acme), home)
    with pytest.raises(Blocked, match="does not have it: install its package") as said:
        await target.make(job, await archive.definition(job), (("no_such_thing", "1.0"),), {}, keys=True)
    assert said.value.reason == "ExtensionMissing"
    assert acme.sql("SELECT 1") == [(1,)]
