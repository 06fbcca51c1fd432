"""``paybill plan``: what differs between two Plans or revisions, and how a change of one reaches its tenants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from paybill.api.conditions import STALLED, find_condition
from paybill.api.failures import Blocked, Invalid
from paybill.api.plan import Plan, PlanSpec
from paybill.api.tenant import Tenant
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import all_of
from paybill.cli.output import JSON, columns, document, reported, text_output
from paybill.cluster.client import Cluster
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.lifecycle.move import refusal
from paybill.lifecycle.plan_changes import Difference, differences
from paybill.lifecycle.rollout import PAUSED
from paybill.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a Plan says, or said in one of its revisions; ``tenants`` are on it now."""

    name: str
    content: dict[str, Any]
    tenants: int | None = None


@click.group()
def plan() -> None:
    """Plans: what differs, and how a change reaches the tenants."""


@plan.command()
@click.argument("one")
@click.argument("other")
@text_output
@kubeconfig_option
def diff(*, one: str, other: str, output: str, kubeconfig: Path | None) -> None:
    """Compare ONE with OTHER: each a Plan (starter), a revision of one (starter@8ef90e911d), or a YAML file."""
    with reported(output):
        here, there = (_side(kubeconfig, side) for side in (one, other))
        found = differences(here.content, there.content)
        if output == JSON:
            click.echo(document(_as_json(here, there, found)))
            return
        for line in lines(here, there, found):
            click.echo(line)


@plan.command()
@click.argument("name")
@click.option("--pause", is_flag=True, help="Admit no more tenants to the new revision; those that have it keep it.")
@click.option("--resume", is_flag=True, help="Go on, also after a rollback.")
@click.option("--rollback", metavar="REVISION", help="Put the tenants on this kept revision, until the next edit.")
@click.option("--dry-run", is_flag=True, help="Say what it would ask for and write nothing.")
@text_output
@kubeconfig_option
def rollout(
    *, name: str, pause: bool, resume: bool, rollback: str | None, dry_run: bool, output: str, kubeconfig: Path | None
) -> None:
    """Say how far the change of Plan NAME has come; pause it, let it go on, or roll it back."""
    if sum((pause, resume, rollback is not None)) > 1:
        raise click.UsageError("--pause, --resume and --rollback exclude each other: give one of them")
    with reported(output):
        if pause or resume or rollback is not None:
            word = PAUSED if pause else rollback
            click.echo(ask(kubeconfig, lambda cluster: order(cluster, name, word, dry_run=dry_run)), err=True)
        found, tenants = ask(kubeconfig, lambda cluster: _standing(cluster, name))
        if output == JSON:
            click.echo(document(_progress(found, tenants)))
            return
        for line in _told(found, tenants):
            click.echo(line)


async def order(cluster: Cluster, name: str, word: str | None, *, dry_run: bool = False) -> str:
    """Write what is asked for onto the Plan, whose spec stays whosoever it is; returns it in words."""
    found = await _plan(cluster, name)
    revision = found.revision()
    if word is None:
        said, value = f"the rollout of Plan {name} goes on to {revision}", None
    elif word == PAUSED:
        said, value = f"no more tenants of Plan {name} change to {revision}", PAUSED
    else:
        await _kept(cluster, name, word)
        said, value = f"the tenants of Plan {name} go back from {revision} to {word}", f"{revision}/{word}"
    if dry_run:
        return f"{said}; nothing was written"
    await cluster.annotate(Key("Plan", "", name), {names.ROLLOUT_ANNOTATION: value})
    return said


async def _plan(cluster: Cluster, name: str) -> Plan:
    found = await cluster.get(Key("Plan", "", name))
    if found is None:
        raise Invalid("UnknownPlan", f"there is no Plan {name}")
    return Plan.read(found)


async def _kept(cluster: Cluster, name: str, revision: str) -> dict[str, Any]:
    found = await cluster.get(Key("ControllerRevision", Settings().namespace, names.revision(name, revision)))
    if found is None:
        raise Blocked(
            "UnknownRevision",
            f"revision {revision} of Plan {name} is not kept: revisions are as long as a tenant is on them or a "
            "Subscription pins them; apply the former content instead, which is the same revision",
        )
    content: dict[str, Any] = found["data"]["content"]
    return content


async def of_cluster(cluster: Cluster, side: str) -> Content:
    """The content of ``NAME`` or ``NAME@REVISION``."""
    name, _, revision = side.partition("@")
    if revision:
        content = await _kept(cluster, name, revision)
    else:
        current = await _plan(cluster, name)
        content, revision = current.content(), current.revision()
    tenants = [one for one in await all_of(cluster, Tenant) if one.status.plan is not None]
    count = sum(
        (one.status.plan.name, one.status.plan.revision) == (name, revision)  # type: ignore[union-attr]  # left out above
        for one in tenants
    )
    return Content(name=f"{name}@{revision}", content=content, tenants=count)


def _side(kubeconfig: Path | None, side: str) -> Content:
    if side.endswith((".yaml", ".yml")):
        return _of_file(Path(side))
    return ask(kubeconfig, lambda cluster: of_cluster(cluster, side))


def _of_file(path: Path) -> Content:
    """The Plan in a manifest; raises Invalid when there is none."""
    try:
        found = [
            one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if (one or {}).get("kind") == "Plan"
        ]
        parsed = Plan.read(found[0])
    except (OSError, yaml.YAMLError, IndexError, ValueError, AttributeError) as error:
        raise Invalid("NotFound", f"{path} holds no Plan that can be read: {error}") from error
    return Content(name=str(path), content=parsed.content())


def lines(here: Content, there: Content, found: list[Difference]) -> Iterator[str]:
    """The differences as people read them."""
    if not found:
        yield f"{here.name} and {there.name} are the same for their tenants."
        return
    yield from columns(("FIELD", here.name, there.name), ((one.field, one.one, one.other) for one in found))
    for side in (here, there):
        if side.tenants is not None:
            yield f"{side.tenants} tenants are on {side.name}."
    if (said := _means(here, there)) is not None:
        yield said


def _means(here: Content, there: Content) -> str | None:
    """What a change of isolation means for a tenant that goes from the one to the other."""
    has, wants = (PlanSpec.model_validate(side.content).isolation for side in (here, there))
    if has is None or wants is None or has.resolved() == wants.resolved():
        return None
    why_not = refusal(has.resolved(), wants.resolved())
    if why_not is not None:
        return f"No tenant gets from one to the other: {why_not}."
    return "A tenant's data is moved first; what it has serves until the new place is verified."


def _as_json(here: Content, there: Content, found: list[Difference]) -> dict[str, Any]:
    return {
        "one": {"name": here.name, "tenants": here.tenants},
        "other": {"name": there.name, "tenants": there.tenants},
        "differences": [{"field": each.field, "one": each.one, "other": each.other} for each in found],
        "isolation": _means(here, there),
    }


async def _standing(cluster: Cluster, name: str) -> tuple[Plan, list[Tenant]]:
    found = await _plan(cluster, name)
    on_it = [
        one for one in await all_of(cluster, Tenant) if one.status.plan is not None and one.status.plan.name == name
    ]
    return found, on_it


def _progress(found: Plan, tenants: list[Tenant]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for one in tenants:
        revision = (one.status.plan.revision if one.status.plan is not None else None) or ""
        counts[revision] = counts.get(revision, 0) + 1
    rolling = found.status.rollout
    return {
        "plan": found.metadata.name,
        "revision": found.revision(),
        "ordered": found.metadata.annotations.get(names.ROLLOUT_ANNOTATION),
        "paused": rolling.paused if rolling is not None else False,
        "inProgress": rolling.in_progress if rolling is not None else 0,
        "tenants": dict(sorted(counts.items())),
        "failed": sorted(one.metadata.name for one in tenants if _failed(one)),
    }


def _failed(tenant: Tenant) -> bool:
    stalled = find_condition(tenant.status.conditions, STALLED)
    return stalled is not None and stalled.status == "True"


def _told(found: Plan, tenants: list[Tenant]) -> Iterator[str]:
    progress, ready = _progress(found, tenants), find_condition(found.status.conditions, "Ready")
    said = f": {ready.message}" if ready is not None and ready.message else ""
    yield f"Plan {found.metadata.name} is revision {progress['revision']}{said}."
    if progress["paused"]:
        yield "It is paused; `paybill plan rollout --resume` lets it go on, where no failed tenant holds it."
    yield from columns(("REVISION", "TENANTS"), progress["tenants"].items())
    for name in progress["failed"]:
        yield f"Tenant {name} is stalled: `paybill describe {name}` says why."
