"""``paybill outbox``: what other systems were not told yet, and what is given up until somebody says otherwise."""

from __future__ import annotations

from typing import Any

import click
from psycopg.rows import dict_row

from paybill.cli.audit import connected, database_option
from paybill.cli.output import JSON, columns, document, moment, reported, table_output

_LIST = """
SELECT id, type, subject, state, attempts, created_time, due_time, answer FROM paybill.outbox
WHERE (%(all)s OR state <> 'Acknowledged') AND (%(tenant)s::text IS NULL OR subject = %(tenant)s) ORDER BY seq
"""
_RETRY = """
UPDATE paybill.outbox SET state = 'Waiting', settled_time = NULL, due_time = now(), created_time = now()
WHERE state = 'Dead' AND (%(id)s::text IS NULL OR id = %(id)s) RETURNING id
"""
_TITLES = ("TENANT", "TYPE", "STATE", "ATTEMPTS", "SINCE", "NEXT", "ANSWER", "ID")


@click.group()
def outbox() -> None:
    """What other systems are told of contracts, and what nobody took."""


@outbox.command(name="list")
@click.option("--tenant", help="Only of this Tenant.")
@click.option("--all", "everything", is_flag=True, help="Also what was acknowledged, of the last 35 days.")
@table_output
@database_option
def list_(*, tenant: str | None, everything: bool, output: str, database: str | None) -> None:
    """List messages that wait or are dead, oldest first."""
    with reported(output), connected(database) as connection:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = list(cursor.execute(_LIST, {"all": everything, "tenant": tenant}).fetchall())
        if output == JSON:
            click.echo(document(rows))
        elif not rows:
            click.echo("Nothing waits.", err=True)
        else:
            for line in columns(_TITLES, [_cells(row) for row in rows]):
                click.echo(line)


@outbox.command()
@click.argument("message", required=False)
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@database_option
def retry(*, message: str | None, everything: bool, database: str | None) -> None:
    """Send dead letters again: the one with the id MESSAGE, or all."""
    if everything == (message is not None):
        raise click.UsageError("name a message, or say --all")
    with reported("text"), connected(database) as connection:
        connection.execute("SET TRANSACTION READ WRITE")  # the one command that changes something there
        found = connection.execute(_RETRY, {"id": message}).fetchall()
        connection.commit()
    if not found and message is not None:
        raise click.ClickException(f"there is no dead letter {message}")
    click.echo(f"{len(found)} go out again.")


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    due = moment(row["due_time"]) if row["state"] == "Waiting" else None
    return (
        row["subject"], row["type"], row["state"], row["attempts"], moment(row["created_time"]), due, row["answer"],
        row["id"],
    )  # fmt: skip
