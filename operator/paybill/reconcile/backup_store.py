"""A Cell's store of backups and the keys that seal them, opened for each job: both may be changed at any time."""

from __future__ import annotations

import base64

from paybill.api.cell_backup import CellBackup
from paybill.api.failures import Blocked, Invalid
from paybill.backups import opening
from paybill.backups.sealing import Keyring
from paybill.backups.store import Store
from paybill.desired.resource import Key
from paybill.reconcile.world import World


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

    async def secret(name: str, what: str) -> dict[str, bytes]:
        key = Key("Secret", world.settings.namespace, name)
        found = await world.cluster.get(key)
        if found is None:
            raise Invalid("SecretMissing", f"{key}, {what}, does not exist: make it")
        return {field: base64.b64decode(value) for field, value in (found.get("data") or {}).items()}

    return await opening.opened(declared(world, cell), cell, secret, world.settings.backup_folder)
