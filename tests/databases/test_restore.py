"""A restore puts all of a backup in a tenant's place, in one moment, or changes nothing; wherever it is killed."""

from dataclasses import replace

import pytest

from paybill.api.failures import Blocked
from paybill.backups import restore as restoring
from paybill.backups.restoring import Restore, Target
from paybill.backups.store import DirectoryStore
from tests.databases.backing import KEYRING, LONGEST, data_file, no_fence, take
from tests.databases.tenancy import provision

STEPS = ("clear", "scratch", "rename", "create", "copy", "compare", "scrub", "switch", "close", "switched", "finish")


class Killed(BaseException):
    """Ends everything, as a killed process does."""


def restore_of(tenant, folder, known, **options) -> Restore:
    target = Target(server=tenant.server, pool=tenant.pool, tenant=tenant.id, uid=tenant.desired.uid)
    made = Restore(
        job="r1", store=DirectoryStore(folder), keyring=KEYRING, known=known, target=target, fence=no_fence,
        longest=LONGEST,
    )  # fmt: skip
    return replace(made, **options)


async def carry_out(tenant, restore: Restore) -> None:
    """As the reconcile does it: logins are closed only for the exchange."""
    await restoring.prepare(restore)
    await restoring.switch(restore)
    await tenant.ensure(access="Full")
    await restoring.finish(restore)


def schemas_of(tenant) -> list[str]:
    query = "SELECT nspname FROM pg_namespace WHERE nspname LIKE %s ORDER BY 1"
    return [name for (name,) in tenant.at.run(query, tenant.pool.name, [f"%\\_{tenant.id}"])]


async def filled(tenant) -> None:
    tenant.sql('CREATE TABLE more (id serial PRIMARY KEY, at timestamptz DEFAULT now(), "odd name" text)', "mig_a")
    tenant.sql("INSERT INTO notes SELECT i, md5(i::text) FROM generate_series(1, 300) i")
    tenant.sql("INSERT INTO more (\"odd name\") SELECT 'x' || i FROM generate_series(1, 20) i")


async def test_in_place_everything_is_as_it_was(acme, beta, tmp_path):
    await filled(acme)
    known = await take(acme, tmp_path)
    acme.sql("DELETE FROM notes WHERE id > 10; INSERT INTO notes VALUES (1000, 'new')")
    acme.sql("DROP TABLE more; CREATE TABLE since (a int)", "mig_a")

    await carry_out(acme, restore_of(acme, tmp_path, known))

    assert acme.sql("SELECT count(*), max(id) FROM notes") == [(300, 300)]
    assert acme.sql("INSERT INTO more (\"odd name\") VALUES ('y') RETURNING id") == [(21,)]
    assert acme.sql("SELECT to_regclass('since')") == [(None,)]
    assert acme.sql("SELECT count(*) FROM notes", "ro_a") == [(300,)]
    acme.sql("ALTER TABLE more ADD b int; CREATE TABLE later (a int)", "mig_a")
    acme.sql("INSERT INTO later VALUES (1)")
    assert schemas_of(acme) == [acme.schema]
    assert await acme.differences() == ()
    assert beta.sql("SELECT body FROM notes") == [("secret",)]


async def test_as_a_new_tenant_beside_the_old_one(at, acme, server, schemas, tmp_path):
    await filled(acme)
    known = await take(acme, tmp_path)
    copy = await provision(at, server, schemas)

    await carry_out(copy, restore_of(copy, tmp_path, known, scrub="UPDATE notes SET body = 'hidden'"))

    assert copy.sql("SELECT count(*), min(body), max(body) FROM notes") == [(300, "hidden", "hidden")]
    assert acme.sql("SELECT count(*) FROM notes WHERE body <> 'hidden'") == [(300,)]
    assert await copy.differences() == await acme.differences() == ()


async def test_rows_come_back_and_the_neighbours_stay(at, red, blue, server, rows, tmp_path):
    red.sql("INSERT INTO customers (id, email) SELECT i, i || '@example.org' FROM generate_series(10, 400) i")
    red.sql(
        "INSERT INTO orders (id, customer_id, previous) SELECT i, i, nullif(i - 1, 9) FROM generate_series(10, 300) i"
    )
    known = await take(red, tmp_path)
    red.sql("DELETE FROM orders; DELETE FROM customers; INSERT INTO customers (id, email) VALUES (7, 'new')")

    await carry_out(red, restore_of(red, tmp_path, known))

    assert red.sql("SELECT count(*) FROM customers") == [(392,)]
    assert red.sql("SELECT count(*) FROM orders WHERE previous IS NOT NULL") == [(290,)]
    copy = await provision(at, server, rows)
    await carry_out(copy, restore_of(copy, tmp_path, known))
    assert copy.sql("SELECT count(*) FROM orders") == [(292,)]
    assert blue.sql("SELECT count(*) FROM customers") == [(1,)]
    assert await red.differences() == await copy.differences() == ()


async def test_a_damaged_backup_changes_nothing(acme, tmp_path):
    await filled(acme)
    known = await take(acme, tmp_path)
    file = data_file(acme, tmp_path)
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)
    acme.sql("DELETE FROM notes WHERE id > 10")

    with pytest.raises(Blocked) as failure:
        await restoring.prepare(restore_of(acme, tmp_path, known))

    assert failure.value.reason == "BackupDamaged"
    assert acme.sql("SELECT count(*) FROM notes") == [(10,)]
    assert schemas_of(acme) == [acme.schema]


async def test_another_level_and_a_scrub_that_fails_are_refused(acme, red, tmp_path):
    known = await take(acme, tmp_path)
    with pytest.raises(Blocked) as unfit:
        await restoring.prepare(restore_of(red, tmp_path, known))
    assert unfit.value.reason == "RestoreUnfit"
    with pytest.raises(Blocked) as scrub:
        await restoring.prepare(restore_of(acme, tmp_path, known, scrub="UPDATE nothing SET a = 1"))
    assert scrub.value.reason == "ScrubFailed"
    assert await acme.differences() == ()
