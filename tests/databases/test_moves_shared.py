"""Shared tables as the target of a move, and as a source whose move is cut short or cannot begin."""

from __future__ import annotations

import psycopg
import pytest

from paybill.moves import archive, leaving, shape, shared, target, verification
from tests.databases.moving import copy, job_to, move, own, switch_over
from tests.databases.servers import start
from tests.databases.test_moves import left
from tests.databases.test_moves_rows import orders


@pytest.fixture(params=[("Superuser", 18), pytest.param(("Managed", 15), marks=pytest.mark.exhaustive)])
def at(request):
    """The two that differ most; test_moves_rows.py has all of them."""
    return start(*request.param)


@pytest.mark.parametrize("cut", ["made", "copied", "settled"])
async def test_one_that_is_cut_short_goes_on_or_is_given_up(at, server, rows, home, crowded, cut):
    if at.profile != "Superuser":
        pytest.skip("a managed administrator may not replicate for others")
    job = await job_to(crowded, own(crowded), home)
    found, definition = await shape.look(job), await archive.definition(job)
    await target.make(job, definition, found.extensions, {}, keys=False)
    if cut != "made":
        await copy(job, found, definition)
    if cut == "settled":
        await switch_over(job, "Online", definition, found.shape)
        await shared.stage(job)
        await switch_over(job, "Online", definition, found.shape)

    await target.clear(job)

    assert left(at, crowded) == set()
    await crowded.ensure()
    assert await crowded.differences() == ()
    assert crowded.sql("SELECT count(*) FROM customers") == [(300,)]


async def test_tables_that_are_everybodys_are_refused(at, rows, home, red):
    at.run(f"SET ROLE {rows.name}_mig; CREATE TABLE app.countries (code text PRIMARY KEY)", rows.name)
    try:
        found = await shape.look(await job_to(red, own(red), home))
    finally:
        at.run("DROP TABLE app.countries", rows.name)
    assert "countries" in "; ".join(found.refusals)


async def test_a_key_without_the_tenant_is_not_published_to_the_neighbours_harm(at, rows, home, red, blue):
    """A publication of some rows of such a table would refuse everybody's updates."""
    at.run(f"SET ROLE {rows.name}_mig; CREATE TABLE app.loose (tenant_id text, id int PRIMARY KEY)", rows.name)
    at.run("GRANT SELECT, UPDATE ON app.loose TO pb_rows_rw", rows.name)
    try:
        found = await shape.look(await job_to(red, own(red), home))
        assert "loose" in "; ".join(found.offline)
        at.run(f"CREATE PUBLICATION harm FOR TABLE app.loose WHERE (tenant_id = '{red.id}')", rows.name)
        with pytest.raises(psycopg.Error, match="publication WHERE"):
            blue.sql("UPDATE loose SET id = 1")
    finally:
        at.run("DROP TABLE app.loose", rows.name)
        at.run("DROP PUBLICATION IF EXISTS harm", rows.name)


async def test_one_that_left_comes_back_by_a_schema_and_writes_on(at, server, rows, schemas, home, crowded, blue):
    """Closed for as long as its rows are inserted; the neighbour's are as they were, and numbers do not meet."""
    neighbours = orders(blue, "app")
    there = await job_to(crowded, schemas, home)
    moved, _, _ = await move(there, crowded)
    await leaving.discard(there)
    moved.sql("INSERT INTO customers (id, email) VALUES (90000, 'far')")

    job = await job_to(moved, rows, home)
    found = await shape.look(job)
    assert found.refusals == ()
    back, done, mode = await move(job, moved)

    assert (mode, done.rows) == ("Offline", 601)
    assert await back.differences() == ()
    assert await blue.differences() == ()
    assert orders(blue, "app") == neighbours
    assert back.sql("SELECT count(*), max(id) FROM customers") == [(301, 90000)]
    assert back.sql("INSERT INTO customers (email) VALUES ('next') RETURNING id > 90000") == [(True,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        back.sql(f"INSERT INTO customers (tenant_id, email) VALUES ('{blue.id}', 'foreign')")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        moved.sql("SELECT 1")
    await leaving.discard(job)
    assert await back.differences() == ()


async def test_what_shared_tables_have_not_is_not_put_into_them(at, rows, schemas, home, crowded):
    moved, _, _ = await move(await job_to(crowded, schemas, home), crowded)
    moved.sql("ALTER TABLE customers ADD COLUMN extra int; CREATE TABLE more (tenant_id text, id int)", "mig_a")

    said = "; ".join((await shape.look(await job_to(moved, rows, home))).refusals)

    assert "what the shared tables have not: column customers.extra" in said
    assert "more" in said


async def test_one_that_is_given_up_leaves_no_row_in_shared_tables(at, server, rows, schemas, home, crowded):
    there = await job_to(crowded, schemas, home)
    moved, _, _ = await move(there, crowded)
    await leaving.discard(there)
    job = await job_to(moved, rows, home)
    await target.make(job, b"", (), {}, keys=False)
    await archive.put_rows(job)
    await verification.settle(job)
    assert len(orders(crowded, "app")) == 300

    await target.clear(job)

    assert orders(crowded, "app") == set()
    assert await moved.differences() == ()
    assert moved.sql("SELECT count(*) FROM customers") == [(300,)]
