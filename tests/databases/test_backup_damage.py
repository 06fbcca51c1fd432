"""A backup that is not as it was written is refused, whatever happened to it, before anything else is done."""

import pytest

from paybill.api.failures import Blocked
from paybill.backups import backup
from paybill.backups.store import DirectoryStore
from tests.databases.backing import KEYRING, data_file, take
from tests.databases.servers import start


@pytest.fixture(scope="module")
def at():
    """One server: what is tested here is what the store gives back."""
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
