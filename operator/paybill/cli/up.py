"""``paybill up``: a whole Paybill on one machine, with samples to look at if they are asked for.

The servers and the operator belong to the instance (local/demo.py); the samples are applied from the process that the
user looks at, so that a terminal shows them live, also when the instance is detached or was there before.
"""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial
from typing import TYPE_CHECKING

import click

from paybill.cli import local
from paybill.cli.output import JSON, document
from paybill.cli.samples_view import lines, plain_table, presenter
from paybill.cli.usage import usage
from paybill.local.home import Home
from paybill.local.running import RunningInstance

if TYPE_CHECKING:
    from paybill.local.agents_demo import Shown
    from paybill.local.demo import Outcome
    from paybill.local.instance import Instance, Progress
    from paybill.local.supervisor import AfterStart

NOTES = (
    "NetworkPolicies are declared, not enforced on this machine: there is no network plugin, and pods do not run.",
)


class _Up:
    """One call of the command: carries what was shown from the hook of a foreground start to its last page."""

    def __init__(self) -> None:
        self._outcome: Outcome | None = None
        self._agents: Shown | None = None

    def after_start(self, request: local.Request) -> AfterStart:
        """What is done once the servers answer."""
        from paybill.local import demo
        from paybill.local.samples import read
        from paybill.local.webhook import Stripe, template_in

        if request.samples is not None:
            read(request.samples)  # what cannot be read is said before anything is started
        asked = click.get_current_context().params
        signup = template_in(asked["signup"]) if asked["signup"] is not None else None
        keys = {"key": asked["stripe_key"], "signing": asked["stripe_signing"]}
        stripe = Stripe(**keys, signup=signup) if asked["webhook"] else None

        async def hook(instance: Instance, progress: Progress) -> None:
            await demo.start(instance, progress, stripe)
            await self._bring_up(request, instance.home, progress, demo.SAMPLES_SECONDS)

        return hook

    def finish(self, request: local.Request, instance: RunningInstance, state: str) -> None:
        """The samples and agents, unless the hook saw to them, and how to use it all."""
        from paybill.local.demo import SAMPLES_SECONDS

        deadline = min(request.timeout, SAMPLES_SECONDS)
        asyncio.run(self._bring_up(request, instance.home, local.progress, deadline))
        _say(request, instance, state, self._outcome, self._agents)

    async def _bring_up(self, request: local.Request, home: Home, progress: Progress, deadline: float) -> None:
        """Apply the samples and show the agents, each where it is asked for."""
        from paybill.local import demo
        from paybill.local.samples import read

        if request.samples is not None:
            with presenter(request.output) as show:
                self._outcome = await demo.bring_up(
                    home.kubeconfig, read(request.samples), progress=progress, show=show, deadline=deadline
                )
        if request.agents is not None:
            from paybill.local import agents_demo

            if self._outcome is not None and request.output != JSON:
                _say_samples(self._outcome)
            told = partial(click.echo, err=request.output == JSON)
            self._agents = await agents_demo.show(home, request.agents, progress=progress, tell=told)


def _say(
    request: local.Request, instance: RunningInstance, state: str, outcome: Outcome | None, agents: Shown | None
) -> None:
    rows = outcome.rows if outcome is not None else ()
    uses = usage(instance, rows, agents)
    if request.output == JSON:
        content = local.facts(instance) | {
            "tenants": [dataclasses.asdict(row) for row in rows],
            "seconds": None if outcome is None else round(outcome.seconds, 2),
            "agents": None if agents is None else agents.wire(),
            "use": [dataclasses.asdict(use) for use in uses],
            "notes": list(NOTES),
        }
        click.echo(document(content))
        return
    if outcome is not None and agents is None:
        _say_samples(outcome)
    click.echo(f"\nThe instance {instance.home.name} {state}. How to use it:\n")
    for line in lines(uses):
        click.echo(line)
    for note in NOTES:
        click.echo(f"Note: {note}")


def _say_samples(outcome: Outcome) -> None:
    for line in plain_table(outcome.rows):
        click.echo(line)
    click.echo(f"\nAll as they should be after {outcome.seconds:.1f} s.")


_call = _Up()
up = local.up_command(_call.after_start, _call.finish)
