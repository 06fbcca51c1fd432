"""Opens the store and the keys that a Cell names, for the operator and for who fetches an export."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from paybill.api.cell_backup import Bucket, CellBackup
from paybill.api.failures import Blocked, Invalid
from paybill.backups.bucket import BucketStore
from paybill.backups.sealing import Keyring
from paybill.backups.store import DirectoryStore, Store

LOGIN = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""What the Secret of a bucket must hold."""

Secrets = Callable[[str, str], Awaitable[Mapping[str, bytes]]]
"""The data of a Secret by its name; the second says what it is, for the failure when there is none."""


async def opened(spec: CellBackup, cell: str, secrets: Secrets, folder: Path | None) -> tuple[Store, Keyring]:
    """The store and the keys of a Cell; ``folder`` is where a Directory would be.

    Raises ``Blocked("NoBackupStore")``, ``Invalid("SecretMissing" | "BackupKeyInvalid")``.
    """
    reference = spec.key_secret_ref
    keyring = Keyring.read(await secrets(reference.name, f"the backup key of Cell {cell}"), reference.key)
    if spec.store.bucket is not None:
        return await _bucket(spec.store.bucket, cell, secrets), keyring
    if folder is None:
        raise Blocked(
            "NoBackupStore",
            f"Cell {cell} keeps backups in a Directory, but this operator has none: set PAYBILL_BACKUP_FOLDER",
        )
    return DirectoryStore(folder / cell), keyring


async def _bucket(spec: Bucket, cell: str, secrets: Secrets) -> Store:
    name = spec.credentials.secret_ref.name
    found = await secrets(name, f"the login of the bucket of Cell {cell}")
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
