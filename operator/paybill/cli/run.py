"""``paybill run``: the operator in the foreground, as the chart and ``paybill up`` start it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import click

logger = logging.getLogger(__name__)


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
        logger.error("%s", ended.exceptions[0] if ended else group)
        sys.exit(1)


async def _run(settings: object) -> None:
    from paybill import app

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await app.run(settings, stop=stop)  # type: ignore[arg-type]
