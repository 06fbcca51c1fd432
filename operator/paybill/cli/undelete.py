"""``paybill undelete``: a Tenant whose deletion is not carried out yet comes back with all that it had.

It makes the Tenant with the id that it had and writes the Approval that lets it adopt what the registry kept. What has
been dropped is beyond that: then the last backup is what there is, and the answer says how to restore it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from paybill.api.base import API_VERSION
from paybill.api.failures import Blocked, Invalid
from paybill.api.tenant_backup import TenantBackup
from paybill.cli.adopt import approve
from paybill.cli.adoptable import single
from paybill.cli.audit import connected, database_option
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import all_of
from paybill.cli.output import JSON, document, moment, reported, text_output
from paybill.cli.registry import Kept, read
from paybill.cluster.client import Cluster
from paybill.desired.resource import Key


@click.command()
@click.argument("tenant")
@click.option("--id", "tenant_id", metavar="ID", help="Which one, where several Tenants of that name were deleted.")
@click.option("--dry-run", is_flag=True, help="Say what would come back, and do nothing.")
@click.option("--wait", default=600.0, show_default=True, metavar="SECONDS", help="How long to wait for the operator.")
@click.option("--installation", metavar="NAME", help="Where the control database knows more than one.")
@text_output
@kubeconfig_option
@database_option
def undelete(
    *, tenant: str, tenant_id: str | None, dry_run: bool, wait: float, installation: str | None, output: str,
    kubeconfig: Path | None, database: str | None,
) -> None:  # fmt: skip
    """Bring TENANT back, which was deleted and is not dropped yet: the same id, data, endpoint and credentials."""
    with reported(output):
        with connected(database) as connection:
            _, kept = read(connection, installation)
        row = ask(kubeconfig, lambda cluster: _row(cluster, kept, tenant, tenant_id))
        if not dry_run:
            ask(kubeconfig, lambda cluster: _bring_back(cluster, kept, row, wait))
        _show(row, output, dry_run=dry_run)


async def _row(cluster: Cluster, kept: list[Kept], tenant: str, tenant_id: str | None) -> Kept:
    """The one deleted tenant of that name; raises Invalid or Blocked with what can be done instead."""
    named = [row for row in kept if row.tenant_name == tenant and tenant_id in (None, row.id)]
    found = [row for row in named if row.state in ("deleted", "released") and row.drop_started_time is None]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{row.id} ({row.state})" for row in found)
        raise Invalid("WhichTenant", f"several Tenants {tenant} were deleted: {listed}; say which with --id")
    if any(row.state == "claimed" for row in named):
        raise Invalid("NotDeleted", f"Tenant {tenant} was not deleted: if its object is lost, see `paybill adopt`")
    gone = {row.id for row in named}
    backups = [
        one
        for one in await all_of(cluster, TenantBackup)
        if one.status.tenant_id in gone and one.status.verified_time is not None
    ]
    if not backups:
        raise Invalid("NothingToUndelete", f"the registry knows no deleted Tenant {tenant} that still has anything")
    last = max(backups, key=lambda one: str(one.status.completed_time))
    raise Blocked(
        "Dropped",
        f"what Tenant {tenant} had was dropped; its last backup is there: `paybill restore {last.metadata.name}"
        f" --to {tenant} --plan PLAN` makes a new tenant of it",
    )


async def _bring_back(cluster: Cluster, kept: list[Kept], row: Kept, wait: float) -> None:
    found = await cluster.get(Key("Tenant", "", row.tenant_name))
    if found is not None and found["spec"].get("id") != row.id:
        raise Invalid(
            "TenantExists", f"there is another Tenant {row.tenant_name}, which does not ask for {row.id} (spec.id)"
        )
    if found is None:
        spec: dict[str, Any] = {"id": row.id, "cellRef": {"name": row.cell}}
        head = {"apiVersion": API_VERSION, "kind": "Tenant", "metadata": {"name": row.tenant_name}}
        await cluster.create({**head, "spec": spec})
    wish = await single(cluster, kept, row.tenant_name, row.id)
    if wish.pairs:
        await approve(cluster, wish, wait)


def _show(row: Kept, output: str, *, dry_run: bool) -> None:
    if output == JSON:
        shown = {"tenant": row.tenant_name, "id": row.id, "cell": row.cell, "server": row.server}
        click.echo(document({**shown, "dropAfter": moment(row.drop_after), "dryRun": dry_run}))
        return
    where = f"tenant {row.id} on server {row.server} of Cell {row.cell}"
    if dry_run:
        click.echo(f"Tenant {row.tenant_name} would be {where} again; nothing was written")
        return
    click.echo(f"Tenant {row.tenant_name} is {where} again; it opens with a Subscription that names it")
