"""``paybill usage``: what tenants used of their databases, hour by hour, out of the control database."""

from __future__ import annotations

import csv
import sys
from datetime import datetime
from typing import Any

import click
from psycopg.rows import dict_row

from paybill.cli.audit import connected, database_option, instant
from paybill.cli.output import JSON, columns, document, moment, reported, table_output

_TITLES = ("TENANT", "ID", "LEVEL", "HOUR", "BYTES", "ROWS", "CONNECTIONS", "TRANSACTIONS")
_COLUMNS = "t.tenant_name, u.tenant_id, t.level, u.hour, u.bytes, u.rows, u.connections, u.transactions"
_ALL = (
    f"SELECT {_COLUMNS} FROM paybill.usage u LEFT JOIN paybill.tenants t ON t.id = u.tenant_id"  # noqa: S608 - no input
    " WHERE (%(tenant)s::text IS NULL OR t.tenant_name = %(tenant)s OR u.tenant_id = %(tenant)s)"
    " AND (%(since)s::timestamptz IS NULL OR u.hour >= %(since)s)"
)
_LATEST = _ALL.replace("SELECT ", "SELECT DISTINCT ON (u.tenant_id) ") + " ORDER BY u.tenant_id, u.hour DESC"
_HOURLY = _ALL + " ORDER BY u.hour, t.tenant_name, u.tenant_id"

Row = dict[str, Any]


@click.command()
@click.argument("tenant", required=False)
@click.option("--since", help="Every hour from then on, a time or a span back (24h, 30d); else the newest of each.")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV, for a spreadsheet or a bill.")
@table_output
@database_option
def usage(*, tenant: str | None, since: str | None, as_csv: bool, output: str, database: str | None) -> None:
    """List what tenants use of their databases: bytes, rows (estimated), the most connections, transactions.

    A dash is what the server cannot tell of one tenant: at level Rows its tables are everybody's, and only a database
    of its own counts its transactions.
    """
    start: datetime | None = instant(since) if since else None
    with reported(output), connected(database) as connection:
        with connection.cursor(row_factory=dict_row) as cursor:
            query = _HOURLY if start is not None else _LATEST
            rows = list(cursor.execute(query, {"tenant": tenant, "since": start}).fetchall())
        if output == JSON:
            click.echo(document(rows))
        elif as_csv:
            _write(rows)
        elif not rows:
            click.echo("Nothing was measured yet: each server is measured once an hour.", err=True)
        else:
            for line in columns(_TITLES, [_cells(row) for row in rows]):
                click.echo(line)


def _cells(row: Row) -> tuple[object, ...]:
    used = (row["bytes"], row["rows"], row["connections"], row["transactions"])
    return (row["tenant_name"], row["tenant_id"], row["level"], moment(row["hour"]), *used)


def _write(rows: list[Row]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(title.lower() for title in _TITLES)
    for row in rows:
        writer.writerow("" if cell is None else cell for cell in _cells(row))
