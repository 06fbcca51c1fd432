"""``paybill forecast``: what will become of a tenant if nobody pays, edits or holds anything.

It asks the function that the operator decides with, about later moments; nothing is stored about the future.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from paybill.api.conditions import find_condition
from paybill.api.failures import Blocked
from paybill.api.subscription import Anchors, Subscription
from paybill.api.tenant import Tenant
from paybill.billing import manual
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import Contract, contract_of, utcnow
from paybill.cli.output import JSON, columns, document, moment, reported, span, text_output
from paybill.lifecycle import subscription as contracts
from paybill.lifecycle.consequences import consequence
from paybill.lifecycle.phases import Phase
from paybill.lifecycle.provider import Snapshot, Status
from paybill.lifecycle.terms import reported_times, terms


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One change to come: the phase, when, why, and what it does to the tenant."""

    phase: Phase
    time: datetime
    because: str
    does: str


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Where a contract stands and the transitions to come, in order."""

    tenant: str
    subscription: str
    phase: Phase
    because: str
    has: str
    transitions: tuple[Transition, ...]
    collection: str | None = None
    """Whether the payment provider collects nothing, or will not, because the tenant cannot be made."""
    plan_change: str | None = None
    """What stands between the Tenant and the Plan that is wanted, such as a move of its data."""


@click.command()
@click.argument("tenant")
@text_output
@kubeconfig_option
def forecast(*, tenant: str, output: str, kubeconfig: Path | None) -> None:
    """List the coming transitions of TENANT: when, why, and what each will do."""
    with reported(output):
        found = ask(kubeconfig, lambda cluster: contract_of(cluster, tenant))
        now = utcnow()
        outlook = look_ahead(found, now)
        if output == JSON:
            click.echo(document(as_json(outlook)))
            return
        for line in lines(outlook, now):
            click.echo(line)


def look_ahead(found: Contract, now: datetime) -> Outlook:
    """The outlook at ``now``; raises Blocked when there is no contract, or no Plan to go by."""
    name = found.tenant.metadata.name
    subscription, plan = found.subscription, found.plan
    if subscription is None:
        raise Blocked("NoSubscription", f"Tenant {name} has no Subscription, so nothing will happen to it by itself")
    if plan is None:
        raise Blocked(
            "PlanMissing",
            f"Subscription {subscription.metadata.name}: Plan {subscription.spec.plan_ref.name} is not there, nor the "
            "revision that the Tenant is on: apply it, or look with a login that may read the operator's namespace",
        )
    times, created = reported_times(subscription, plan), subscription.metadata.creation_timestamp
    contract = terms(
        subscription,
        plan,
        found.tenant,
        snapshot=_snapshot(subscription),
        times=times,
        now=now,
        # Served before it was created: the contract is older than its object, which was made anew.
        began=times.ready if times.ready is not None and created is not None and times.ready < created else None,
    )
    isolation = found.tenant.status.isolation or plan.isolation
    shared = isolation is not None and isolation.compute == "Shared"
    verdict = contracts.decide(contract, now)
    return Outlook(
        tenant=name,
        subscription=subscription.metadata.name,
        phase=verdict.phase,
        because=verdict.because,
        has=consequence(verdict.phase, plan.payment, shared=shared),
        collection=_collection(subscription),
        plan_change=_plan_change(found.tenant),
        transitions=tuple(
            Transition(
                phase=step.phase,
                time=step.time,
                because=step.because,
                does=consequence(step.phase, plan.payment, shared=shared),
            )
            for step in contracts.forecast(contract, now)
        ),
    )


def lines(outlook: Outlook, now: datetime) -> Iterator[str]:
    """The outlook as people read it."""
    stands = f"{outlook.tenant} is {outlook.phase} by Subscription {outlook.subscription} ({outlook.because})"
    yield f"{stands}: {outlook.has}."
    if outlook.plan_change is not None:
        yield f"{outlook.plan_change}."
    if outlook.collection is not None:
        yield f"{outlook.collection}."
    if not outlook.transitions:
        yield "Nothing changes by itself."
        return
    yield "If nobody pays, edits or holds anything:\n"
    rows = ((moment(one.time), span(one.time - now), one.phase, one.because, one.does) for one in outlook.transitions)
    yield from columns(("TIME", "IN", "PHASE", "BECAUSE", "WHAT IT DOES"), rows)


def as_json(outlook: Outlook) -> dict[str, Any]:
    """The outlook as programs read it."""
    return {
        "tenant": outlook.tenant,
        "subscription": outlook.subscription,
        "phase": outlook.phase,
        "because": outlook.because,
        "has": outlook.has,
        "collection": outlook.collection,
        "planChange": outlook.plan_change,
        "transitions": [
            {"phase": one.phase, "time": one.time, "because": one.because, "does": one.does}
            for one in outlook.transitions
        ],
    }


def _collection(subscription: Subscription) -> str | None:
    said = find_condition(subscription.status.conditions, "CollectionPaused")
    return f"{said.reason}: {said.message}" if said is not None else None


def _plan_change(tenant: Tenant) -> str | None:
    current = find_condition(tenant.status.conditions, "PlanCurrent")
    return f"{current.reason}: {current.message}" if current is not None and current.status == "False" else None


def _snapshot(subscription: Subscription) -> Snapshot | None:
    """What the provider last said, as the status reports it where the contract does not say it itself."""
    if subscription.spec.payment.provider == "Manual":
        return manual.snapshot(subscription)
    said = subscription.status.provider.last_known if subscription.status.provider is not None else None
    if said is None or said.status not in set(Status):
        return None
    anchors = subscription.status.anchors or Anchors()
    return Snapshot(
        status=Status(said.status),
        provider_time=said.provider_time,
        trial_end=anchors.trial_end_time,
        paid_until=anchors.period_end_time,
        past_due_since=anchors.past_due_since_time,
        cancel_time=said.cancel_time,
    )
