"""``paybill tenants``: all tenants with their contracts at a glance, which kubectl can only show kind by kind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from paybill.api.conditions import READY, STALLED, Condition, find_condition
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.halt import notice
from paybill.cli.lookup import all_of, bound, utcnow
from paybill.cli.output import JSON, WIDE, age, columns, document, reported, span, table_output
from paybill.cluster.client import Cluster

Pair = tuple[Tenant, Subscription | None]

_TITLES = ("NAME", "READY", "PLAN", "COMPUTE", "DATABASE", "SUBSCRIPTION", "NEXT", "IN", "AGE")
_WIDE = ("ID", "NAMESPACE", "CELL", "SERVER", "REASON")


@click.command()
@table_output
@kubeconfig_option
def tenants(*, output: str, kubeconfig: Path | None) -> None:
    """List the tenants: plan, isolation, phase of the contract and what comes next."""
    with reported(output):
        found, now = ask(kubeconfig, _pairs), utcnow()
        if (halted := ask(kubeconfig, notice)) is not None:
            click.echo(halted, err=True)
        if output == JSON:
            click.echo(document([as_json(*pair) for pair in found]))
            return
        if not found:
            click.echo("There are no tenants: apply one (manifests/tenants has examples).", err=True)
            return
        for line in table(found, now, wide=output == WIDE):
            click.echo(line)


async def _pairs(cluster: Cluster) -> list[Pair]:
    subscriptions = await all_of(cluster, Subscription)
    return [(tenant, bound(tenant, subscriptions)) for tenant in await all_of(cluster, Tenant)]


def table(pairs: list[Pair], now: datetime, *, wide: bool) -> Iterator[str]:
    """The tenants as aligned columns."""
    titles = (*_TITLES, *_WIDE) if wide else _TITLES
    return columns(titles, ((*_cells(*pair, now), *(_wide(pair[0]) if wide else ())) for pair in pairs))


def _cells(tenant: Tenant, subscription: Subscription | None, now: datetime) -> tuple[object, ...]:
    status = tenant.status
    ready = find_condition(status.conditions, READY)
    isolation = status.isolation
    coming = subscription.status.next if subscription is not None else None
    return (
        tenant.metadata.name,
        ready.status if ready else None,
        status.plan.name if status.plan else None,
        isolation.compute if isolation else None,
        isolation.database if isolation else None,
        subscription.status.phase if subscription else None,
        coming.phase if coming else None,
        span(coming.time - now) if coming else None,
        age(tenant.metadata.creation_timestamp, now),
    )


def _wide(tenant: Tenant) -> tuple[object, ...]:
    status = tenant.status
    said = speaking(tenant)
    place = status.placement
    return (
        status.id,
        status.namespace,
        place.cell if place else None,
        place.server if place else None,
        said.reason if said else None,
    )


def speaking(resource: Tenant | Subscription) -> Condition | None:
    """The condition with the reason that counts: why it is stalled, else why it is ready or not."""
    stalled = find_condition(resource.status.conditions, STALLED)
    if stalled is not None and stalled.status == "True":
        return stalled
    return find_condition(resource.status.conditions, READY)


def as_json(tenant: Tenant, subscription: Subscription | None) -> dict[str, Any]:
    """One tenant as programs read it."""
    said, ready = speaking(tenant), find_condition(tenant.status.conditions, READY)
    status = tenant.status.wire()
    contract = subscription.status.wire() if subscription is not None else {}
    return {
        "name": tenant.metadata.name,
        "id": status.get("id"),
        "phase": status.get("phase"),
        "ready": ready is not None and ready.status == "True",
        "reason": said.reason if said else None,
        "message": said.message if said else None,
        "plan": status.get("plan"),
        "isolation": status.get("isolation"),
        "placement": status.get("placement"),
        "namespace": status.get("namespace"),
        "binding": status.get("binding"),
        "subscription": None
        if subscription is None
        else {"name": subscription.metadata.name, "phase": contract.get("phase"), "next": contract.get("next")},
    }
