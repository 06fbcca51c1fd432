"""``paybill migrations status``, ``plan`` and ``retry``: how far the fleet is, what a folder would change, once more.

What is known is read from the control database; a retry is written on the Tenant (or the Cell, for a pool) in the name
of whoever calls it, and names one failure: the next one is another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import psycopg
from psycopg.rows import dict_row

from paybill.api.failures import Invalid
from paybill.cli.audit import connected, database_option
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.output import JSON, columns, document, moment, reported, table_output
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.migrations import files
from paybill.migrations.ledger import refuse_changed
from paybill.migrations.lint import kind, lint

Row = dict[str, Any]
_SUBJECTS = (
    "SELECT m.subject, m.cell, t.tenant_name, COALESCE(t.level, 'Pool') AS level, m.version, f.name AS file,"
    " m.failed_version, m.failed_time, m.reason, m.message FROM paybill.migrations m"
    " LEFT JOIN paybill.tenants t ON t.id = m.subject"
    " LEFT JOIN paybill.migration_files f"
    " ON (f.installation, f.cell, f.version) = (m.installation, m.cell, m.version)"
    " WHERE (t.id IS NULL OR t.state = 'claimed') AND (%(cell)s::text IS NULL OR m.cell = %(cell)s)"
    " ORDER BY m.cell, m.failed_version IS NULL, t.tenant_name NULLS LAST, m.subject"
)
_FILES = "SELECT version, name, checksum FROM paybill.migration_files WHERE cell = %s"
_TITLES = ("TENANT", "CELL", "LEVEL", "AT", "FAILED", "REASON", "MESSAGE")


@click.command()
@click.argument("cell", required=False)
@click.option("--failed", is_flag=True, help="Only those that could not run a file.")
@table_output
@database_option
def status(*, cell: str | None, failed: bool, output: str, database: str | None) -> None:
    """List how far each tenant and pool is, in all Cells or in CELL."""
    with reported(output), connected(database) as connection:
        rows = [row for row in _subjects(connection, cell) if row["failed_version"] is not None or not failed]
        if output == JSON:
            click.echo(document(rows))
            return
        for line in columns(_TITLES, [_cells(row) for row in rows]):
            click.echo(line)


@click.command()
@click.argument("cell")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@table_output
@database_option
def plan(*, cell: str, directory: Path, output: str, database: str | None) -> None:
    """Say what the files in DIRECTORY would run in the fleet of CELL; nothing is changed.

    Fails as the operator would: on a rule that is broken, or on a file that has run and is another one now.
    """
    with reported(output), connected(database) as connection:
        bundle = files.read(directory)
        if found := lint(bundle):
            raise Invalid("MigrationsRefused", "; ".join(map(str, found)))
        ran = {row["version"]: (row["name"], row["checksum"]) for row in _query(connection, _FILES, [cell])}
        refuse_changed(bundle, ran, f"Cell {cell}")
        rows = _subjects(connection, cell)
        pending = [
            {
                "file": file.file_name,
                "kind": kind(file),
                "pending": sum(row["version"] < file.version for row in rows if row["level"] != "Rows"),
                "new": file.version not in ran,
            }
            for file in bundle.files
            if file.version not in ran or any(row["version"] < file.version for row in rows)
        ]
        if output == JSON:
            click.echo(document({"cell": cell, "subjects": len(rows), "files": pending}))
            return
        titles = ("FILE", "KIND", "PENDING", "NEW")
        shown = [(one["file"], one["kind"], one["pending"], "yes" if one["new"] else "no") for one in pending]
        for line in columns(titles, shown):
            click.echo(line)


@click.command()
@click.argument("subject")
@click.option("--dry-run", is_flag=True, help="Only say what would be tried again.")
@table_output
@kubeconfig_option
@database_option
def retry(*, subject: str, dry_run: bool, output: str, kubeconfig: Path | None, database: str | None) -> None:
    """Try the file that failed once more. SUBJECT is a Tenant's name, or pool/<cell>/<server>."""
    with reported(output), connected(database) as connection:
        rows = [row for row in _subjects(connection, None) if subject in (row["tenant_name"], row["subject"])]
        row = next((one for one in rows if one["failed_time"] is not None), None)
        if row is None:
            known = "has not failed" if rows else "is not known to the control database"
            raise Invalid("NothingToRetry", f"{subject} {known}: see `paybill migrations status --failed`")
        if not dry_run:
            key = Key("Tenant", "", row["tenant_name"]) if row["tenant_name"] else Key("Cell", "", row["cell"])
            token = {names.RETRY_MIGRATION_ANNOTATION: row["failed_time"].isoformat()}
            ask(kubeconfig, lambda cluster: cluster.annotate(key, token))
        if output == JSON:
            click.echo(document({"retried": not dry_run, **row}))
        else:
            done = "would be tried again" if dry_run else "is tried again"
            click.echo(f"{subject}: version {row['failed_version']} {done} ({row['message']})")


def _subjects(connection: psycopg.Connection[Any], cell: str | None) -> list[Row]:
    return _query(connection, _SUBJECTS, {"cell": cell})


def _query(connection: psycopg.Connection[Any], query: str, values: Any) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return list(cursor.execute(query.encode(), values).fetchall())


def _cells(row: Row) -> tuple[object, ...]:
    at = row["file"] or (f"{row['version']:04d}" if row["version"] else None)
    return (
        row["tenant_name"] or row["subject"], row["cell"], row["level"], at, moment(row["failed_time"]), row["reason"],
        row["message"],
    )  # fmt: skip
