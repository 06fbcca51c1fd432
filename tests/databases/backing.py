"""What the tests of backups share: a store, a key, and a tenant's backup taken and looked at from outside."""

from datetime import timedelta
from pathlib import Path

from paybill.backups import backup, programs, proof, tools
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
