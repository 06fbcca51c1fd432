"""A backup that is cut off, sealed with another key or another tenant's is refused before anything is touched."""

import pytest

from paybill.api.failures import Blocked
from paybill.backups import restore as restoring
from paybill.backups.backup import newest, read_manifest
from paybill.backups.sealing import Keyring
from paybill.backups.store import DirectoryStore
from tests.databases.backing import KEYRING, data_file, take
from tests.databases.servers import start
from tests.databases.test_restore import filled, restore_of, schemas_of


@pytest.fixture(scope="module")
def at():
    """One server: what is refused is the same on every one."""
    return start("Managed", 18)


@pytest.mark.parametrize("damage", ["another key", "another tenant's", "cut off"])
async def test_what_is_not_this_tenants_whole_backup_is_refused_before_anything_is_touched(
    damage, acme, beta, tmp_path
):
    await filled(acme)
    known = await take(acme, tmp_path)
    if damage == "another tenant's":
        await take(beta, tmp_path)
        data_file(acme, tmp_path).write_bytes(data_file(beta, tmp_path).read_bytes())
    elif damage == "cut off":
        file = data_file(acme, tmp_path)
        file.write_bytes(file.read_bytes()[:-17])
    keyring = Keyring(bytes(32)) if damage == "another key" else KEYRING
    acme.sql("DELETE FROM notes WHERE id > 10")

    with pytest.raises(Blocked) as failure:
        await restoring.prepare(restore_of(acme, tmp_path, known, keyring=keyring))

    assert failure.value.reason == ("BackupKeyMissing" if damage == "another key" else "BackupDamaged")
    assert acme.sql("SELECT count(*) FROM notes") == [(10,)]
    assert schemas_of(acme) == [acme.schema]


async def test_a_manifest_of_another_tenant_is_no_manifest_of_this_one(acme, beta, tmp_path):
    await take(acme, tmp_path)
    await take(beta, tmp_path)
    theirs, ours = (data_file(tenant, tmp_path).parent / "manifest.json" for tenant in (beta, acme))
    ours.write_bytes(theirs.read_bytes())
    with pytest.raises(Blocked, match="is that of b1 of tenant") as failure:
        await read_manifest(DirectoryStore(tmp_path), KEYRING, acme.pool.installation, acme.id, "b1")
    assert failure.value.reason == "BackupDamaged"


async def test_the_newest_of_a_store_is_found_without_its_object(acme, tmp_path):
    for name in ("b1", "b2"):
        await take(acme, tmp_path, name)
    store = DirectoryStore(tmp_path)
    assert (await newest(store, KEYRING, acme.pool.installation, acme.id)).id == "b2"
    with pytest.raises(Blocked) as nothing:
        await newest(store, KEYRING, acme.pool.installation, "zzzzzzzz")
    assert nothing.value.reason == "BackupMissing"


async def test_rows_of_shared_tables_that_were_altered_since_are_refused(red, blue, tmp_path):
    known = await take(red, tmp_path)
    red.at.run(f"SET ROLE {red.pool.name}_mig; ALTER TABLE app.orders ADD late int", red.pool.name)
    try:
        with pytest.raises(Blocked, match="late") as failure:
            await restoring.switch(restore_of(red, tmp_path, known))
        assert failure.value.reason == "RestoreUnfit"
    finally:
        red.at.run(f"SET ROLE {red.pool.name}_mig; ALTER TABLE app.orders DROP late", red.pool.name)
    await red.ensure(access="Full")
    assert red.sql("SELECT count(*) FROM orders") == [(1,)]
    assert blue.sql("SELECT count(*) FROM customers") == [(1,)]
