"""``paybill binaries``: get the control plane's programs ahead of ``paybill up``, for images and for CI caches."""

from __future__ import annotations

import asyncio
import dataclasses

import click

from paybill.cli.local import progress
from paybill.cli.output import JSON, document, fields, reported, text_output


@click.command()
@text_output
def binaries(*, output: str) -> None:
    """Find the programs of a control plane on this machine, else fetch or build them; print where they are."""
    from paybill.local.binaries import provide

    with reported(output):
        found = {name: str(path) for name, path in dataclasses.asdict(asyncio.run(provide(progress))).items()}
        if output == JSON:
            click.echo(document(found))
            return
        for line in fields(found.items(), indent=""):
            click.echo(line)
