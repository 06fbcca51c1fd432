"""A backup holds all of one tenant and nothing of another, and is believed only after it was restored and compared."""

import asyncio
import contextlib
import subprocess
import threading

import pytest

from paybill.api.failures import Blocked
from paybill.backups import backup, programs, proof, tools
from paybill.backups.scratch import left_over
from paybill.backups.store import DirectoryStore
from tests.databases.backing import KEYRING, data_file, take

FULL = """
CREATE TYPE mood AS ENUM ('fine', 'sad');
CREATE DOMAIN short AS text CHECK (length(VALUE) < 100);
CREATE FUNCTION twice(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i * 2';
CREATE TABLE things (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz DEFAULT now(), how mood,
  size double precision, bits bytea, doc jsonb, tags text[], title short,
  doubled int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE parts (thing int REFERENCES things, n serial, "odd name" interval, UNIQUE (thing, n));
CREATE INDEX ON things (twice(id));
CREATE VIEW seen AS SELECT id, how FROM things;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM things;
CREATE TABLE split (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE split_1 PARTITION OF split FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE UNLOGGED TABLE quick (a int, a2 int);
CREATE TABLE empty ();
INSERT INTO things (how, size, bits, doc, tags, title)
  SELECT 'fine', i / 3.0, decode(md5(i::text), 'hex'),
    jsonb_build_object('i', i), ARRAY['a', 'ü\"'], 'x' FROM generate_series(1, 500) i;
INSERT INTO parts (thing, "odd name") SELECT id, id * interval '1 hour' FROM things;
INSERT INTO split SELECT i, '2026-03-01'::date + i % 100 FROM generate_series(1, 50) i;
INSERT INTO quick VALUES (1, 1), (1, 1);
"""


async def proved(tenant, folder, name="b1"):
    store = DirectoryStore(folder)
    known = await backup.read_manifest(store, KEYRING, tenant.pool.installation, tenant.id, name)
    await proof.prove(tenant.server, store, KEYRING, known)
    return known


async def as_sql(tenant, folder, known) -> str:
    """All that a restore would run."""
    client = await tools.for_server(tenant.server.traits.version)
    argv = [client.program("pg_restore"), "--no-owner", "--file=-"]
    content = backup.content(DirectoryStore(folder), KEYRING, known)
    return b"".join([piece async for piece in programs.output(argv, {}, 60, content)]).decode()


def truth(tenant, table: str) -> int:
    return tenant.at.run(f"SELECT count(*) FROM {tenant.schema}.{table}", tenant.pool.name)[0][0]


def backup_logins(tenant) -> list[tuple]:
    query = (
        f"SELECT rolname, rolcanlogin, rolbypassrls FROM pg_roles WHERE rolname LIKE 'pb_{tenant.id}_bak_%' ORDER BY 1"
    )
    return tenant.at.run(query)


async def test_what_was_counted_is_in_the_backup_and_comes_back(acme, beta, tmp_path):
    acme.sql(FULL, "mig_a")

    known = await take(acme, tmp_path)

    rows = {table.name: table.rows for table in known.ledger.tables}
    assert rows == {"empty": 0, "notes": 0, "parts": 500, "quick": 2, "split_1": 50, "things": 500}
    assert rows == {name: truth(acme, name) for name in rows}
    assert await proved(acme, tmp_path) == known
    assert await left_over(acme.server) == []


async def test_the_backup_logins_are_closed_afterwards(acme, red, tmp_path):
    for tenant in (acme, red):
        await take(tenant, tmp_path)
        assert backup_logins(tenant) == [(f"pb_{tenant.id}_bak_{slot}", False, False) for slot in "ab"]
        assert await tenant.differences() == ()


async def test_nothing_of_a_neighbour_and_nothing_readable_is_stored(acme, beta, tmp_path):
    acme.sql("INSERT INTO notes VALUES (1, 'a very particular sentence')")

    known = await take(acme, tmp_path)

    stored = data_file(acme, tmp_path).read_bytes()
    assert b"particular" not in stored
    assert b"PGDMP" not in stored
    script = await as_sql(acme, tmp_path, known)
    assert "very particular" in script
    assert beta.id not in script


async def test_only_the_tenants_rows_of_shared_tables(red, blue, tmp_path):
    red.sql("INSERT INTO customers (id, email) SELECT i, i || '@example.org' FROM generate_series(10, 400) i")
    red.sql("INSERT INTO orders (id, previous) SELECT i, i - 1 FROM generate_series(2, 300) i")

    known = await take(red, tmp_path)

    assert {table.name: table.rows for table in known.ledger.tables} == {"customers": 392, "orders": 300}
    await proved(red, tmp_path)
    script = await as_sql(red, tmp_path, known)
    assert "red@example.org" in script
    assert blue.id not in script
    assert "blue@example.org" not in script


async def test_a_tenant_that_goes_on_writing_is_backed_up_at_one_moment(acme, tmp_path):
    acme.sql("INSERT INTO notes SELECT i, 'x' FROM generate_series(1, 20000) i")
    stop = threading.Event()

    def write() -> None:
        with acme.connect() as session:
            number = 20_000
            while not stop.is_set():
                number += 1
                session.execute("INSERT INTO notes VALUES (%s, 'y')", [number])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        known = await take(acme, tmp_path)
    finally:
        stop.set()
        writer.join()

    assert known.ledger.rows < truth(acme, "notes")
    await proved(acme, tmp_path)


async def test_a_login_that_row_security_does_not_know_is_caught(red, tmp_path):
    """A function as the first releases had it: it knows app and ro, so the dump ends well and holds nothing."""
    pool = red.pool.name
    body = red.at.run(
        "SELECT prosrc FROM pg_proc WHERE proname = 'tenant' AND pronamespace = 'paybill'::regnamespace", pool
    )[0][0]
    define = (
        "CREATE OR REPLACE FUNCTION paybill.tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE"
        " SET search_path = pg_catalog, pg_temp AS $x${}$x$"
    )
    red.at.run(define.format(body.replace("|bak", "")), pool)
    try:
        with pytest.raises(Blocked) as failure:
            await take(red, tmp_path)
        assert failure.value.reason == "DumpSeesNothing"
        assert not data_file(red, tmp_path).exists()
    finally:
        red.at.run(define.format(body), pool)


async def test_without_that_look_only_the_count_tells(red, tmp_path, monkeypatch):
    """The protection removed: pg_dump exits 0 without a row, and the proof is what finds it out."""
    if red.at.profile != "Superuser":
        pytest.skip("a managed administrator makes no login past row security, so there the look is the only guard")

    async def blind(*_) -> None:
        return

    monkeypatch.setattr(backup, "_refuse_blind", blind)
    red.at.run(
        "CREATE POLICY hidden ON app.customers AS RESTRICTIVE FOR ALL USING (session_user !~ '_bak_')", red.pool.name
    )
    red.at.run(
        "CREATE POLICY hidden ON app.orders AS RESTRICTIVE FOR ALL USING (session_user !~ '_bak_')", red.pool.name
    )
    try:
        await take(red, tmp_path)
        with pytest.raises(Blocked) as failure:
            await proved(red, tmp_path)
    finally:
        red.at.run("DROP POLICY hidden ON app.customers; DROP POLICY hidden ON app.orders", red.pool.name)
    assert failure.value.reason == "BackupIncomplete"
    assert "table customers had 1 rows, the backup has 0" in failure.value.message


async def test_a_table_that_may_not_be_read_fails_the_backup(acme, tmp_path):
    acme.sql(f"CREATE TABLE hidden (a int); REVOKE SELECT ON hidden FROM pb_{acme.id}_r", "mig_a")
    with pytest.raises(Blocked) as failure:
        await take(acme, tmp_path)
    assert "hidden" in failure.value.message
    assert backup_logins(acme) == [(f"pb_{acme.id}_bak_{slot}", False, False) for slot in "ab"]


async def test_large_objects_are_refused_and_named(acme, tmp_path):
    acme.at.run(
        f"SELECT lo_create(0); ALTER LARGE OBJECT {acme.at.run('SELECT lo_create(0)', acme.pool.name)[0][0]}"
        f" OWNER TO pb_{acme.id}_owner",
        acme.pool.name,
    )
    with pytest.raises(Blocked) as failure:
        await take(acme, tmp_path)
    assert failure.value.reason == "LargeObjects"
    assert "1 large objects" in failure.value.message


async def test_a_cancelled_backup_closes_its_logins_and_is_none(acme, tmp_path):
    acme.sql("INSERT INTO notes SELECT i, repeat(md5(i::text), 50) FROM generate_series(1, 20000) i")
    dumping = asyncio.Event()
    task = asyncio.create_task(take(acme, tmp_path, progress=lambda *_: dumping.set()))
    await asyncio.wait_for(dumping.wait(), 60)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    assert backup_logins(acme) == [(f"pb_{acme.id}_bak_{slot}", False, False) for slot in "ab"]
    with pytest.raises(Blocked) as failure:
        await proved(acme, tmp_path)
    assert failure.value.reason == "BackupMissing"


async def test_a_role_of_that_name_that_is_not_ours_stops_it(acme, tmp_path):
    acme.at.run(f"CREATE ROLE pb_{acme.id}_bak_a")
    with pytest.raises(Blocked) as failure:
        await take(acme, tmp_path)
    assert failure.value.reason == "NameConflict"
    acme.at.run(f"DROP ROLE pb_{acme.id}_bak_a")


async def test_what_a_tenant_has_in_its_tables_runs_as_nobody(acme, tmp_path):
    """A function in an index and a trigger that would make the tenant a superuser, given the chance."""
    acme.sql(
        f"""
        CREATE FUNCTION grab(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
          BEGIN EXECUTE 'ALTER ROLE {acme.login("app_a")} SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
          RETURN i; END $$;
        CREATE TABLE trap (i int CHECK (grab(i) = i));
        CREATE INDEX ON trap (grab(i));
        INSERT INTO trap VALUES (1);
        """,
        "mig_a",
    )
    await take(acme, tmp_path)
    await proved(acme, tmp_path)
    assert acme.at.run("SELECT rolsuper FROM pg_roles WHERE rolname = %s", "postgres", [acme.login("app_a")]) == [
        (False,)
    ]


async def test_the_password_is_in_no_argument(acme, tmp_path):
    acme.sql(
        "INSERT INTO notes SELECT i, (SELECT string_agg(md5(i + j * 0.1 || ''), '') FROM generate_series(1, 20) j)"
        " FROM generate_series(1, 5000) i"
    )
    seen: list[str] = []

    def look(*_) -> None:
        listed = subprocess.run(["ps", "-wweo", "args"], check=True, capture_output=True, text=True).stdout
        seen.extend(line for line in listed.splitlines() if "pg_dump" in line)

    await take(acme, tmp_path, progress=look)
    assert seen
    assert not [line for line in seen if "PASSWORD" in line.upper().replace("--NO-PASSWORD", "")]


async def test_tools_fit_the_server(server):
    found = await tools.for_server(server.traits.version)
    assert found.major == server.traits.version // 10_000
