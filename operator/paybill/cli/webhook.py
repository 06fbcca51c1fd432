"""``paybill webhook``: the receiver of Stripe's events, a process of its own with a database role of its own."""

from __future__ import annotations

import asyncio

import click

from paybill.cli.until_told import until_told


@click.command()
def webhook() -> None:
    """Receive Stripe's events and keep them for the operator (settings: docs/reference/settings.md).

    Verifies the signature of each, keeps its ids once and answers 2xx only then. Its database role may add to the inbox
    and do nothing else, and it holds no key of Stripe's API.
    """
    from paybill.api.failures import Failure
    from paybill.reconcile.log import configure
    from paybill.settings import webhook_from_environment

    try:
        settings = webhook_from_environment()
        configure(settings.log_format, settings.log_level)
        asyncio.run(_run(settings))
    except Failure as failure:
        raise click.ClickException(str(failure)) from failure


async def _run(settings: object) -> None:
    from paybill import webhook as receiver

    await until_told(lambda stop: receiver.run(settings, stop=stop))  # type: ignore[arg-type]
