"""``paybill audit``: read the log of what was meant and done, and check that nobody changed it.

It needs the control database and nothing else: no cluster, no operator, so that an auditor with a read-only login (or
a restored backup) can use it. Secrets never stand in the log; ids do, so a tenant may also be named by its name.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import psycopg

from paybill.audit import reading
from paybill.audit.chain import Head, Report, Row, Verification, as_json
from paybill.local.home import Home

SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
COLUMNS = (("TIME", 20), ("TENANT", 8), ("WHAT", 7), ("ACTION", 24), ("OBJECT", 32), ("RESULT", 20), ("CAUSE", 0))

database_option = click.option(
    "--database",
    metavar="URI",
    help="Control database. Default: what the file in PAYBILL_CONTROL_DATABASE_FILE says, or"
    " PAYBILL_CONTROL_DATABASE_URL, or that of `paybill up` (a URI on the command line shows in the process list).",
)
output_option = click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


@click.group()
def audit() -> None:
    """What Paybill meant to do, what came of it, and whether the log is whole."""


@audit.command()
@click.option("--tenant", metavar="ID|NAME", help="Only this tenant.")
@click.option(
    "--since", metavar="TIME", help="Only from then on: RFC 3339, or a span back from now such as 30m, 2h, 7d."
)
@click.option("--action", metavar="NOUN.VERB", help="Only this action.")
@click.option("--destructive", is_flag=True, help="Only what destroys or suspends.")
@click.option("--follow", is_flag=True, help="Go on with what is logged from now on, until interrupted.")
@output_option
@database_option
def log(
    tenant: str | None,
    since: str | None,
    action: str | None,
    destructive: bool,
    follow: bool,
    output: str,
    database: str | None,
) -> None:
    """List the log, oldest first; with --output json one object per line."""
    wanted = reading.Filter(tenant, None if since is None else instant(since), action, destructive)
    with connected(database) as connection:
        found = reading.follow(connection, wanted) if follow else reading.rows(connection, wanted)
        lines = (json.dumps(as_json(row)) for row in found) if output == "json" else table(found)
        for line in lines:
            click.echo(line)


@audit.command()
@click.option(
    "--head",
    "heads",
    multiple=True,
    metavar="WRITER:N:HASH",
    help='A head that was published ("audit head …" in the operator\'s log); may be given many times.',
)
@output_option
@database_option
def verify(heads: tuple[str, ...], output: str, database: str | None) -> None:
    """Check every row, link and pair; exit 1 if the log was altered. Steps without an outcome are listed."""
    try:
        verification = Verification([Head.parse(head) for head in heads])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--head") from error
    with connected(database) as connection:
        for row in reading.rows(connection):
            verification.add(row)
    report = verification.report()
    for line in [json.dumps(report_as_json(report), indent=2)] if output == "json" else report_as_text(report):
        click.echo(line)
    if not report.intact:
        raise click.exceptions.Exit(1)


def dsn(option: str | None) -> str:
    """Where the control database is: the option, the environment's file, the environment, or the local instance."""
    if option:
        return option
    if named := os.environ.get("PAYBILL_CONTROL_DATABASE_FILE"):
        try:
            return Path(named).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise click.ClickException(f"PAYBILL_CONTROL_DATABASE_FILE: {named}: {error.strerror}") from error
    if given := os.environ.get("PAYBILL_CONTROL_DATABASE_URL"):
        return given
    local = Home.of().control_database
    if local.exists():
        return local.read_text(encoding="utf-8").strip()
    raise click.UsageError("no control database: give --database or set PAYBILL_CONTROL_DATABASE_FILE")


@contextmanager
def connected(option: str | None) -> Iterator[psycopg.Connection[Any]]:
    """A read-only session on the control database; its troubles become messages without the connection string."""
    uri = dsn(option)
    options = "-c search_path=pg_catalog,paybill -c TimeZone=UTC -c default_transaction_read_only=on"
    try:
        parameters: dict[str, Any] = {**psycopg.conninfo.conninfo_to_dict(uri)}
    except psycopg.ProgrammingError:
        raise click.ClickException("the control database's connection string cannot be read") from None
    parameters["options"] = f"{parameters.get('options') or ''} {options}".strip()
    parameters.setdefault("connect_timeout", 10)
    try:
        with psycopg.connect(**{**parameters, "application_name": "paybill audit"}) as connection:
            yield connection
    except psycopg.errors.UndefinedTable:
        raise click.ClickException("this database holds no audit log: is it the control database?") from None
    except psycopg.Error as error:
        raise click.ClickException(f"control database: {' '.join(str(error).split())}") from error


def instant(text: str) -> datetime:
    """A point in time from RFC 3339 or from a span back from now."""
    if span := re.fullmatch(r"([0-9]+)([smhd])", text):
        return datetime.now(UTC) - timedelta(**{SPANS[span[2]]: int(span[1])})
    try:
        then = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is neither RFC 3339 nor a span such as 2h", param_hint="--since") from error
    return then if then.tzinfo else then.replace(tzinfo=UTC)


def table(rows: Iterable[Row]) -> Iterator[str]:
    """The rows as lines of fixed columns, one at a time."""
    yield "  ".join(title.ljust(width) for title, width in COLUMNS)
    for row in rows:
        result = row.result or ""
        cells = (
            row.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            row.tenant_id or "-",
            row.kind,
            row.action + ("!" if row.destructive else ""),
            row.object,
            f"{result}/{row.reason}" if row.reason else result,
            row.cause,
        )
        yield "  ".join(cell.ljust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True)).rstrip()


def report_as_text(report: Report) -> Iterator[str]:
    """The report as people read it."""
    for problem in report.problems:
        yield f"{problem.kind}: {problem.message}"
    if report.unfinished:
        yield f"{len(report.unfinished)} unfinished (begun, no outcome: under way, or cut off by a crash):"
        yield from table(report.unfinished)
    state = "intact" if report.intact else f"BROKEN, {len(report.problems)} problems"
    yield f"{report.rows} rows of {len(report.heads)} writers: {state}"
    yield from (f"head {head}" for head in report.heads)


def report_as_json(report: Report) -> dict[str, object]:
    """The report as a program reads it."""
    return {
        "intact": report.intact,
        "rows": report.rows,
        "heads": [str(head) for head in report.heads],
        "problems": [
            {"kind": problem.kind, "writer": str(problem.writer), "n": problem.n, "message": problem.message}
            for problem in report.problems
        ],
        "unfinished": [as_json(row) for row in report.unfinished],
    }
