"""``paybill signups``: who paid at a checkout and what became of it, above all who paid and has nothing yet."""

from __future__ import annotations

from typing import Any

import click
from psycopg.rows import dict_row

from paybill.cli.audit import connected, database_option
from paybill.cli.output import JSON, columns, document, moment, reported, table_output

_LIST = """
SELECT session, state, tenant, plan, subscription, reason, message, first_time, settled_time FROM paybill.signups
WHERE %(all)s OR state IN ('Refused', 'Begun') ORDER BY first_time, session
"""
_RETRY = """
UPDATE paybill.inbox SET due_time = now(), done_time = NULL, attempts = 0
WHERE object = %(session)s AND type LIKE 'checkout.session.%%' AND EXISTS (
  SELECT FROM paybill.signups WHERE session = %(session)s AND state IN ('Refused', 'Begun')
  AND signups.installation = inbox.installation)
RETURNING id
"""
_DISMISS = """
UPDATE paybill.signups SET state = 'Dismissed', settled_time = now()
WHERE session = %(session)s AND state IN ('Refused', 'Begun') RETURNING session
"""
_TITLES = ("SESSION", "STATE", "TENANT", "PLAN", "SINCE", "REASON", "MESSAGE")


@click.group()
def signups() -> None:
    """Checkouts at Stripe that sign a customer up, and what became of them."""


@signups.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Also those that are made or dismissed.")
@table_output
@database_option
def list_(*, everything: bool, output: str, database: str | None) -> None:
    """List checkouts that were refused or are not finished, oldest first."""
    with reported(output), connected(database) as connection:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = list(cursor.execute(_LIST, {"all": everything}).fetchall())
        if output == JSON:
            click.echo(document(rows))
        elif not rows:
            click.echo("Nobody waits.", err=True)
        else:
            for line in columns(_TITLES, [_cells(row) for row in rows]):
                click.echo(line)


@signups.command()
@click.argument("session")
@database_option
def retry(*, session: str, database: str | None) -> None:
    """Have the checkout SESSION looked at again now, after what kept it back was mended."""
    _write(_RETRY, session, database, "looked at again")


@signups.command()
@click.argument("session")
@database_option
def dismiss(*, session: str, database: str | None) -> None:
    """Leave the checkout SESSION be: it was refunded, or sold something else. What was made of it stays."""
    _write(_DISMISS, session, database, "left be")


def _write(statement: str, session: str, database: str | None, done: str) -> None:
    with reported("text"), connected(database) as connection:
        connection.execute("SET TRANSACTION READ WRITE")  # the commands of this group that change something there
        found = connection.execute(statement.encode(), {"session": session}).fetchall()
        connection.commit()
    if not found:
        raise click.ClickException(f"no checkout {session} waits")
    click.echo(f"{session} is {done}.")


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    return (
        row["session"], row["state"], row["tenant"], row["plan"], moment(row["first_time"]), row["reason"],
        row["message"],
    )  # fmt: skip
