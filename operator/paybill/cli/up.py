"""``paybill up``: a whole Paybill on one machine, with samples to look at if they are asked for.

The servers and the operator belong to the instance (local/demo.py); the samples are applied from the process that the
user looks at, so that a terminal shows them live, also when the instance is detached or was there before.
"""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from paybill.cli import local
from paybill.cli.output import JSON, document
from paybill.cli.samples_view import lines, plain_table, presenter
from paybill.cli.usage import usage
from paybill.local.running import RunningInstance

if TYPE_CHECKING:
    from paybill.local.demo import Outcome
    from paybill.local.instance import Instance, Progress
    from paybill.local.supervisor import AfterStart

NOTES = (
    "NetworkPolicies are declared, not enforced on this machine: there is no network plugin, and pods do not run.",
)


class _Up:
    """One call of the command: carries the samples' outcome from the hook of a foreground start to its last page."""

    def __init__(self) -> None:
        self._outcome: Outcome | None = None

    def after_start(self, samples: Path | None) -> AfterStart:
        """What is done once the servers answer."""
        from paybill.local import demo
        from paybill.local.samples import read
        from paybill.local.webhook import Stripe

        steps = read(samples) if samples is not None else None
        asked = click.get_current_context().params
        stripe = Stripe(key=asked["stripe_key"], signing=asked["stripe_signing"]) if asked["webhook"] else None

        async def hook(instance: Instance, progress: Progress) -> None:
            await demo.start(instance, progress, stripe)
            if steps is not None:
                with presenter(click.get_current_context().params["output"]) as show:
                    self._outcome = await demo.bring_up(instance.kubeconfig, steps, progress=progress, show=show)

        return hook

    def finish(self, request: local.Request, instance: RunningInstance, state: str) -> None:
        """The samples, unless the hook saw to them, and how to use it all."""
        from paybill.local import demo
        from paybill.local.samples import read

        if request.samples is not None:
            steps = read(request.samples)
            deadline = min(request.timeout, demo.SAMPLES_SECONDS)
            with presenter(request.output) as show:
                self._outcome = asyncio.run(
                    demo.bring_up(instance.kubeconfig, steps, progress=local.progress, show=show, deadline=deadline)
                )
        _say(request, instance, state, self._outcome)


def _say(request: local.Request, instance: RunningInstance, state: str, outcome: Outcome | None) -> None:
    rows = outcome.rows if outcome is not None else ()
    uses = usage(instance, rows)
    if request.output == JSON:
        content = local.facts(instance) | {
            "tenants": [dataclasses.asdict(row) for row in rows],
            "seconds": None if outcome is None else round(outcome.seconds, 2),
            "use": [dataclasses.asdict(use) for use in uses],
            "notes": list(NOTES),
        }
        click.echo(document(content))
        return
    if outcome is not None:
        for line in plain_table(rows):
            click.echo(line)
        click.echo(f"\nAll as they should be after {outcome.seconds:.1f} s.")
    click.echo(f"The instance {instance.home.name} {state}. How to use it:\n")
    for line in lines(uses):
        click.echo(line)
    for note in NOTES:
        click.echo(f"Note: {note}")


_call = _Up()
up = local.up_command(_call.after_start, _call.finish)
