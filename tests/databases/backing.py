"""What the tests of backups share: a store, a key, and a tenant's backup taken and looked at from outside."""

from datetime import timedelta
from pathlib import Path

from paybill.backups import backup
from paybill.backups.sealing import Keyring
from paybill.backups.store import DirectoryStore
from tests.databases.tenancy import Tenant

KEY = bytes(range(32))
KEYRING = Keyring(KEY)
LONGEST = timedelta(minutes=2)


async def no_fence(session) -> None:
    assert session.info.transaction_status.name in ("INTRANS", "ACTIVE")


def source(tenant: Tenant) -> backup.Source:
    return backup.Source(server=tenant.server, pool=tenant.pool, tenant=tenant.id, uid=tenant.desired.uid)


async def take(tenant: Tenant, folder: Path, name: str = "b1", **options):
    return await backup.take(
        source(tenant), DirectoryStore(folder), KEYRING, name, fence=no_fence, longest=LONGEST, **options
    )


def data_file(tenant: Tenant, folder: Path, name: str = "b1") -> Path:
    return folder / tenant.pool.installation / tenant.id / name / "data"
