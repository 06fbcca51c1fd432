"""``paybill run``: the operator in the foreground, as the chart and ``paybill up`` start it."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys

import click

from paybill.cli.until_told import until_told

logger = logging.getLogger(__name__)

WHILE_LOADING = (100_000, 50, 1000)
AFTERWARDS = (10_000, 10, 10)
"""Python's thresholds of garbage collection: while ten thousand tenants are read, nearly all of it is there to stay."""


@click.command()
def run() -> None:
    """Run the operator (settings: PAYBILL_* variables, see docs/reference/settings.md)."""
    from paybill.api.failures import Failure
    from paybill.reconcile.log import configure
    from paybill.settings import from_environment

    try:
        settings = from_environment()
        configure(settings.log_format, settings.log_level)
        asyncio.run(_run(settings))
    except Failure as failure:
        raise click.ClickException(str(failure)) from failure
    except BaseExceptionGroup as group:
        # Whoever supervises us starts a new process; what happened is one line, not a tree of traces.
        ended, rest = group.split(lambda error: type(error).__name__ in {"LeaseLost", "LeadershipLost"})
        if rest is not None:
            raise
        while isinstance(ended, BaseExceptionGroup):
            ended = ended.exceptions[0]
        logger.error("%s", ended)
        sys.exit(1)


async def _run(settings: object) -> None:
    from paybill import app

    gc.set_threshold(*WHILE_LOADING)
    leading = asyncio.Event()
    settled = asyncio.create_task(_settle(leading))
    try:
        await until_told(lambda stop: app.run(settings, stop=stop, leading=leading))  # type: ignore[arg-type]
    finally:
        settled.cancel()


async def _settle(leading: asyncio.Event) -> None:
    """Once everything is in memory, leave it out of Python's garbage collection.

    What was read at the start stays for days, and is let go by its count when it is replaced. To walk over ten thousand
    tenants' objects in search of cycles costs half a second each time, and puts off finding the garbage of the moment.
    """
    await leading.wait()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*AFTERWARDS)
