"""What can happen to a backup while it is made and while it lies there, and what must not come of it."""

import asyncio
import contextlib
import subprocess
import threading

import pytest

from paybill.api.failures import Blocked
from paybill.backups import backup
from paybill.backups.store import DirectoryStore
from tests.databases.backing import KEYRING, as_sql, backup_logins, data_file, proved, take, truth
from tests.databases.servers import start


@pytest.fixture(scope="module")
def at():
    """One server: none of this depends on its version or on its administrator."""
    return start("Superuser", 18)


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "other key", "manifest", "another's"])
async def test_a_damaged_backup_is_refused(acme, tmp_path, damage):
    acme.sql("INSERT INTO notes SELECT i, md5(i::text) FROM generate_series(1, 500) i")
    await take(acme, tmp_path)
    await take(acme, tmp_path, "b2")
    file = data_file(acme, tmp_path)
    whole = bytearray(file.read_bytes())
    keyring = KEYRING
    match damage:
        case "flipped":
            whole[len(whole) // 2] ^= 1
        case "cut":
            del whole[-1000:]
        case "longer":
            whole += b"\0"
        case "another's":
            whole = bytearray(data_file(acme, tmp_path, "b2").read_bytes())
        case "other key":
            keyring = type(KEYRING)(bytes(32))
        case "manifest":
            listed = file.with_name("manifest.json")
            listed.write_bytes(listed.read_bytes().replace(b'"rows": 500', b'"rows": 400'))
    file.write_bytes(whole)

    store = DirectoryStore(tmp_path)

    async def read() -> None:
        known = await backup.read_manifest(store, keyring, acme.pool.installation, acme.id, "b1")
        await backup.check(store, keyring, known)

    with pytest.raises(Blocked) as failure:
        await read()
    assert failure.value.reason == ("BackupKeyMissing" if damage == "other key" else "BackupDamaged")


async def test_nothing_of_a_neighbour_and_nothing_readable_is_stored(acme, beta, tmp_path):
    acme.sql("INSERT INTO notes VALUES (1, 'a very particular sentence')")

    known = await take(acme, tmp_path)

    stored = data_file(acme, tmp_path).read_bytes()
    assert b"particular" not in stored
    assert b"PGDMP" not in stored
    script = await as_sql(acme, tmp_path, known)
    assert "very particular" in script
    assert beta.id not in script


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
