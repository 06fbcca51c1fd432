"""``paybill halt`` and ``paybill resume``: stop everything that Paybill does or destroys, and let it go on.

For the moment when somebody sees customers being stopped and does not know why yet. It writes one ConfigMap, so it
needs no more than that right, and whoever has no ``paybill`` at hand can do the same with kubectl.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from paybill.api.conditions import READY, RECONCILING, find_condition, is_true
from paybill.api.failures import Failure
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.cli import mass_change
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import all_of, utcnow
from paybill.cli.output import JSON, document, moment, reported, text_output
from paybill.cluster.client import Cluster
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.lifecycle.mode import FULL, Halt, Mode, read
from paybill.settings import from_environment

SOON = timedelta(hours=24)
STOPPING = frozenset({"Suspended", "Ended", "Restricted", "Archived", "Deleted"})
"""Phases that take something away."""


@dataclass(frozen=True, kw_only=True)
class Concerned:
    """How many tenants there are, change right now, lose something within a day, or say that they are halted."""

    tenants: int
    changing: int
    due_soon: int
    halted: int

    def wire(self) -> dict[str, int]:
        """As programs read it."""
        return {"total": self.tenants, "changing": self.changing, "dueWithin24h": self.due_soon, "halted": self.halted}


@click.command()
@click.option(
    "--mode",
    type=click.Choice([str(Mode.NON_DESTRUCTIVE), str(Mode.OBSERVE)]),
    default=str(Mode.NON_DESTRUCTIVE),
    show_default=True,
    help="What stays allowed: all but what takes something away from somebody, or nothing at all.",
)
@click.option("--reason", required=True, metavar="TEXT", help="Why; shown wherever something waits because of it.")
@click.option("--dry-run", is_flag=True, help="Say what it would stop and write nothing.")
@text_output
@kubeconfig_option
def halt(*, mode: str, reason: str, dry_run: bool, output: str, kubeconfig: Path | None) -> None:
    """Stop what Paybill destroys, or all that it does, in the whole installation, until `paybill resume`."""
    with reported(output):
        before, after, concerned = ask(
            kubeconfig, lambda cluster: _change(cluster, Mode(mode), reason, dry_run=dry_run)
        )
        _show(output, before, after, concerned, dry_run=dry_run)


@click.command()
@click.option("--cell", metavar="NAME", help="Allow the mass change that this Cell's breaker holds back.")
@click.option("--yes", is_flag=True, help="With --cell: do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would go on and write nothing.")
@text_output
@kubeconfig_option
def resume(*, cell: str | None, yes: bool, dry_run: bool, output: str, kubeconfig: Path | None) -> None:
    """End a halt; with --cell, allow a mass change after showing what it would do to whom."""
    with reported(output):
        if cell is not None:
            mass_change.resume(cell, yes=yes, dry_run=dry_run, output=output, kubeconfig=kubeconfig)
            return
        before, after, concerned = ask(kubeconfig, lambda cluster: _change(cluster, Mode.FULL, "", dry_run=dry_run))
        _show(output, before, after, concerned, dry_run=dry_run)


async def current(cluster: Cluster) -> Halt:
    """The mode that the ConfigMap names; Full where there is none, or where it names none that we know."""
    found = await cluster.get(_key())
    return (read(found.get("data") or {}) if found is not None else None) or FULL


async def notice(cluster: Cluster) -> str | None:
    """One line that says that the installation is halted; None when it is not, or when we may not know."""
    try:
        halted = await current(cluster)
    except Failure:
        return None
    if halted.mode is Mode.FULL:
        return None
    return f"The installation is halted ({halted.words}): {halted.mode.effect}; `paybill resume` ends it."


async def _change(cluster: Cluster, mode: Mode, reason: str, *, dry_run: bool) -> tuple[Halt, Halt, Concerned]:
    """What the mode was, what it is now (would be), and whom that concerns."""
    before, now = await current(cluster), utcnow()
    after = Halt(mode=mode, reason=reason, by=await cluster.username(), time=str(moment(now)))
    concerned = _concerned(await all_of(cluster, Tenant), await all_of(cluster, Subscription), now)
    if not dry_run:
        key = _key()
        metadata = {"name": key.name, "namespace": key.namespace}
        config_map = {"apiVersion": "v1", "kind": key.kind, "metadata": metadata, "data": after.data()}
        await cluster.apply(config_map, manager="paybill-cli")
    return before, after, concerned


def _key() -> Key:
    return Key("ConfigMap", from_environment().namespace, names.MODE_CONFIG_MAP)


def _concerned(tenants: list[Tenant], subscriptions: Iterable[Subscription], now: datetime) -> Concerned:
    coming = (one.status.next for one in subscriptions)
    soon = sum(1 for next_ in coming if next_ is not None and next_.phase in STOPPING and next_.time < now + SOON)
    return Concerned(
        tenants=len(tenants),
        changing=sum(1 for one in tenants if _changing(one)),
        due_soon=soon,
        halted=sum(1 for one in tenants if _reason(one) == "Halted"),
    )


def _changing(tenant: Tenant) -> bool:
    deleting = tenant.metadata.deletion_timestamp is not None
    return deleting or is_true(tenant.status.conditions, RECONCILING)


def _reason(tenant: Tenant) -> str | None:
    ready = find_condition(tenant.status.conditions, READY)
    return ready.reason if ready is not None else None


def _show(output: str, before: Halt, after: Halt, concerned: Concerned, *, dry_run: bool) -> None:
    if output == JSON:
        click.echo(document(_as_json(before, after, concerned, dry_run=dry_run)))
        return
    for line in _lines(before, after, concerned, dry_run=dry_run):
        click.echo(line)


def _lines(before: Halt, after: Halt, concerned: Concerned, *, dry_run: bool) -> Iterator[str]:
    would = "would be" if dry_run else "is"
    yield f"The mode {would} {after.mode}, it was {before.mode}: {after.mode.effect}."
    if after.mode is Mode.FULL:
        yield f"{concerned.halted} of {concerned.tenants} tenants wait because of the halt and go on."
        return
    yield (
        f"{concerned.tenants} tenants stay as they are: {concerned.changing} of them change right now, "
        f"{concerned.due_soon} would lose something within 24 hours."
    )
    yield "Tenants that have something to do say Halted; all others notice nothing. `paybill resume` ends it."


def _as_json(before: Halt, after: Halt, concerned: Concerned, *, dry_run: bool) -> dict[str, Any]:
    shown = {"before": before.data(), "after": after.data(), "effect": after.mode.effect}
    return {**shown, "tenants": concerned.wire(), "dryRun": dry_run}
