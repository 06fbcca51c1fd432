"""``paybill agents replay``: a run played again from what is kept of it, or by another workflow; nothing is done."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import UUID

import click

from paybill.agents.journal import verify
from paybill.agents.leading import Story, story
from paybill.agents.reading import entries, heads
from paybill.agents.replay import Parting, differences, what_if
from paybill.agents.sound import walkable
from paybill.cli.agents_database import connected, policy_of, workflow_of
from paybill.cli.output import JSON, document, reported, text_output

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("database", type=_FILE)
@click.option("--run", required=True, type=click.UUID, help="The run.")
@click.option("--workflow", type=_FILE, help="An AgentWorkflow: what of the run would be denied if it led instead.")
@click.option("--policy", type=_FILE, help="An AgentPolicy: what of the run would be denied under it.")
@text_output
def replay(*, database: Path, run: UUID, workflow: Path | None, policy: Path | None, output: str) -> None:
    """Play a run again, from its answers, decisions and approvals as they are kept; nothing is done.

    DATABASE is a file with a connection string. Exit code 1 where the run is not what its
    journal and its workflow come to, or where another workflow or policy would deny some
    of it; the first place comes first.
    """
    with reported(output):
        told, found = asyncio.run(_played(database, database.read_text(encoding="utf-8").strip(), run))
        other = workflow_of(workflow) if workflow is not None else None
        if other is not None:
            walkable(other)
        if not found and (workflow is not None or policy is not None):
            found = what_if(told, other, policy_of(policy) if policy is not None else None)
    if output == JSON:
        places = [{"seq": one.seq, "message": one.message} for one in found]
        click.echo(
            document({"run": str(run), "events": len(told.told), "workflow": told.workflow.revision, "places": places})
        )
    else:
        for one in found:
            click.echo(f"row {one.seq}: {one.message}")
        click.echo(f"{len(told.told)} events of run {run}: {'NOT THE SAME' if found else 'the same'}")
    if found:
        sys.exit(1)


async def _played(database: Path, uri: str, run: UUID) -> tuple[Story, tuple[Parting, ...]]:
    # One moment for all of it: a run that goes on meanwhile would be found to say something else than its journal.
    async with connected(database, uri) as session, session.transaction():
        await session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        told = await story(session, run)
        journal = [entry async for entry in entries(session, run)]
        ends = [head for head in await heads(session) if head.writer == run]
    problems = verify(journal, (), ends).problems
    broken = tuple(Parting(one.n, f"{one.kind}: {one.message}") for one in problems)
    return told, tuple(sorted((*broken, *differences(told, journal)), key=lambda one: one.seq))
