"""``paybill isolation check --destructive``: attacks 31 to 47, on two servers that nobody else is on.

These attacks lock, burn, fill and lay traps for whoever administers a server, so no server that anybody uses is good
enough for them. What they prove is not how a server in use is set up but what this version of Paybill does about them.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator

import click

from paybill.cli.output import JSON, columns, document, reported
from paybill.databases.server import Server
from paybill.isolation.destructive import LEVELS, OPEN, destroy, surprising
from paybill.isolation.results import Result
from paybill.local.scratch_server import scratch_server

INSTALLATION = "scratch"
COLUMNS = ("LEVEL", "NO.", "ATTACK", "RESULT", "EVIDENCE")


def check(output: str) -> None:
    """Try them all and show what came of each; exits with 1 when one succeeds that is not known to at its level."""
    with reported(output):
        version, results = asyncio.run(_check())
    if output == JSON:
        click.echo(document({"attacks": [one.wire() for one in results], "servers": []}))
    else:
        for line in _lines(version, results):
            click.echo(line)
    sys.exit(1 if any(surprising(one) for one in results) else 0)


async def _check() -> tuple[str, tuple[Result, ...]]:
    async with scratch_server() as one, scratch_server() as two:
        server = await Server.connect(one, name="scratch-1", installation=INSTALLATION)
        other = await Server.connect(two, name="scratch-2", installation=INSTALLATION)
        try:
            found = [result for level in LEVELS for result in await destroy(level, server, other)]
        finally:
            await server.close()
            await other.close()
    return server.traits.release, tuple(found)


def _lines(version: str, results: tuple[Result, ...]) -> Iterator[str]:
    yield from columns(COLUMNS, ((one.level, one.number, one.name, one.result, one.evidence) for one in results))
    counts = Counter(one.result for one in results)
    numbers = ", ".join(f"{counts[ending]} {ending}" for ending in ("denied", "detected", "succeeded"))
    yield f"scratch servers (Postgres {version}): {numbers}"
    for number, level in sorted(OPEN):
        yield f"  attack {number} goes through at level {level}, and no setting closes it: choose another level"
