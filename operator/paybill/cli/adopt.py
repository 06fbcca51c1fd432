"""``paybill adopt``: give Tenants back what the registry kept for them, after a deletion or the loss of a cluster.

It shows what would happen, asks, and writes one Approval in the name of whoever calls it; the operator does the rest.
Calling it again after an interruption goes on where it was. Nothing is adopted that was not shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from paybill.api.conditions import STALLED, find_condition
from paybill.api.failures import Invalid
from paybill.cli import approving
from paybill.cli.adoptable import Wish, everything, single
from paybill.cli.audit import connected, database_option
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import tenant_named
from paybill.cli.output import JSON, columns, document, moment, reported, table_output
from paybill.cli.registry import Kept, read
from paybill.cluster.client import Cluster
from paybill.desired import names
from paybill.desired.resource import Key

_TITLES = ("ID", "TENANT", "STATE", "CELL", "SERVER", "PLAN", "PHASE", "DROPPED AFTER", "FROM UID", "TO UID")


@click.command()
@click.argument("tenant", required=False)
@click.option("--all", "all_", is_flag=True, help="Every Tenant that came back with another UID; one Approval.")
@click.option("--id", "tenant_id", metavar="ID", help="What to adopt, where the registry knows more than one.")
@click.option("--fresh", is_flag=True, help="The Tenant is a new customer: leave what its name had before as it is.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--wait", default=600.0, show_default=True, metavar="SECONDS", help="How long to wait for the operator.")
@click.option("--installation", metavar="NAME", help="Where the control database knows more than one.")
@table_output
@kubeconfig_option
@database_option
def adopt(
    *, tenant: str | None, all_: bool, tenant_id: str | None, fresh: bool, dry_run: bool, yes: bool, wait: float,
    installation: str | None, output: str, kubeconfig: Path | None, database: str | None,
) -> None:  # fmt: skip
    """Let a Tenant take over what the registry kept: the same id, data, credentials and contract."""
    if all_ == (tenant is not None) or (all_ and (fresh or tenant_id)):
        raise click.UsageError("name one Tenant (with --id or --fresh if needed), or give --all")
    with reported(output):
        with connected(database) as connection:
            where, kept = read(connection, installation)
        wish = ask(kubeconfig, lambda cluster: _wish(cluster, where, kept, tenant, tenant_id))
        _show(wish, output, dry_run=dry_run, fresh=fresh)
        if dry_run or not wish.pairs:
            return
        if not yes:
            words = f"Leave {wish.pairs[0][0].id} as it is" if fresh else f"Adopt {len(wish.pairs)}"
            click.confirm(f"{words}?", abort=True, err=True)
        act = _give_up if fresh else approve
        ask(kubeconfig, lambda cluster: act(cluster, wish, wait))
        click.echo("done", err=True)


async def _wish(cluster: Cluster, where: str, kept: list[Kept], tenant: str | None, tenant_id: str | None) -> Wish:
    if tenant is None:
        return await everything(cluster, where, kept)
    return await single(cluster, kept, tenant, tenant_id)


def _show(wish: Wish, output: str, *, dry_run: bool, fresh: bool) -> None:
    if output == JSON:
        listed = [_as_json(*pair) for pair in wish.pairs]
        what = {"adopt": [], "leave": listed} if fresh else {"adopt": listed, "digest": wish.digest}
        click.echo(document({**what, "dryRun": dry_run}))
        return
    if not wish.pairs:
        click.echo("There is nothing to adopt: each Tenant has what the registry knows as its own.", err=True)
        return
    rows = (
        (row.id, one.name, row.state, row.cell, row.server, row.plan_name, row.phase, moment(row.drop_after),
         row.tenant_uid, one.uid)
        for row, one in wish.pairs
    )  # fmt: skip
    for line in columns(_TITLES, rows):
        click.echo(line)


def _as_json(row: Kept, one: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "state": row.state,
        "cell": row.cell,
        "server": row.server,
        "plan": row.plan_name,
        "phase": row.phase,
        "dropAfter": row.drop_after,
        "from": {"name": row.tenant_name, "uid": row.tenant_uid},
        "to": {"name": one.name, "uid": one.uid},
    }


async def approve(cluster: Cluster, wish: Wish, wait: float) -> None:
    """Write the Approval, unless it stands already, and wait until the operator has carried it out."""
    name = wish.begun or await approving.written(cluster, "adopt", wish.subject, wish.digest)
    click.echo(f"Approval {name}: the operator adopts {len(wish.pairs)}", err=True)
    await approving.used(cluster, name, wait)


async def _give_up(cluster: Cluster, wish: Wish, wait: float) -> None:
    """Say on the Tenant that it is another customer, and wait until the operator has taken notice."""
    row, one = wish.pairs[0]
    tenant = await tenant_named(cluster, one.name)
    if tenant.spec.id is not None:
        raise Invalid("AsksForId", f"Tenant {one.name} asks for id {tenant.spec.id}: make it anew without spec.id")
    await cluster.annotate(Key("Tenant", "", one.name), {names.FRESH_ANNOTATION: row.id})

    async def taken() -> bool:
        found = await tenant_named(cluster, one.name)
        stalled = find_condition(found.status.conditions, STALLED)
        return stalled is None or stalled.status != "True" or stalled.reason != "TenantReplaced"

    await approving.until(taken, wait, f"Tenant {one.name} is still held after {wait:.0f} s: does an operator run?")
