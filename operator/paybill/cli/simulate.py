"""``paybill simulate``: what would happen when, if this and that happened.

It plays a script against a virtual clock with the functions that the operator decides with (lifecycle/simulation.py);
nothing is asked of a cluster or a payment provider, and nothing is done to anybody.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from paybill.api.plan import PlanSpec
from paybill.billing.simulated import Simulated
from paybill.cli.output import JSON, columns, document, moment, reported, text_output
from paybill.cli.scenario import Customer, Event, Expectation, Pays, Scenario, names_of, read
from paybill.lifecycle.account import Account
from paybill.lifecycle.contract import Contract
from paybill.lifecycle.periods import period_end
from paybill.lifecycle.provider import Snapshot, Status
from paybill.lifecycle.simulation import Simulation
from paybill.lifecycle.subscription import Hold

LONGEST = timedelta(days=730)


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@text_output
def simulate(*, scenario: Path, output: str) -> None:
    """Play SCENARIO, a YAML file, against a virtual clock and print what would happen when.

    Exits with 1 when something that the scenario expects does not come about.
    """
    with reported(output):
        play = Play(read(scenario))
        play.run()
    click.echo(document(play.as_json())) if output == JSON else _print(play)
    if play.disappointed:
        sys.exit(1)


class Play:
    """One scenario being played."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        down = [(one.at, one.operator_down_until) for one in scenario.events if one.operator_down_until is not None]
        self.simulation = Simulation(limits=scenario.limits, down=tuple(down))
        self.providers: dict[str, Simulated] = {}
        self.disappointed: list[str] = []
        for customer in scenario.tenants:
            for name in names_of(customer):
                self._enrol(name, customer, scenario.plans[customer.plan])
        for event in scenario.events:
            self.simulation.at(event.at, self._change(event))
        for expectation in scenario.expect:
            self.simulation.at(expectation.at, self._expectation(expectation))

    def run(self) -> None:
        """Let it happen."""
        self.simulation.run(self.scenario.until or self.scenario.start + LONGEST)

    def as_json(self) -> dict[str, Any]:
        """What happened as programs read it."""
        return {
            "happenings": [
                {
                    "time": one.time,
                    "tenant": one.tenant,
                    "kind": one.kind,
                    "phase": one.phase,
                    "what": one.what,
                    "because": one.because or None,
                }
                for one in self.simulation.happenings
            ],
            "disappointed": self.disappointed,
        }

    def _enrol(self, name: str, customer: Customer, plan: PlanSpec) -> None:
        start = customer.start_time or self.scenario.start
        provider = self.providers[name] = Simulated()
        for time, paid_until in [(self.scenario.start, customer.paid_until_time), *_payments(customer.pays, start)]:
            provider.becomes(Snapshot(status=Status.BY_DATES, provider_time=time, paid_until=paid_until))
            self._hint(name, time)
        contract = Contract(
            start=start,
            trial_days=plan.trial_days,
            policy=plan.payment,
            snapshot=None,
            holds=tuple(Hold(name=one.name, blocks=one.blocks, reason=one.reason or "") for one in customer.holds),
            cancel_time=customer.cancel_time,
            cancel_at_period_end=customer.cancel_at_period_end,
        )
        isolation = plan.isolation.resolved()[0] if plan.isolation is not None else None
        account = Account(name=name, contract=contract, speaks=provider.snapshot, shared=isolation == "Shared")
        self.simulation.enrol(account, self.scenario.start)

    def _hint(self, name: str, time: datetime) -> None:
        self.simulation.at(time, lambda sim: sim.look(name, time))

    def _change(self, event: Event) -> Callable[[Simulation], None]:
        def change(sim: Simulation) -> None:
            if event.halt:
                sim.halted = True
            if event.release:
                sim.release(event.at)
            for name in [event.tenant] if event.tenant is not None else sorted(sim.accounts):
                self._happens(sim.accounts[name], self.providers[name], event)
                sim.look(name, event.at)

        return change

    def _expectation(self, expected: Expectation) -> Callable[[Simulation], None]:
        def check(sim: Simulation) -> None:
            # After all looks of this very moment: what is expected is what they lead to.
            sim.at(expected.at, lambda later: later.at(expected.at, compare))

        def compare(sim: Simulation) -> None:
            phase = sim.accounts[expected.tenant].phase
            if phase != expected.phase:
                self.disappointed.append(f"{expected.tenant} is {phase} at {moment(expected.at)}, not {expected.phase}")

        return check

    def _happens(self, account: Account, provider: Simulated, event: Event) -> None:
        if event.status is not None:
            provider.becomes(
                Snapshot(
                    status=event.status,
                    provider_time=event.at,
                    paid_until=event.paid_until_time,
                    past_due_since=event.at if event.status in {Status.PAST_DUE, Status.UNPAID} else None,
                )
            )
        elif event.paid_until_time is not None:
            provider.becomes(Snapshot(status=Status.BY_DATES, provider_time=event.at, paid_until=event.paid_until_time))
        if event.provider_away_until is not None:
            provider.away.append((event.at, event.provider_away_until))
        if event.backups_work is not None:
            account.backups_work = event.backups_work
        account.contract = _agreed(account.contract, event)


def _agreed(contract: Contract, event: Event) -> Contract:
    """The contract as people have it from this event on."""
    holds = tuple(hold for hold in contract.holds if hold.name != event.lift)
    if (put := event.hold) is not None:
        holds += (Hold(name=put.name, blocks=put.blocks, reason=put.reason or ""),)
    times = contract.times
    if event.delete_subscription:
        times = replace(times, requested_end=event.at)
    at_end = event.cancel_at_period_end
    return replace(
        contract,
        holds=holds,
        times=times,
        cancel_time=event.cancel_time or contract.cancel_time,
        cancel_at_period_end=contract.cancel_at_period_end if at_end is None else at_end,
    )


def _payments(pays: Pays | None, start: datetime) -> Iterator[tuple[datetime, datetime]]:
    """When a customer pays until when by itself: each period at its beginning."""
    for number in range(pays.times if pays is not None else 0):
        assert pays is not None  # noqa: S101 - or there is no number
        ends = period_end(start, number + 1, pays.every, zone=pays.time_zone)
        yield period_end(start, number, pays.every, zone=pays.time_zone), ends


def _print(play: Play) -> None:
    rows = (
        (moment(one.time), one.tenant, one.kind, one.phase, one.what, one.because or None)
        for one in play.simulation.happenings
    )
    for line in columns(("TIME", "TENANT", "WHAT", "PHASE", "IN WORDS", "BECAUSE"), rows):
        click.echo(line)
    for words in play.disappointed:
        click.echo(f"Not as expected: {words}", err=True)
