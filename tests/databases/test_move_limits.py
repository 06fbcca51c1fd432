"""Moves that meet the end of a disk, or of what a server holds at a time."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import time

import pytest

from paybill.api.failures import Retry
from paybill.databases.pools import ensure_pool
from paybill.moves import copying, replication, shape
from paybill.moves.streams import Carried
from tests.control.postgres import ThrowAwayPostgres
from tests.databases.moving import (
    Writer,
    begun,
    crowd,
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
from tests.databases.tenancy import pool

DISK = 96
"""Megabytes: an empty cluster and its log, and some twenty more."""


@pytest.fixture
def at():
    return start("Superuser", 18)


@pytest.fixture
def small_at():
    """A server whose disk is nearly full from the beginning."""
    process = ThrowAwayPostgres(
        megabytes=DISK, wal_level="logical", max_wal_size="32MB", min_wal_size="32MB", wal_keep_size=0
    )
    try:
        if not process.small_disk:
            pytest.skip("a disk of its own cannot be mounted here")
        (process.data / "pg_hba.conf").write_text(HBA)
        found = TestServer(process, "Superuser", 18)
        found.run("SELECT pg_reload_conf()")
        yield found
    finally:
        process.remove()


def fill_much(tenant) -> None:
    """More than the small disk has room for."""
    fill(tenant, 20)
    tenant.sql("CREATE TABLE much (id int PRIMARY KEY, what text STORAGE EXTERNAL)", "mig_a")
    tenant.sql("INSERT INTO much SELECT g, repeat('x', 8000) FROM generate_series(1, 9000) g")


async def test_a_target_whose_disk_is_full_costs_the_tenant_nothing_and_goes_on_when_there_is_room(
    at, small_at, schemas, acme
):
    fill_much(acme)
    async with begun(acme, schemas, small_at, "Workers") as made:
        job = made.job
        with Writer(acme) as writer:
            await failing(job, small_at)
            writer.wait_for(20)  # whoever is at the source writes on

            await asyncio.to_thread(enlarge, small_at)
            await recovered(job, small_at)
            await switch_over(job, "Online", made.definition, made.found.shape)
            moved = await open_target(job, acme)
            moved.at = small_at
        assert set(writer.committed) <= logged(moved)
        assert moved.sql("SELECT count(*), sum(length(what)) FROM much") == [(9000, 72_000_000)]


async def test_a_copy_of_ours_that_meets_a_full_disk_is_begun_anew_when_there_is_room(at, small_at, schemas, acme):
    fill_much(acme)
    async with begun(acme, schemas, small_at, "Paybill") as made:
        with Writer(acme) as writer:
            with pytest.raises(Retry) as failure:
                await copying.copy(made.job, made.found.tables, made.definition, Carried())
            # The log is on the same disk: where it is the log that has no room, Postgres ends.
            assert failure.value.reason in {"DatabaseFull", "DatabaseUnreachable"}
            writer.wait_for(20)

            await asyncio.to_thread(enlarge, small_at)
            await reachable(made.server, small_at)
            moved, _, mode = await move(made.job, acme)
            moved.at = small_at
            writer.tenant, writer.database = moved, moved.pool.name
            writer.wait_for(20)
        assert mode == "Online"
        assert set(writer.committed) <= logged(moved)
        assert moved.sql("SELECT count(*), sum(length(what)) FROM much") == [(9000, 72_000_000)]


def enlarge(at: TestServer) -> None:
    """What a person does about it."""
    subprocess.run(["mount", "-o", "remount,size=400m", at.process.data], check=True)


async def failing(job, at) -> None:
    """Until the target says that it cannot go on: by errors that it counts, or by not being there any more."""
    ends = time.monotonic() + 60
    while True:
        try:
            seen = await replication.progress(job)
        except Retry:
            return
        assert not seen.near, "there was room after all"
        if seen.errors or at.process.process.poll() is not None:
            return
        assert time.monotonic() < ends, f"{seen}"
        await asyncio.sleep(0.1)


async def recovered(job, at) -> None:
    """Until the copy is there; the server is started where the full disk has ended it."""
    ends = time.monotonic() + 90
    while True:
        if at.process.process.poll() is not None:
            at.process.start()
        try:
            if (await replication.progress(job)).near:
                return
        except Retry:
            pass
        assert time.monotonic() < ends, "the copy does not come to its end"
        await asyncio.sleep(0.2)


@pytest.mark.exhaustive
async def test_one_of_many_tables_is_moved(at, server, schemas, acme):
    home = dataclasses.replace(pool("Databases"), holds="Schemas")
    await ensure_pool(server, home)
    crowd(acme, 200)  # about eight in a second; bench/moves.py --tables has more
    job = await job_to(acme, own(acme), home)
    moved, done, mode = await move(job, acme)
    assert (mode, done.tables) == ("Online", 201)
    assert moved.sql("SELECT n FROM m199") == [(199,)]


async def test_more_tables_than_a_server_holds_locks_for_are_refused_before_anything_is_touched(
    at, schemas, acme, monkeypatch
):
    crowd(acme, 30)
    job = await job_to(acme, schemas, schemas)
    assert (await shape.look(job)).refusals == ()
    monkeypatch.setattr(shape, "_LOCKS", f"SELECT least(60, ({shape._LOCKS}))")
    said = "; ".join((await shape.look(job)).refusals)
    assert "raise max_locks_per_transaction" in said
