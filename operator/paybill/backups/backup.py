"""Takes one backup of one tenant: count, dump the very same snapshot, seal, store, and write the manifest last.

The count is made by another login than the dump, before it, in a transaction whose snapshot the dump then uses: so the
two must agree to the last row although the tenant goes on writing. Whether they do is what ``proof.py`` finds out.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from paybill.api.failures import Blocked
from paybill.backups import ledger, logins, manifest, programs, tools
from paybill.backups.logins import COUNTS, DUMPS
from paybill.backups.manifest import DATA, FILE, Ledger, Manifest, Part
from paybill.backups.programs import Login
from paybill.backups.sealing import Keyring, opened, sealed
from paybill.backups.store import Store
from paybill.backups.tools import Tools
from paybill.databases.drop import Fence
from paybill.databases.places import Session
from paybill.databases.server import Server
from paybill.desired import sql_names as names
from paybill.desired.database_tenant import PoolDatabase

LONGEST: Final = timedelta(hours=6)
"""How long a backup or a restore may take before it is stopped."""

Progress = Callable[[str, int], None]
"""Told what is being done, and how many bytes of it are."""


def silent(_step: str, _bytes: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Whose data, and where it lies."""

    server: Server
    pool: PoolDatabase
    tenant: str
    uid: str
    plan: str = ""
    revision: str = ""
    migrated: int | None = None

    @property
    def rows(self) -> bool:
        """Whether it lies in shared tables."""
        return self.pool.holds == "Rows"

    @property
    def schema(self) -> str:
        """Where the tables are."""
        return names.ROWS_SCHEMA if self.rows else names.schema(self.tenant)

    @property
    def mark(self) -> str:
        """What the tenant's roles carry."""
        return names.mark(self.pool.installation, self.uid)


def folder(installation: str, tenant: str, backup: str) -> str:
    """Where the files of a backup are in its store."""
    return f"{installation}/{names.tenant_id(tenant)}/{backup}"


async def take(
    source: Source,
    store: Store,
    keyring: Keyring,
    backup: str,
    *,
    fence: Fence,
    progress: Progress = silent,
    longest: timedelta = LONGEST,
) -> Manifest:
    """Take the backup named ``backup``; nothing of it counts before the manifest is written, and that is last.

    ``fence`` guards what is changed on the server (the backup logins). Raises ``Blocked("ClientToolsMissing" |
    "ClientToolFailed" | "LargeObjects" | "DumpSeesNothing" | "NameConflict")``, ``Retry("BackupStoreUnavailable" |
    "BackupTooSlow")`` and what ``Server.session`` raises. What was stored of a failed one is removed by the next
    attempt of the same name, or by ``remove``.
    """
    server, pool = source.server, source.pool
    started, until = datetime.now(UTC), datetime.now(UTC) + longest
    client = await tools.for_server(server.traits.version)
    await remove(store, pool.installation, source.tenant, backup)
    await _refuse_large_objects(source)
    async with (
        logins.opened(server, pool, source.tenant, source.mark, COUNTS, until=until, fence=fence) as counts,
        logins.opened(server, pool, source.tenant, source.mark, DUMPS, until=until, fence=fence) as dumps,
        logins.session(server, counts) as session,
    ):
        await _refuse_blind(source, dumps, counts)
        async with session.transaction():
            progress("Counting", 0)
            snapshot, counted = await _counted(session, source)
            part = await _dump(source, client, dumps, snapshot, counted, store, keyring, backup, progress, longest)
    written = Manifest(
        id=backup,
        tenant=source.tenant,
        uid=source.uid,
        installation=pool.installation,
        level="Rows" if source.rows else "Schema",
        schema_name=source.schema,
        database=pool.name,
        plan=source.plan,
        revision=source.revision,
        migrated=source.migrated,
        server_version=server.traits.version,
        tools_version=client.major * 10_000 + client.minor,
        started=started,
        ended=datetime.now(UTC),
        ledger=counted,
        parts=(part,),
        key=keyring.current,
    )
    await write_manifest(store, keyring, written)
    return written


async def write_manifest(store: Store, keyring: Keyring, known: Manifest) -> None:
    """Say what is in a backup, in place of what was said of it before."""
    where = folder(known.installation, known.tenant, known.id)
    await store.put(f"{where}/{FILE}", programs.once(known.written(keyring)))


async def write_part(
    store: Store,
    keyring: Keyring,
    key: str,
    where: str,
    name: str,
    content: AsyncIterator[bytes],
    told: Callable[[int], None],
) -> Part:
    """Seal ``content`` as the part ``name`` of the backup in the folder ``where``, and put it there.

    ``told`` hears how many bytes of the content were taken so far.
    """
    digest, plain, size = hashlib.sha256(), 0, 0

    async def taken() -> AsyncIterator[bytes]:
        nonlocal plain
        async for piece in content:
            plain += len(piece)
            told(plain)
            yield piece

    async def stored() -> AsyncIterator[bytes]:
        nonlocal size
        backup = where.rpartition("/")[2]
        async for piece in sealed(taken(), keyring.key(key), sealed_as(backup, name)):
            digest.update(piece)
            size += len(piece)
            yield piece

    await store.put(f"{where}/{name}", stored())
    return Part(name=name, size=size, content=plain, sha256=digest.hexdigest())


async def read_manifest(store: Store, keyring: Keyring, installation: str, tenant: str, backup: str) -> Manifest:
    """The manifest of a stored backup; raises ``Blocked("BackupMissing" | "BackupDamaged" | "BackupKeyMissing")``."""
    pieces = [piece async for piece in store.get(f"{folder(installation, tenant, backup)}/{FILE}")]
    return manifest.read(b"".join(pieces), keyring, backup=backup, tenant=tenant)


async def newest(store: Store, keyring: Keyring, installation: str, tenant: str) -> Manifest:
    """The manifest of the newest backup that a store holds of a tenant; raises ``Blocked("BackupMissing")`` too."""
    of = f"{installation}/{names.tenant_id(tenant)}"
    found = [name.split("/")[-2] for name in await store.names(of) if name.endswith(f"/{FILE}")]
    if not found:
        raise Blocked("BackupMissing", f"{store.address} holds no backup of tenant {tenant}")
    known = [await read_manifest(store, keyring, installation, tenant, backup) for backup in found]
    return max(known, key=lambda one: (one.ended, one.id))


async def remove(store: Store, installation: str, tenant: str, backup: str) -> None:
    """Remove a backup: its manifest first, so that what is left of it when this is killed is no backup."""
    where = folder(installation, tenant, backup)
    await store.delete(f"{where}/{FILE}")
    await store.delete(where)


async def content(store: Store, keyring: Keyring, known: Manifest, name: str = DATA) -> AsyncGenerator[bytes, None]:
    """A part (the dump), opened; ``Blocked("BackupDamaged")`` at the first byte that is not as it was written."""
    part = known.part(name)
    stored = store.get(f"{folder(known.installation, known.tenant, known.id)}/{part.name}")
    async for piece in opened(_as_stored(stored, known, part), keyring.key(known.key), sealed_as(known.id, name)):
        yield piece


async def check(store: Store, keyring: Keyring, known: Manifest) -> None:
    """Read a backup to its end and raise ``Blocked("BackupDamaged")`` unless every byte is as it was written."""
    async for _ in content(store, keyring, known):
        pass


async def _as_stored(stored: AsyncIterator[bytes], known: Manifest, part: Part) -> AsyncIterator[bytes]:
    digest, size = hashlib.sha256(), 0
    async for piece in stored:
        digest.update(piece)
        size += len(piece)
        yield piece
    if (size, digest.hexdigest()) != (part.size, part.sha256):
        raise Blocked("BackupDamaged", f"{part.name} of backup {known.id} is not what its manifest says: {size} bytes")


async def _dump(
    source: Source,
    client: Tools,
    login: Login,
    snapshot: str,
    counted: Ledger,
    store: Store,
    keyring: Keyring,
    backup: str,
    progress: Progress,
    longest: timedelta,
) -> Part:
    argv = [client.program("pg_dump"), *_arguments(source, snapshot, counted)]
    where = folder(source.pool.installation, source.tenant, backup)
    async with aclosing(programs.output(argv, login.environment(), longest.total_seconds())) as dumped:
        return await write_part(
            store, keyring, keyring.current, where, DATA, dumped, lambda size: progress("Dumping", size)
        )


def _arguments(source: Source, snapshot: str, counted: Ledger) -> list[str]:
    arguments = [
        "--format=custom",
        "--no-password",
        "--no-publications",
        "--no-subscriptions",
        "--no-security-labels",
        "--lock-wait-timeout=30s",
        f"--snapshot={snapshot}",
        f"--schema={source.schema}",
    ]
    if source.rows:
        # What a shared sequence has given out is the neighbours' business too: a tenant's login may not read it.
        arguments.append("--enable-row-security")
        arguments += [f"--exclude-table-data={source.schema}.{name}" for name in _shared_sequences(counted)]
    return arguments


def _shared_sequences(counted: Ledger) -> list[str]:
    marked = "relation S "
    found = (what.removeprefix(marked) for what in counted.objects if what.startswith(marked))
    return ['"' + name.replace('"', '""') + '"' for name in found]


async def _counted(session: Session, source: Source) -> tuple[str, Ledger]:
    cursor = await session.execute("SELECT pg_export_snapshot()")
    found = await cursor.fetchone()
    snapshot = str(found[0]) if found is not None else ""
    return snapshot, await ledger.read(session, source.schema, tenant=source.tenant if source.rows else "")


async def _refuse_blind(source: Source, *those: Login) -> None:
    """Raise unless row security takes each login for the tenant's: one that it does not know dumps nothing, gladly."""
    if not source.rows:
        return
    for login in those:
        async with logins.session(source.server, login) as session:
            cursor = await session.execute("SELECT paybill.tenant()")
            found = await cursor.fetchone()
        if found is None or found[0] != source.tenant:
            raise Blocked(
                "DumpSeesNothing",
                f"login {login.user} is not taken for tenant {source.tenant}'s by the row security of database"
                f" {source.pool.name}: a dump would hold none of its rows",
            )


async def _refuse_large_objects(source: Source) -> None:
    """Raise when the tenant has large objects: they belong to no schema, so a dump of its schema leaves them out."""
    query = (
        "SELECT count(*)::int FROM pg_largeobject_metadata m JOIN pg_roles r ON r.oid = m.lomowner"
        " WHERE r.rolname = ANY(%s)"
    )
    async with source.server.session(source.pool.name) as session:
        cursor = await session.execute(query, [sorted(names.role_names(source.tenant))])
        found = await cursor.fetchone()
    if found is not None and found[0]:
        raise Blocked(
            "LargeObjects",
            f"tenant {source.tenant} has {found[0]} large objects, which a backup of its schema does not hold: store"
            " them as bytea, or remove them",
        )


def sealed_as(backup: str, part: str) -> str:
    """What a part is sealed as: none can be passed off as another."""
    return f"backup {backup}/{part}"
