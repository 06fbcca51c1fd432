"""``paybill describe``: one tenant with everything that is known of it, on one page.

Tenant, contract, plan, conditions and recent Events stand in different objects; whoever is called at night should not
have to know which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from paybill.api.conditions import Condition
from paybill.api.failures import Failure
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.forecast import look_ahead
from paybill.cli.lookup import Contract, contract_of, utcnow
from paybill.cli.output import JSON, age, columns, coming, document, fields, reported, text_output
from paybill.cluster.client import Cluster
from paybill.cluster.events import NAMESPACE

MOST_EVENTS = 15


@dataclass(frozen=True, kw_only=True)
class Page:
    """What is shown: the contract and its Events, oldest first, as the API server has them."""

    contract: Contract
    events: tuple[dict[str, Any], ...]


@click.command()
@click.argument("tenant")
@text_output
@kubeconfig_option
def describe(*, tenant: str, output: str, kubeconfig: Path | None) -> None:
    """Show all about TENANT: contract, place, conditions, what comes next and recent Events."""
    with reported(output):
        page = ask(kubeconfig, lambda cluster: _page(cluster, tenant))
        if output == JSON:
            click.echo(document(as_json(page)))
            return
        for line in lines(page, utcnow()):
            click.echo(line)


async def _page(cluster: Cluster, name: str) -> Page:
    contract = await contract_of(cluster, name)
    ours = {contract.tenant.metadata.uid}
    if contract.subscription is not None:
        ours.add(contract.subscription.metadata.uid)
    events = [one for uid in sorted(ours) for one in await _events_of(cluster, uid)]
    ordered = sorted(events, key=lambda one: int(one["metadata"]["resourceVersion"]))
    return Page(contract=contract, events=tuple(ordered[-MOST_EVENTS:]))


async def _events_of(cluster: Cluster, uid: str) -> list[dict[str, Any]]:
    return await cluster.list("Event", namespace=NAMESPACE, fields=f"involvedObject.uid={uid}")


def lines(page: Page, now: datetime) -> Iterator[str]:
    """The page as people read it."""
    tenant = page.contract.tenant
    status, name = tenant.status, tenant.metadata.name
    yield f"Tenant {name}" + (f" ({tenant.spec.display_name})" if tenant.spec.display_name else "")
    isolation, place = status.isolation, status.placement
    yield from fields(
        (
            ("Phase", status.phase),
            ("Id", status.id),
            ("Isolation", f"compute {isolation.compute}, database {isolation.database}" if isolation else None),
            ("Place", " / ".join(filter(None, (place.cell, place.server, place.database))) if place else None),
            ("Namespace", status.namespace),
            ("Binding", status.binding.name if status.binding else None),
            ("Owners", ", ".join(f"{one.kind} {one.name}" for one in tenant.spec.owners) or None),
            ("Holds", "; ".join(f"{one.name} blocks {one.blocks}" for one in tenant.spec.holds) or None),
            ("Deletion", tenant.spec.deletion_policy),
            ("Age", age(tenant.metadata.creation_timestamp, now)),
        )
    )
    yield from _conditions(status.conditions, now)
    yield from _subscription(page.contract, now)
    yield from _events(page.events, now)


def _subscription(contract: Contract, now: datetime) -> Iterator[str]:
    subscription = contract.subscription
    if subscription is None:
        yield "\nNo Subscription names this Tenant."
        return
    spec, status = subscription.spec, subscription.status
    yield f"\nSubscription {subscription.metadata.name}"
    on = contract.tenant.status.plan
    add_ons = ", ".join(f"{one.plan_ref.name} x {one.quantity}" for one in spec.add_ons)
    yield from fields(
        (
            ("Phase", status.phase),
            ("Plan", spec.plan_ref.name + (f", tenant on {on.name} {on.revision}" if on else "")),
            ("Quantity", spec.quantity),
            ("Add-ons", add_ons or None),
            ("Payment", spec.payment.provider),
            ("Paid until", _when(spec.payment.paid_until_time, now)),
            ("Trial ends", _when(status.anchors.trial_end_time if status.anchors else None, now)),
            ("Late since", _when(status.anchors.past_due_since_time if status.anchors else None, now)),
        )
    )
    yield from _conditions(status.conditions, now)
    yield from _next(contract, now)


def _next(contract: Contract, now: datetime) -> Iterator[str]:
    try:
        outlook = look_ahead(contract, now)
    except Failure as failure:
        yield f"\nNext: {failure.message}"
        return
    if not outlook.transitions:
        yield "\nNext: nothing changes by itself."
        return
    step = outlook.transitions[0]
    yield f"\nNext: {step.phase} {coming(step.time, now)}, because {step.because}: {step.does}."


def _conditions(conditions: Iterable[Condition], now: datetime) -> Iterator[str]:
    rows = [
        ("  " + one.type, one.status, one.reason, age(one.last_transition_time, now), one.message or None)
        for one in conditions
    ]
    if rows:
        yield from columns(("  CONDITION", "STATUS", "REASON", "FOR", "MESSAGE"), rows)


def _events(events: Iterable[dict[str, Any]], now: datetime) -> Iterator[str]:
    rows = [
        (
            "  " + (age(_time(one), now) or "-"),
            one["type"],
            one["involvedObject"]["kind"],
            one["reason"],
            one["message"],
        )
        for one in events
    ]
    yield "\nEvents" if rows else "\nNo Events (the API server keeps them for an hour)."
    if rows:
        yield from columns(("  AGO", "TYPE", "ABOUT", "REASON", "MESSAGE"), rows)


def _time(event: dict[str, Any]) -> datetime | None:
    last = event.get("lastTimestamp")
    return datetime.fromisoformat(last) if last else None


def _when(time: datetime | None, now: datetime) -> str | None:
    return None if time is None else coming(time, now)


def as_json(page: Page) -> dict[str, Any]:
    """The page as programs read it: the objects themselves."""
    contract = page.contract
    kept = ("type", "reason", "message", "lastTimestamp")
    return {
        "tenant": contract.tenant.wire(),
        "subscription": contract.subscription.wire() if contract.subscription else None,
        "plan": contract.plan.wire() if contract.plan else None,
        "events": [
            {name: one.get(name) for name in kept} | {"about": one["involvedObject"]["kind"]} for one in page.events
        ],
    }
