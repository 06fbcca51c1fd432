"""A Cell's store of backups and the keys that seal them, opened for each job: both may be changed at any time."""

from __future__ import annotations

import base64

from paybill.api.cell_backup import Bucket, CellBackup
from paybill.api.failures import Blocked, Invalid
from paybill.backups.bucket import BucketStore
from paybill.backups.sealing import Keyring
from paybill.backups.store import DirectoryStore, Store
from paybill.desired.resource import Key
from paybill.reconcile.world import World

LOGIN = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""What the Secret of a bucket must hold."""


def declared(world: World, cell: str) -> CellBackup:
    """What the Cell says of backups; raises ``Blocked("NoBackupStore")`` when it says nothing."""
    found = world.declared.cells.get(cell)
    if found is None or found.spec.backup is None:
        raise Blocked(
            "NoBackupStore",
            f"Cell {cell} has no spec.backup, so nothing of it can be backed up: name a store and a key",
        )
    return found.spec.backup


async def opened(world: World, cell: str) -> tuple[Store, Keyring]:
    """The store and the keys of a Cell.

    Raises ``Blocked("NoBackupStore")``, ``Invalid("SecretMissing" | "BackupKeyInvalid")``.
    """
    spec = declared(world, cell)
    reference = spec.key_secret_ref
    keys = await _secret(world, reference.name, f"the backup key of Cell {cell}")
    keyring = Keyring.read(keys, reference.key)
    if spec.store.bucket is not None:
        return await _bucket(world, cell, spec.store.bucket), keyring
    folder = world.settings.backup_folder
    if folder is None:
        raise Blocked(
            "NoBackupStore",
            f"Cell {cell} keeps backups in a Directory, but this operator has none: set PAYBILL_BACKUP_FOLDER",
        )
    return DirectoryStore(folder / cell), keyring


async def _bucket(world: World, cell: str, spec: Bucket) -> Store:
    name = spec.credentials.secret_ref.name
    found = await _secret(world, name, f"the login of the bucket of Cell {cell}")
    lacking = [field for field in LOGIN if not found.get(field)]
    if lacking:
        raise Invalid("SecretMissing", f"Secret {name}, the login of the bucket of Cell {cell}, lacks {lacking[0]}")
    login = {field: value.decode(errors="replace").strip() for field, value in found.items()}
    return BucketStore.opened(
        spec.name,
        login,
        prefix=f"{spec.prefix}/{cell}" if spec.prefix else cell,
        region=spec.region,
        endpoint=spec.endpoint,
    )


async def _secret(world: World, name: str, what: str) -> dict[str, bytes]:
    key = Key("Secret", world.settings.namespace, name)
    found = await world.cluster.get(key)
    if found is None:
        raise Invalid("SecretMissing", f"{key}, {what}, does not exist: make it")
    return {field: base64.b64decode(value) for field, value in (found.get("data") or {}).items()}
