"""``paybill entitlements``: what a tenant may use, and who gave it: its Plan, an add-on or its Subscription."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from paybill.api.failures import Blocked
from paybill.api.limits import Feature
from paybill.api.plan import Plan
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import Contract, contract_of
from paybill.cli.output import JSON, columns, document, reported, text_output
from paybill.cluster.client import Cluster
from paybill.desired.resource import Key
from paybill.lifecycle.entitlements import Entitlement, resolve, value_of


@click.command()
@click.argument("tenant")
@text_output
@kubeconfig_option
def entitlements(*, tenant: str, output: str, kubeconfig: Path | None) -> None:
    """List the features and limits that TENANT has, as handed to its app."""
    with reported(output):
        granted = ask(kubeconfig, lambda cluster: _granted(cluster, tenant))
        if output == JSON:
            content = [{"name": one.name, "value": one.value, "source": one.source or None} for one in granted]
            click.echo(document({"tenant": tenant, "entitlements": content}))
            return
        for line in lines(granted):
            click.echo(line)


def lines(granted: list[Entitlement]) -> Iterator[str]:
    """The entitlements as aligned columns."""
    return columns(("NAME", "VALUE", "FROM"), ((one.name, one.text, one.source or None) for one in granted))


async def _granted(cluster: Cluster, name: str) -> list[Entitlement]:
    """What the Subscription's status grants; who gave it is added where the objects still say the same."""
    contract = await contract_of(cluster, name)
    if contract.subscription is None:
        raise Blocked("NoSubscription", f"Tenant {name} has no Subscription, so it is entitled to nothing")
    sources = {one.name: one for one in await _resolved(cluster, contract)}
    return [_with_source(feature, sources) for feature in contract.subscription.status.entitlements]


def _with_source(feature: Feature, sources: dict[str, Any]) -> Entitlement:
    value, found = value_of(feature), sources.get(feature.name)
    source = found.source if found is not None and found.value == value else ""
    return Entitlement(name=feature.name, value=value, source=source)


async def _resolved(cluster: Cluster, contract: Contract) -> tuple[Entitlement, ...]:
    if contract.subscription is None or contract.plan is None:
        return ()
    spec = contract.subscription.spec
    plans = [(await cluster.get(Key("Plan", "", one.plan_ref.name)), one.quantity) for one in spec.add_ons]
    add_ons = [(Plan.read(found).spec.features, quantity) for found, quantity in plans if found is not None]
    return resolve(
        contract.plan.features, add_ons, spec.entitlements.set, spec.entitlements.remove, quantity=spec.quantity
    )
