"""``paybill export``: fetch what a customer takes along, opened, from the store of its Cell to a file.

The store and the key are read with the rights of who calls, so whoever may read the key's Secret may fetch; the bytes
go from the store to this machine and past nobody.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from paybill.api.cell import Cell
from paybill.api.failures import Blocked, Invalid
from paybill.api.tenant_backup import TenantBackup
from paybill.backups import backup as backups
from paybill.backups import opening
from paybill.backups.manifest import EXPORT
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.output import JSON, document, reported, text_output
from paybill.cluster.client import Cluster
from paybill.desired.resource import Key
from paybill.files import private_file
from paybill.local.home import Home
from paybill.settings import Settings, from_environment


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What was written."""

    tenant: str
    file: Path
    size: int
    rows: int


@click.command()
@click.argument("backup")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where it is written; by default BACKUP.zip in this folder.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the Cell's Directory is on this machine; by default PAYBILL_BACKUP_FOLDER, else the local instance's.",
)
@text_output
@kubeconfig_option
def export(*, backup: str, file: Path | None, folder: Path | None, output: str, kubeconfig: Path | None) -> None:
    """Fetch the zip file of BACKUP, a TenantBackup of format Export (`paybill backup TENANT --export`)."""
    with reported(output):
        settings, target = from_environment(), file or Path(f"{backup}.zip")
        where = folder or settings.backup_folder or Home.of().path / "backups"
        made = ask(kubeconfig, lambda cluster: fetch(cluster, settings, backup, where, target))
        if output == JSON:
            click.echo(document({"tenant": made.tenant, "file": str(made.file), "size": made.size, "rows": made.rows}))
        else:
            click.echo(f"{made.file}: {made.rows} rows of Tenant {made.tenant}, {made.size} bytes")


async def fetch(cluster: Cluster, settings: Settings, name: str, folder: Path, target: Path) -> Fetched:
    """Write the export of a TenantBackup to ``target``, whole or not at all.

    Raises ``Invalid("NotFound")``, ``Blocked("NotExported" | "NoBackupStore" | "BackupMissing" | "BackupDamaged")``.
    """
    found = await cluster.get(Key("TenantBackup", "", name))
    if found is None:
        raise Invalid("NotFound", f"there is no TenantBackup {name}: `paybill backups` lists them")
    backup = TenantBackup.read(found)
    status = backup.status
    if backup.spec.format != "Export" or status.verified_time is None or not status.tenant_id or not status.cell:
        raise Blocked("NotExported", _why_not(backup))
    cell = await cluster.get(Key("Cell", "", status.cell))
    spec = Cell.read(cell).spec.backup if cell is not None else None
    if spec is None:
        raise Blocked("NoBackupStore", f"Cell {status.cell}, in whose store it is, says nothing of backups any more")

    async def secret(called: str, what: str) -> Mapping[str, bytes]:
        return await _secret(cluster, Key("Secret", settings.namespace, called), what)

    store, keyring = await opening.opened(spec, status.cell, secret, folder)
    known = await backups.read_manifest(store, keyring, settings.installation, status.tenant_id, backup.metadata.uid)
    with private_file(target) as file:
        async for piece in backups.content(store, keyring, known, EXPORT):
            file.write(piece)
    return Fetched(
        tenant=backup.spec.tenant_ref.name, file=target, size=known.part(EXPORT).content, rows=known.ledger.rows
    )


def _why_not(backup: TenantBackup) -> str:
    name, tenant = backup.metadata.name, backup.spec.tenant_ref.name
    if backup.spec.format != "Export":
        return f"TenantBackup {name} has no export: `paybill backup {tenant} --export` makes one that has"
    return f"TenantBackup {name} is not verified: `kubectl describe tenantbackup {name}` says how far it is"


async def _secret(cluster: Cluster, key: Key, what: str) -> Mapping[str, bytes]:
    found = await cluster.get(key)
    if found is None:
        raise Invalid("SecretMissing", f"{key}, {what}, does not exist")
    try:
        return {field: base64.b64decode(value, validate=True) for field, value in (found.get("data") or {}).items()}
    except binascii.Error as error:
        raise Invalid("SecretMissing", f"{key}, {what}, holds what is no base64") from error
