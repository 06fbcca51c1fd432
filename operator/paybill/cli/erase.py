"""``paybill erase``: remove a tenant and every backup of it, at once and for good, because a person says so by name.

It shows what goes, asks for the Tenant's name, writes an Approval of exactly that in the name of whoever calls, and
deletes the Tenant if it still stands. The operator does the rest; calling it again goes on where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from paybill.api.failures import Invalid
from paybill.api.tenant import Tenant
from paybill.api.tenant_backup import TenantBackup
from paybill.cli import approving
from paybill.cli.audit import connected, database_option
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import all_of
from paybill.cli.output import JSON, document, fields, moment, reported, text_output
from paybill.cli.registry import Kept, read
from paybill.cluster.client import Cluster
from paybill.desired import approval as approvals
from paybill.desired import names
from paybill.desired.resource import Key


@dataclass(frozen=True, kw_only=True)
class Doomed:
    """What an erasure removes."""

    name: str
    row: Kept
    stands: bool
    """Whether there is a Tenant object, which is deleted first."""
    backups: tuple[TenantBackup, ...]

    @property
    def digest(self) -> str:
        """What the Approval approves."""
        return approvals.erasure(self.row.id, self.row.tenant_uid)


@click.command()
@click.argument("tenant")
@click.option("--id", "tenant_id", metavar="ID", help="Which one, where the registry knows more than one of that name.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and do nothing.")
@click.option("--confirm", metavar="NAME", help="The Tenant's name once more; without it you are asked.")
@click.option("--wait", default=600.0, show_default=True, metavar="SECONDS", help="How long to wait for the operator.")
@click.option("--installation", metavar="NAME", help="Where the control database knows more than one.")
@text_output
@kubeconfig_option
@database_option
def erase(
    *, tenant: str, tenant_id: str | None, dry_run: bool, confirm: str | None, wait: float, installation: str | None,
    output: str, kubeconfig: Path | None, database: str | None,
) -> None:  # fmt: skip
    """Remove TENANT, its data and every backup of it for good: no last backup, no retention. Proof stays."""
    with reported(output):
        with connected(database) as connection:
            _, kept = read(connection, installation)
        doomed = ask(kubeconfig, lambda cluster: find(cluster, kept, tenant, tenant_id))
        _show(doomed, output, dry_run=dry_run)
        if dry_run:
            return
        if confirm is None:
            confirm = click.prompt(f"This cannot be undone. Type the Tenant's name, {tenant}, to go on", err=True)
        if confirm != tenant:
            raise Invalid("NotConfirmed", f"{confirm!r} is not the name of Tenant {tenant}: nothing was done")
        ask(kubeconfig, lambda cluster: carry_out(cluster, doomed, wait))
        click.echo(f"Tenant {tenant} ({doomed.row.id}) is erased; `paybill audit log --tenant` is the proof", err=True)


async def find(cluster: Cluster, kept: list[Kept], name: str, tenant_id: str | None) -> Doomed:
    """What there is to be erased under this name; raises Invalid ``NotFound`` or ``WhichTenant``."""
    rows = [row for row in kept if row.tenant_name == name and tenant_id in (None, row.id)]
    backups = await all_of(cluster, TenantBackup)
    mine = {row.id: tuple(one for one in backups if one.status.tenant_id == row.id) for row in rows}
    rows = [row for row in rows if row.state != "dropped" or mine[row.id]]
    if not rows:
        raise Invalid("NotFound", f"nothing is left of a Tenant {name}, neither data nor backups")
    if len(rows) > 1:
        listed = ", ".join(f"{row.id} ({row.state})" for row in rows)
        raise Invalid("WhichTenant", f"there was more than one Tenant {name}: {listed}; say which with --id")
    (row,) = rows
    found = await cluster.get(Key("Tenant", "", name))
    stands = found is not None and Tenant.read(found).metadata.uid == row.tenant_uid
    return Doomed(name=name, row=row, stands=stands, backups=mine[row.id])


async def carry_out(cluster: Cluster, doomed: Doomed, wait: float) -> None:
    """Approve, delete the Tenant if it stands, and wait until nothing is left."""
    subject = {"kind": "Tenant", "name": doomed.name, "uid": doomed.row.tenant_uid}
    name = await approving.written(cluster, "erase", subject, doomed.digest, action="Erase")
    click.echo(f"Approval {name}: the operator erases tenant {doomed.row.id}", err=True)
    if doomed.stands:
        said = f"Tenant {doomed.name} could not be deleted within {wait:.0f} s"
        await approving.until(lambda: _delete(cluster, doomed), wait, said)
    await approving.used(cluster, name, wait)


async def _delete(cluster: Cluster, doomed: Doomed) -> bool:
    """Delete the Tenant as its delete protection asks; raises Retry when somebody wrote on it in between."""
    key = Key("Tenant", "", doomed.name)
    found = await cluster.get(key)
    metadata = found["metadata"] if found is not None else {}
    if metadata.get("uid") != doomed.row.tenant_uid or "deletionTimestamp" in metadata:
        return True
    meant = await cluster.annotate(key, {names.ALLOW_DELETE_ANNOTATION: doomed.name})
    version = meant["metadata"]["resourceVersion"]
    return await cluster.delete(key, uid=doomed.row.tenant_uid, resource_version=version)


def _show(doomed: Doomed, output: str, *, dry_run: bool) -> None:
    row = doomed.row
    what: dict[str, Any] = {
        "tenant": doomed.name,
        "id": row.id,
        "state": row.state,
        "cell": row.cell,
        "server": row.server,
        "level": row.level,
        "backups": [one.metadata.name for one in doomed.backups],
        "digest": doomed.digest,
        "dryRun": dry_run,
    }
    if output == JSON:
        click.echo(document(what))
        return
    click.echo(f"Tenant {doomed.name} is erased:" if not dry_run else f"Tenant {doomed.name} would be erased:")
    shown = (
        ("object", "deleted" if doomed.stands else None),
        ("id", row.id),
        ("data", f"level {row.level} on server {row.server} of cell {row.cell}" if row.state != "dropped" else "gone"),
        ("kept until", moment(row.drop_after)),
        ("backups", ", ".join(one.metadata.name for one in doomed.backups) or "none"),
        ("stays", "the registry's tombstone and the audit log"),
    )
    for line in fields(shown):
        click.echo(line)
