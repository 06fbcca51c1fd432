"""``paybill agents``: what a policy for an AI agent comes to in the database, before anything of it is done.

``plan`` needs no database: ``facts`` writes down what one looks like, for a pipeline that may not reach it. A
connection string is read from a file, because whoever lists processes sees what a command was called with.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from psycopg.sql import SQL
from pydantic import ValidationError

from paybill.agents.facts import Facts
from paybill.agents.introspection import introspect
from paybill.agents.journal import Entry, Report
from paybill.agents.journal import verify as check
from paybill.agents.operations import Tool, tools, tools_digest
from paybill.agents.plan import Plan
from paybill.agents.plan import plan as compiled
from paybill.agents.reading import RunRow, all_runs, entries, heads
from paybill.api.failures import Invalid
from paybill.audit.links import Head
from paybill.cli.agents_approvals import approve, waiting
from paybill.cli.agents_database import connected, policy_of
from paybill.cli.agents_gateway import gateway
from paybill.cli.agents_replay import replay
from paybill.cli.output import JSON, document, reported, text_output
from paybill.desired import sql_names

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_tenant = click.option("--tenant", required=True, metavar="ID", help="The tenant's opaque id: status.id of its Tenant.")
_schema = click.option("--schema", "name", metavar="NAME", help="Its schema, if not t_ID.")


@click.group()
def agents() -> None:
    """What AI agents may do with a tenant's data, held by the database itself."""


agents.add_command(gateway)
agents.add_command(waiting)
agents.add_command(approve)
agents.add_command(replay)


@agents.command()
@click.argument("database", type=_FILE)
@_tenant
@_schema
def facts(*, database: Path, tenant: str, name: str | None) -> None:
    """Write down as JSON what a policy is compiled against.

    DATABASE is a file with the connection string of a superuser, such as the key `uri` of a mounted Secret.
    """
    with reported("text"):
        found = _facts(database, tenant, name)
        click.echo(document(found.wire()))


@agents.command()
@click.argument("policy", type=_FILE)
@click.option("--facts", "known", type=_FILE, help="What `paybill agents facts` wrote: no database is asked.")
@click.option("--database", type=_FILE, help="A file with the connection string of a superuser.")
@_tenant
@_schema
@click.option("--output", "-o", type=click.Choice(["text", JSON, "sql"]), default="text", show_default=True)
def plan(
    *, policy: Path, known: Path | None, database: Path | None, tenant: str, name: str | None, output: str
) -> None:
    """Say what the AgentPolicy in the file POLICY comes to, in the order in which it would be done; do nothing."""
    with reported(output):
        if (known is None) == (database is None):
            raise click.UsageError("give either --facts or --database")
        spec = policy_of(policy)
        met = _read(known) if known is not None else _facts(database or Path(), tenant, name)
        made = compiled(spec, met, sql_names.tenant_id(tenant))
        listed = tools(spec, met.schema_)
        match output:
            case "json":
                click.echo(document(_wire(made, listed)))
            case "sql":
                for statement in made.all:
                    click.echo(f"{statement.sql.as_string(None).strip()};")
            case _:
                for statement in made.all:
                    if statement.says:
                        click.echo(statement.says)
                for what, found in _hashes(made, listed):
                    click.echo(f"{what} {found}")
        for said in made.warnings if output != JSON else ():
            click.echo(f"warning: {said}", err=True)


@agents.command()
@click.argument("database", type=_FILE)
@click.option(
    "--head",
    "published",
    multiple=True,
    metavar="RUN:SEQ:HASH",
    help="A head kept elsewhere; may be given several times.",
)
@text_output
def verify(*, database: Path, published: tuple[str, ...], output: str) -> None:
    """Check the journal of every run in a tenant's database, and print its heads; exit code 1 when it is not whole.

    DATABASE is a file with a connection string. Without --head a journal looks whole
    whose end was cut off, or that was written anew, together with what its runs say of it.
    """
    with reported(output):
        try:
            known = [Head.parse(one) for one in published]
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        report = asyncio.run(_verified(database, database.read_text(encoding="utf-8").strip(), known))
    if output == JSON:
        problems = [{"kind": one.kind, "run": str(one.writer), "message": one.message} for one in report.problems]
        heads = [str(head) for head in report.heads]
        click.echo(document({"entries": report.entries, "heads": heads, "problems": problems}))
    else:
        for line in (*map(str, report.heads), *(f"{one.kind}: {one.message}" for one in report.problems)):
            click.echo(line)
        click.echo(f"{report.entries} entries of {len(report.heads)} runs: {'whole' if report.intact else 'NOT WHOLE'}")
    if not report.intact:
        sys.exit(1)


@agents.command()
@click.argument("database", type=_FILE)
@click.option("--open", "only_open", is_flag=True, help="Only those in which something may still be done.")
@text_output
def runs(*, database: Path, only_open: bool, output: str) -> None:
    """List the runs of a tenant's database, with what each has used of its budgets.

    DATABASE is a file with a connection string.
    """
    with reported(output):
        found = asyncio.run(_listed(database, _uri(database), only_open=only_open))
    rows = [_run_row(one) for one in found]
    if output == JSON:
        click.echo(document({"runs": rows}))
    for row in rows if output != JSON else ():
        used = ", ".join(f"{row[name]['used']}/{row[name]['limit']} {said}" for name, said in _USED.items())
        click.echo(f"{row['run']} {row['login']} {row['ending'] or row['state']}: {used}")


@agents.command()
@click.argument("database", type=_FILE)
@click.option("--run", type=click.UUID, help="Only this run.")
@text_output
def journal(*, database: Path, run: UUID | None, output: str) -> None:
    """Show the journal of a tenant's database: who called what, when, over how many rows; never the values.

    DATABASE is a file with a connection string. Whether it is whole says `paybill agents verify`.
    """
    with reported(output):
        found = asyncio.run(_entries(database, _uri(database), run))
    if output == JSON:
        click.echo(document({"entries": [_entry(one) for one in found]}))
    for one in found if output != JSON else ():
        what = " ".join(part for part in (one.step, one.operation and f"{one.collection}.{one.operation}") if part)
        rows = "" if one.rows is None else f" {one.rows} rows"
        told = one.digest if one.kind in ("opened", "closed") else one.key
        said = " ".join(part for part in (what + rows, told) if part)
        click.echo(f"{one.time.isoformat()} {one.run} {one.seq} {one.role} {one.kind} {said}".rstrip())


_USED = {"calls": "calls", "rowsRead": "rows read", "rowsWritten": "rows written"}


def _run_row(one: RunRow) -> dict[str, Any]:
    return {
        "run": str(one.id),
        "login": one.role,
        "state": "Ended" if one.closed is not None else "Open",
        "ending": one.ending,
        "openedTime": one.opened.isoformat(),
        "deadlineTime": one.deadline.isoformat(),
        "closedTime": one.closed.isoformat() if one.closed is not None else None,
        "calls": {"used": one.calls, "limit": one.max_calls},
        "rowsRead": {"used": one.rows_read, "limit": one.max_rows_read},
        "rowsWritten": {"used": one.rows_written, "limit": one.max_rows_written},
        "workflowHash": one.workflow,
    }


def _entry(one: Entry) -> dict[str, Any]:
    return {
        "run": str(one.run),
        "seq": one.seq,
        "time": one.time.isoformat(),
        "login": one.role,
        "kind": one.kind,
        "step": one.step,
        "collection": one.collection,
        "operation": one.operation,
        "rows": one.rows,
        "digest": one.digest,
        "key": one.key,
        "hash": one.hash.hex(),
    }


def _uri(database: Path) -> str:
    return database.read_text(encoding="utf-8").strip()


async def _listed(database: Path, uri: str, *, only_open: bool) -> tuple[RunRow, ...]:
    async with connected(database, uri) as session:
        return await all_runs(session, only_open=only_open)


async def _entries(database: Path, uri: str, run: UUID | None) -> list[Entry]:
    async with connected(database, uri) as session:
        return [entry async for entry in entries(session, run)]


def _read(path: Path) -> Facts:
    try:
        return Facts.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise Invalid("FactsUnreadable", f"{path} is not what `paybill agents facts` writes") from error


def _facts(database: Path, tenant: str, schema: str | None) -> Facts:
    uri = database.read_text(encoding="utf-8").strip()
    return asyncio.run(_asked(database, uri, tenant, schema))


async def _asked(database: Path, uri: str, tenant: str, schema: str | None) -> Facts:
    async with connected(database, uri) as session:
        row = await (await session.execute(SQL("SELECT current_database()"))).fetchone()
        name = str(row[0]) if row is not None else ""
        return await introspect(session, name, schema or sql_names.schema(tenant), sql_names.tenant_id(tenant))


async def _verified(database: Path, uri: str, published: list[Head]) -> Report:
    # One moment for both: a run that goes on meanwhile would be found to say something else than its journal.
    async with connected(database, uri) as session, session.transaction():
        await session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return check([entry async for entry in entries(session)], published, await heads(session))


def _hashes(made: Plan, listed: tuple[Tool, ...]) -> tuple[tuple[str, str], ...]:
    return ("policy", made.policy), ("schema", made.schema), ("plan", made.digest), ("tools", tools_digest(listed))


def _wire(made: Plan, listed: tuple[Tool, ...]) -> dict[str, object]:
    return {
        "login": made.login,
        "policyHash": made.policy,
        "schemaHash": made.schema,
        "planHash": made.digest,
        "warnings": list(made.warnings),
        "statements": [{"says": one.says, "sql": one.sql.as_string(None)} for one in made.all],
        "toolsHash": tools_digest(listed),
        "tools": [{"name": tool.name, "digest": tool.digest, "inputSchema": tool.schema} for tool in listed],
    }
