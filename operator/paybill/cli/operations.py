"""``paybill operations``, ``preview``, ``approve`` and ``cancel``: the infrastructure of tenants' own, for people.

What was done is read from the control database; what is wanted is written on the Tenant (an annotation) or as an
Approval, in the name of whoever calls it, so that Kubernetes' own rules say who may.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any

import click
import psycopg
from psycopg.rows import dict_row

from paybill.api.approval import Approval
from paybill.api.failures import Blocked, Invalid, Retry
from paybill.api.tenant import Tenant
from paybill.cli.audit import connected, database_option
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import tenant_named, utcnow
from paybill.cli.output import JSON, columns, document, moment, reported, table_output
from paybill.cluster.client import Cluster
from paybill.desired import approval as approvals
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.desired.stack import Change
from paybill.lifecycle.operation import Kind, summary

POLL = 0.3
_TITLES = ("OPERATION", "TENANT", "KIND", "STATE", "CHANGES", "QUEUED", "TOOK", "REASON")
_LIST = (
    "SELECT id, tenant_id, tenant_name, cell, engine, kind, state, reason, message, changes, changes_digest, counts,"
    " retained, attempt, cause, approved_by, queued_time, started_time, ended_time FROM paybill.operations"
    " WHERE (%(tenant)s::text IS NULL OR tenant_name = %(tenant)s OR tenant_id = %(tenant)s)"
    " AND (NOT %(open)s OR ended_time IS NULL) ORDER BY queued_time DESC, id LIMIT %(most)s"
)
_LEFT = (
    "SELECT s.tenant_id, t.tenant_name, s.engine, s.stack, s.destroyed_time, s.retained, s.orphans,"
    " s.unsearched"
    " FROM paybill.stacks s LEFT JOIN paybill.tenants t ON t.id = s.tenant_id"
    " WHERE s.destroyed_time IS NOT NULL AND (s.retained <> '[]' OR s.orphans <> '[]'"
    " OR s.unsearched IS NOT NULL) ORDER BY s.destroyed_time, s.tenant_id"
)
_ONE = _LIST.replace("WHERE", "WHERE id = %(id)s AND")
_ENDS = {
    "Retain": "deleting the Tenant destroys nothing of this",
    "Snapshot": "it is destroyed when the Tenant is deleted and its retention is over",
    "Delete": "it is destroyed when the Tenant is deleted",
}
_ACTIONS = {"create": "+", "update": "~", "replace": "±", "delete": "-"}

Row = dict[str, Any]


@click.command()
@click.argument("tenant", required=False)
@click.option("--open", "open_", is_flag=True, help="Only those that have not ended.")
@click.option("--most", default=50, show_default=True, help="How many at most, the newest first.")
@table_output
@database_option
def operations(*, tenant: str | None, open_: bool, most: int, output: str, database: str | None) -> None:
    """List what engines did, or do, for tenants' own infrastructure."""
    with reported(output), connected(database) as connection:
        rows = _rows(connection, tenant=tenant, open=open_, most=most)
        if output == JSON:
            click.echo(document(rows))
            return
        for line in columns(_TITLES, [_cells(row) for row in rows]):
            click.echo(line)


@click.command()
@table_output
@database_option
def leftovers(*, output: str, database: str | None) -> None:
    """List what destroyed stacks left: data that was kept, what nobody meant to keep, and where nobody looked.

    Only AWS is asked for what still has a tenant's tags. WHY "not searched" names the command for every other cloud.
    """
    with reported(output), connected(database) as connection:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = list(cursor.execute(_LEFT).fetchall())
        if output == JSON:
            click.echo(document(rows))
            return
        lines = [
            (row["tenant_name"], row["tenant_id"], row["engine"], moment(row["destroyed_time"]), why, resource)
            for row in rows
            for why, listed in _left(row)
            for resource in listed
        ]
        for line in columns(("TENANT", "ID", "ENGINE", "DESTROYED", "WHY", "RESOURCE"), lines):
            click.echo(line)


@click.command()
@click.argument("tenant")
@click.option("--destroy", is_flag=True, help="Say what its destruction would delete and what would stay instead.")
@click.option("--last", is_flag=True, help="Show what the last preview found, and ask for no new one.")
@click.option("--wait", default=900.0, show_default=True, metavar="SECONDS", help="How long to wait for it.")
@table_output
@kubeconfig_option
@database_option
def preview(
    *, tenant: str, destroy: bool, last: bool, wait: float, output: str, kubeconfig: Path | None, database: str | None
) -> None:
    """Say what would be done to a tenant's infrastructure now; changes nothing.

    With --destroy: what would become of it at the end of the Tenant's deletionPolicy, or of Retain if it were destroyed
    all the same.
    """
    with reported(output), connected(database) as connection:
        found = ask(kubeconfig, lambda cluster: _tenant(cluster, tenant))
        kind: Kind = "preview_destroy" if destroy else "preview"
        if last:
            row = _newest_preview(connection, found, kind)
        else:
            row = _new_preview(connection, kubeconfig, found, wait, kind)
        _show(row, output)
        if destroy and output != JSON:
            click.echo(f"  deletionPolicy {found.spec.deletion_policy}: {_ENDS[found.spec.deletion_policy]}")


@click.command()
@click.argument("tenant")
@click.option("--digest", metavar="DIGEST", help="Only if the changes that wait have this digest.")
@click.option("--expires", default="24h", show_default=True, metavar="SPAN", help="How long the word holds.")
@click.option("--dry-run", is_flag=True, help="Show what would be approved, and write nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@table_output
@kubeconfig_option
@database_option
def approve(
    *, tenant: str, digest: str | None, expires: str, dry_run: bool, yes: bool, output: str,
    kubeconfig: Path | None, database: str | None,
) -> None:  # fmt: skip
    """Allow exactly the changes that the last preview of a tenant's infrastructure found."""
    from paybill.api import duration

    with reported(output), connected(database) as connection:
        found = ask(kubeconfig, lambda cluster: _tenant(cluster, tenant))
        row = _newest_preview(connection, found)
        if digest is not None and digest != row["changes_digest"]:
            raise Blocked("DigestMismatch", f"the changes that wait have digest {row['changes_digest']}, not {digest}")
        _show(row, output, dry_run=dry_run)
        if dry_run:
            return
        if not yes:
            click.confirm(f"Allow this for {tenant}?", abort=True, err=True)
        until = utcnow() + duration.parse(expires)
        name = ask(kubeconfig, lambda cluster: _write_approval(cluster, found, row["changes_digest"], moment(until)))
        click.echo(f"Approval {name} was written: `paybill operations {tenant}` shows what comes of it", err=True)


@click.command()
@click.argument("operation")
@click.option("--wait", default=180.0, show_default=True, metavar="SECONDS", help="How long to wait for its end.")
@table_output
@kubeconfig_option
@database_option
def cancel(*, operation: str, wait: float, output: str, kubeconfig: Path | None, database: str | None) -> None:
    """Stop one operation. What it has done stays done; what it has begun is finished or mended."""
    with reported(output), connected(database) as connection:
        row = _operation(connection, operation)
        if row["ended_time"] is None:
            annotations = {names.CANCEL_ANNOTATION: operation}
            key = Key("Tenant", "", row["tenant_name"])
            ask(kubeconfig, lambda cluster: cluster.annotate(key, annotations))
            row = _ended(connection, operation, wait)
        _show(row, output)


def _left(row: Row) -> tuple[tuple[str, list[str]], ...]:
    unsearched = [row["unsearched"]] if row["unsearched"] else []
    return ("kept", row["retained"]), ("orphan", row["orphans"]), ("not searched", unsearched)


def _rows(connection: psycopg.Connection[Any], **values: Any) -> list[Row]:
    statement = _ONE if "id" in values else _LIST
    given = {"tenant": None, "open": False, "most": 1} | values
    with connection.cursor(row_factory=dict_row) as cursor:
        return list(cursor.execute(statement.encode(), given).fetchall())


def _operation(connection: psycopg.Connection[Any], operation: str) -> Row:
    rows = _rows(connection, id=operation)
    if not rows:
        raise Invalid("NotFound", f"there is no operation {operation}: `paybill operations` lists them")
    return rows[0]


async def _tenant(cluster: Cluster, name: str) -> Tenant:
    found = await tenant_named(cluster, name)
    if found.status.id is None:
        raise Invalid("NothingToPreview", f"Tenant {name} has no place yet: `paybill describe {name}` says why")
    return found


def _newest_preview(connection: psycopg.Connection[Any], tenant: Tenant, kind: Kind = "preview") -> Row:
    rows = _rows(connection, tenant=tenant.status.id, most=50)
    asks = kind == "preview"  # what an update was refused for is as good as a preview of it
    row = next((row for row in rows if row["kind"] == kind or (asks and row["reason"] == "ApprovalRequired")), None)
    if row is None:
        command = f"paybill preview {tenant.metadata.name}{'' if asks else ' --destroy'}"
        happened = f"nothing of the kind was previewed for Tenant {tenant.metadata.name}: `{command}` does"
        raise Invalid("NothingToPreview", happened)
    return row


def _new_preview(
    connection: psycopg.Connection[Any], kubeconfig: Path | None, tenant: Tenant, wait: float, kind: Kind
) -> Row:
    """Ask the operator for a preview and wait for it."""
    word = secrets.token_hex(4)
    key = Key("Tenant", "", tenant.metadata.name)
    asked = {names.PREVIEW_ANNOTATION: word if kind == "preview" else f"destroy-{word}"}
    ask(kubeconfig, lambda cluster: cluster.annotate(key, asked))
    return _ended(connection, f"{tenant.status.id}-{word}", wait)


def _ended(connection: psycopg.Connection[Any], operation: str, wait: float) -> Row:
    ends = time.monotonic() + wait
    while True:
        rows = _rows(connection, id=operation)
        if rows and rows[0]["ended_time"] is not None:
            return rows[0]
        if time.monotonic() > ends:
            state = f"is {rows[0]['state']}" if rows else "was not begun: does the operator run, is the tenant a silo?"
            raise Retry("OperationRunning", f"operation {operation} {state} after {wait:.0f} s")
        asyncio.run(asyncio.sleep(POLL))


async def _write_approval(cluster: Cluster, tenant: Tenant, digest: str, expires: str | None) -> str:
    name = f"{tenant.metadata.name[:40]}-{digest.removeprefix('sha256:')[:12]}"
    spec = {
        "subject": {"kind": "Tenant", "name": tenant.metadata.name, "uid": tenant.metadata.uid},
        "digest": digest,
        "approver": await cluster.whoami(),
        "expiresTime": expires,
    }
    before = await cluster.get(Key("Approval", "", name))
    if before is not None:
        found = Approval.model_validate(before)
        if approvals.find([found], "Tenant", tenant.metadata.name, tenant.metadata.uid, digest, utcnow()) is not None:
            return name
        # It is over, or was of a Tenant that is gone: it says nothing any more, and is left as a record.
        name = f"{name}-{secrets.token_hex(2)}"
    await cluster.create(
        {"apiVersion": "paybill.dev/v1alpha1", "kind": "Approval", "metadata": {"name": name}, "spec": spec}
    )
    return name


def _show(row: Row, output: str, *, dry_run: bool = False) -> None:
    if output == JSON:
        click.echo(document(row | {"dryRun": dry_run}))
        return
    changes = [Change.model_validate(one) for one in row["changes"]]
    click.echo(f"operation {row['id']} ({row['kind']}) of Tenant {row['tenant_name']}: {row['state']}")
    if row["reason"]:
        click.echo(f"  {row['reason']}: {row['message']}")
    click.echo(f"  {summary(changes)}")
    for change in changes:
        held = "  holds data" if change.data else ""
        fields = f" ({', '.join(change.fields)})" if change.fields else ""
        click.echo(f"  {_ACTIONS[change.action]} {change.address}  {change.type}{fields}{held}")
    for one in row["retained"]:
        click.echo(f"  = {one}  stays")
    if row["changes_digest"] and row["kind"] != "preview_destroy":
        click.echo(f"  digest {row['changes_digest']}")


def _cells(row: Row) -> tuple[object, ...]:
    counts = None if row["ended_time"] is None else _counts(row) or "none"
    started, ended = row["started_time"], row["ended_time"]
    took = f"{(ended - started).total_seconds():.0f}s" if started is not None and ended is not None else None
    return (row["id"], row["tenant_name"], row["kind"], row["state"], counts, moment(row["queued_time"]), took,
            row["reason"])  # fmt: skip


def _counts(row: Row) -> str:
    return ", ".join(f"{count} {action}" for action, count in sorted(row["counts"].items()) if action != "same")
