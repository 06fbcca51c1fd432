"""Moves between servers one of which lacks something: logical replication, or an extension that the tenant uses."""

from __future__ import annotations

import atexit
import dataclasses

import pytest

from paybill.api.failures import Blocked
from paybill.databases.pools import ensure_pool
from paybill.databases.server import Server
from paybill.moves import archive, shape, target
from tests.control.postgres import ThrowAwayPostgres
from tests.databases.moving import fill, job_to, move, own
from tests.databases.servers import HBA, TestServer, start
from tests.databases.tenancy import pool, provision
from tests.databases.test_moves import left

EXTENSION = "citext"


@pytest.fixture(scope="module")
def plain_at() -> TestServer:
    """A server as it comes: its log is for physical replication only."""
    process = ThrowAwayPostgres()
    atexit.register(process.remove)
    (process.data / "pg_hba.conf").write_text(HBA)
    found = TestServer(process, "Superuser", 18)
    found.run("SELECT pg_reload_conf()")
    return found


@pytest.fixture
async def plain(plain_at):
    server = await Server.connect(plain_at.admin_dsn, name="pool-2", installation="test-installation")
    yield server
    await server.close()


@pytest.fixture
async def pools(plain):
    """A pool of schemas and a home of databases on that server."""
    both = (
        dataclasses.replace(pool("Schemas"), server="pool-2"),
        dataclasses.replace(pool("Databases"), server="pool-2", holds="Schemas"),
    )
    for where in both:
        await ensure_pool(plain, where)
    return both


async def test_a_source_without_logical_replication_is_left_offline_and_says_so(plain_at, plain, pools):
    schemas, home = pools
    assert plain_at.run("SHOW wal_level") == [("replica",)]
    tenant = await provision(plain_at, plain, schemas)
    tenant.sql("CREATE TABLE notes (id int PRIMARY KEY, body text)", "mig_a")
    fill(tenant, 50)
    job = await job_to(tenant, own(tenant), home)

    found = await shape.look(job)
    moved, done, mode = await move(job, tenant)

    assert found.offline == ("the source server's wal_level is replica, not logical",), "nothing else keeps it"
    assert found.refusals == ()
    assert (mode, done.rows) == ("Offline", 151)
    assert moved.sql("SELECT count(*) FROM items") == [(50,)]
    assert moved.sql("INSERT INTO items (note) VALUES ('next') RETURNING id") == [(51,)]
    assert await moved.differences() == ()


@pytest.fixture
def at():
    return start("Superuser", 18)


@pytest.fixture
def idle_at():
    """A server that could be replicated from, and has no worker that would fetch anything."""
    process = ThrowAwayPostgres(wal_level="logical", max_logical_replication_workers=0)
    (process.data / "pg_hba.conf").write_text(HBA)
    found = TestServer(process, "Superuser", 18)
    found.run("SELECT pg_reload_conf()")
    yield found
    process.remove()


async def test_a_target_without_a_worker_for_replication_is_gone_to_offline(idle_at, acme):
    other = await Server.connect(idle_at.admin_dsn, name="pool-2", installation="test-installation")
    try:
        there = dataclasses.replace(pool("Schemas"), server="pool-2")
        await ensure_pool(other, there)
        job = await job_to(acme, there, there, server=other)
        (said,) = (await shape.look(job)).offline
        assert "raise max_logical_replication_workers" in said
    finally:
        await other.close()


@pytest.fixture
async def words(at, acme):
    """A tenant whose column is of a type that an extension of its pool's database gives."""
    at.run(f"CREATE EXTENSION IF NOT EXISTS {EXTENSION} SCHEMA ext", acme.pool.name)
    acme.sql(f"CREATE TABLE words (id int PRIMARY KEY, word ext.{EXTENSION})", "mig_a")
    acme.sql("INSERT INTO words VALUES (1, 'Word')")
    yield acme
    at.run(f"DROP EXTENSION {EXTENSION} CASCADE", acme.pool.name)


async def test_an_extension_that_a_shared_database_lacks_is_refused_before_anything_is_changed(
    at, plain_at, plain, pools, words
):
    job = await job_to(words, pools[0], pools[0], server=plain)
    found = await shape.look(job)
    assert (EXTENSION,) in [(name,) for name, _ in found.extensions]

    with pytest.raises(Blocked, match=f'run CREATE EXTENSION "{EXTENSION}" SCHEMA ext there') as said:
        await target.make(job, await archive.definition(job), found.extensions, {}, keys=True)

    assert said.value.reason == "ExtensionMissing"
    assert left(plain_at, words) == set()
    assert plain_at.run("SELECT 1 FROM pg_roles WHERE strpos(rolname, %s) > 0", values=[words.id]) == []
    assert words.sql("INSERT INTO words VALUES (2, 'more') RETURNING id") == [(2,)]
    assert await words.differences() == ()

    # What it says is what it takes.
    plain_at.run(f'CREATE EXTENSION "{EXTENSION}" SCHEMA ext', pools[0].name)
    moved, _, mode = await move(job, words)
    moved.at = plain_at
    assert mode == "Online"
    assert moved.sql("SELECT id FROM words WHERE word = 'WORD'") == [(1,)]


async def test_in_a_database_of_its_own_the_extension_is_made(at, home, words):
    moved, _, _ = await move(await job_to(words, own(words), home), words)
    assert at.run("SELECT extname FROM pg_extension WHERE extname = %s", moved.pool.name, [EXTENSION]) == [(EXTENSION,)]
    assert moved.sql("SELECT id FROM words WHERE word = 'WORD'") == [(1,)]
