"""``paybill resume --cell``: what a mass change would do to whom, and a person's word that it may.

What is allowed is one trip of the breaker, by its id: the annotation that says so is worth nothing for the next one,
even when it stays in Git for ever.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from paybill.api.cell import Cell, MassChange
from paybill.api.conditions import READY, find_condition
from paybill.api.failures import Blocked, Invalid
from paybill.api.tenant import Tenant
from paybill.cli.connection import ask
from paybill.cli.lookup import all_of
from paybill.cli.output import JSON, columns, document, moment
from paybill.cluster.client import Cluster
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.lifecycle.mass_change import RULES, Cause


@dataclass(frozen=True, kw_only=True)
class Held:
    """A mass change and the tenants that wait because of it."""

    cell: Cell
    trip: MassChange
    tenants: tuple[Tenant, ...]


def resume(name: str, *, yes: bool, dry_run: bool, output: str, kubeconfig: Path | None) -> None:
    """Show what the Cell's breaker holds back, ask, and allow it."""
    held = ask(kubeconfig, lambda cluster: _look(cluster, name))
    if output != JSON:
        for line in _lines(held):
            click.echo(line)
    if not dry_run:
        _confirm(held, yes=yes, output=output)
        ask(kubeconfig, lambda cluster: _allow(cluster, held))
    if output == JSON:
        click.echo(document(_as_json(held, allowed=not dry_run)))
    elif not dry_run:
        click.echo(f"Allowed: mass change {held.trip.id} of Cell {name} goes on, within the Cell's hourly budgets.")


async def _look(cluster: Cluster, name: str) -> Held:
    found = await cluster.get(Key("Cell", "", name))
    if found is None:
        raise Invalid("NotFound", f"there is no Cell {name}; if it was deleted, apply it again first")
    cell = Cell.read(found)
    trip = cell.status.mass_change
    if trip is None:
        raise Blocked("NoMassChange", f"the breaker of Cell {name} holds nothing back")
    tenants = [one for one in await all_of(cluster, Tenant) if _waits(one, name)]
    return Held(cell=cell, trip=trip, tenants=tuple(tenants))


async def _allow(cluster: Cluster, held: Held) -> None:
    """Say so on the Cell, unless it is another trip by now than the one that was shown."""
    now = await _look(cluster, held.cell.metadata.name)
    if now.trip.id != held.trip.id:
        raise Blocked("NoMassChange", f"mass change {held.trip.id} is over, it is {now.trip.id} now: look at that one")
    key = Key("Cell", "", held.cell.metadata.name)
    await cluster.annotate(key, {names.ALLOW_MASS_CHANGE_ANNOTATION: held.trip.id})


def _confirm(held: Held, *, yes: bool, output: str) -> None:
    if yes:
        return
    if output == JSON:
        raise Invalid("NotConfirmed", "nobody can be asked with --output json: give --yes or --dry-run")
    if not click.confirm(f"Let this happen to {held.trip.waiting} tenants of Cell {held.cell.metadata.name}?"):
        click.echo("Nothing was allowed.")
        sys.exit(1)


def _waits(tenant: Tenant, cell: str) -> bool:
    ready = find_condition(tenant.status.conditions, READY)
    placed = tenant.status.placement
    return placed is not None and placed.cell == cell and ready is not None and ready.reason == "MassChangeHeld"


def loss(tenant: Tenant) -> str:
    """What a tenant that waits loses once it is allowed."""
    if tenant.metadata.deletion_timestamp is None:
        return "access: pods are evicted and logins closed; data is kept"
    match tenant.spec.deletion_policy:
        case "Retain":
            return "nothing: Paybill lets go of it and leaves all as it is"
        case "Snapshot":
            return "access at once, its data when retention is over, after a verified backup"
        case _:
            return "everything at once: namespace, logins and data, without a backup"


def _lines(held: Held) -> Iterator[str]:
    trip, name = held.trip, held.cell.metadata.name
    yield f"Mass change {trip.id} of Cell {name}, held since {moment(trip.since_time)}:"
    yield f"  {trip.counted} of {trip.tenants} tenants {RULES[Cause(trip.cause)].words} (more by now, perhaps)."
    yield f"  {trip.waiting} wait:\n"
    rows = [(one.metadata.name, one.spec.deletion_policy, loss(one)) for one in held.tenants]
    yield from columns(("TENANT", "POLICY", "WOULD LOSE"), rows)
    unseen = trip.waiting - len(held.tenants)
    if unseen > 0:
        yield f"and {unseen} whose Tenant is gone already, or does not say so yet: what they left is dropped."
    yield ""


def _as_json(held: Held, *, allowed: bool) -> dict[str, Any]:
    waiting = [
        {"name": one.metadata.name, "deletionPolicy": one.spec.deletion_policy, "wouldLose": loss(one)}
        for one in held.tenants
    ]
    cell = held.cell.metadata.name
    return {"cell": cell, "massChange": held.trip.wire(), "tenants": waiting, "allowed": allowed}
