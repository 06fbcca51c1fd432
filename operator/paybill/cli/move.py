"""``paybill move``: take a tenant's data to another server or another Plan's isolation, watch it, give it up, go back.

It writes what is wanted onto the Tenant (and its Subscription, for another Plan) and shows the Tenant's status: whoever
uses GitOps writes the same by hand, and the operator does the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from paybill.api.conditions import find_condition
from paybill.api.failures import Blocked, Invalid, Retry
from paybill.api.plan import Plan
from paybill.api.tenant import Tenant
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import contract_of, tenant_named
from paybill.cli.output import JSON, document, moment, reported, text_output
from paybill.cluster.client import Cluster
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.lifecycle.move import refusal

POLL = 1.0
HOLD = "hold"


@click.command()
@click.argument("tenant")
@click.option("--server", metavar="NAME", help="The server of the Tenant's Cell that its database is to be on.")
@click.option("--plan", metavar="NAME", help="The Plan it is to be on, which may mean another database level.")
@click.option("--abort", is_flag=True, help="Give up a move that has not switched, and begin none until asked again.")
@click.option("--reverse", is_flag=True, help="Go back to where the last move came from, while that is kept.")
@click.option("--dry-run", is_flag=True, help="Say what it would ask for and write nothing.")
@click.option("--wait", default=0.0, show_default=True, metavar="SECONDS", help="Watch it for so long.")
@text_output
@kubeconfig_option
def move(
    *, tenant: str, server: str | None, plan: str | None, abort: bool, reverse: bool, dry_run: bool, wait: float,
    output: str, kubeconfig: Path | None,
) -> None:  # fmt: skip
    """Move TENANT's data, or say how far its move is."""
    if sum((server is not None, plan is not None, abort, reverse)) > 1:
        raise click.UsageError("--server, --plan, --abort and --reverse exclude each other: give one of them")
    with reported(output):
        asks = server is not None or plan is not None or abort or reverse
        if asks:
            said = ask(kubeconfig, lambda cluster: _request(cluster, tenant, server, plan, abort, reverse, dry_run))
            click.echo(said, err=True)
        found = ask(kubeconfig, lambda cluster: tenant_named(cluster, tenant))
        if wait > 0 and not dry_run:
            found = _watched(kubeconfig, found, wait, output)
        _show(found, output)


async def _request(
    cluster: Cluster, name: str, server: str | None, plan: str | None, abort: bool, reverse: bool, dry_run: bool
) -> str:
    """Write what is asked for; returns it in words."""
    contract = await contract_of(cluster, name)
    tenant = contract.tenant
    annotations: dict[str, str | None]
    reference = None
    if abort:
        said, annotations = f"Tenant {name} is not moved until it is asked for again", {names.MOVE_ANNOTATION: HOLD}
    else:
        point = _back(tenant) if reverse else {"server": server, "plan": plan}
        reference = await _plan_reference(cluster, tenant, point) if point.get("plan") else None
        annotations = {names.MOVE_ANNOTATION: None, names.SERVER_ANNOTATION: point.get("server")}
        said = f"Tenant {name} is to be on {_words(point)}"
    if dry_run:
        return f"{said}; nothing was written"
    if reference is not None:
        if contract.subscription is None:
            raise Blocked("NoSubscription", f"Tenant {name} has no Subscription whose Plan could be changed")
        key = {"name": contract.subscription.metadata.name}
        await cluster.merge({"kind": "Subscription", "metadata": key, "spec": {"planRef": reference}})
    await cluster.annotate(Key("Tenant", "", name), annotations)
    return said


def _words(point: dict[str, str | None]) -> str:
    found = [f"{what} {value}" for what, value in sorted(point.items()) if value is not None]
    return " and ".join(found) or "whichever server has room"


def _back(tenant: Tenant) -> dict[str, str | None]:
    """Where the last move came from: another Plan's revision, or just another server."""
    last, name = tenant.status.move, tenant.metadata.name
    if last is None or last.source is None or last.target is None or last.keep_until_time is None:
        raise Blocked("NothingToReverse", f"Tenant {name} has no move whose source is still kept")
    if last.source.database == last.target.database:
        return {"server": last.source_server}
    if last.source_plan is None:
        raise Blocked("NothingToReverse", f"the Plan that Tenant {name} came from is not known")
    return {"plan": last.source_plan.name, "revision": last.source_plan.revision}


async def _plan_reference(cluster: Cluster, tenant: Tenant, point: dict[str, str | None]) -> dict[str, str | None]:
    """The ``planRef``; raises Blocked when that Plan's isolation cannot be reached by a move."""
    name, revision = point["plan"], point.get("revision")
    found = await cluster.get(Key("Plan", "", str(name)))
    if found is None:
        raise Invalid("UnknownPlan", f"there is no Plan {name}")
    has, wants = tenant.status.isolation, Plan.read(found).spec.isolation
    if revision is None and has is not None and wants is not None:
        why_not = refusal((has.compute, has.database), wants.resolved())
        if why_not is not None:
            raise Blocked("MoveNotSupported", f"Tenant {tenant.metadata.name}: {why_not}")
    return {"name": name, "revision": revision}


def _watched(kubeconfig: Path | None, tenant: Tenant, wait: float, output: str) -> Tenant:
    """The Tenant once its move has switched or stalled; prints each new line of it to stderr meanwhile."""
    ends, last, name = time.monotonic() + wait, "", tenant.metadata.name
    while True:
        found = ask(kubeconfig, lambda cluster: tenant_named(cluster, name))
        line = " · ".join(_lines(found))
        if line != last and output != JSON:
            click.echo(line, err=True)
        last = line
        moving = find_condition(found.status.conditions, "Moving")
        if moving is not None and moving.status == "False":
            return found
        if time.monotonic() > ends:
            raise Retry("MoveUnderWay", f"the move of Tenant {name} has not switched after {wait:.0f} s: {line}")
        asyncio.run(asyncio.sleep(POLL))


def _show(tenant: Tenant, output: str) -> None:
    if output == JSON:
        click.echo(document(as_json(tenant)))
        return
    for line in _lines(tenant):
        click.echo(line)


def _lines(tenant: Tenant) -> Iterator[str]:
    name, status = tenant.metadata.name, tenant.status
    found, moving = status.move, find_condition(status.conditions, "Moving")
    if found is None:
        place = status.placement
        where = f"{place.database} on server {place.server}" if place is not None else "no place yet"
        yield f"Tenant {name} is in {where} and does not move" + (f": {moving.message}" if moving is not None else "")
        return
    yield f"Tenant {name}: {found.step} ({moving.message if moving is not None else 'see status.conditions'})"
    if found.tables is not None and found.tables_done is not None:
        rows = f"{found.rows or 0} of about {found.rows_expected or 0} rows"
        yield f"{found.tables_done} of {found.tables} tables, {rows}"
    if found.copied_bytes is not None:
        yield f"{found.copied_bytes} bytes copied"
    if found.lag_bytes is not None:
        yield f"{found.lag_bytes} bytes of log behind"
    if found.estimated_time is not None:
        yield f"copied by about {moment(found.estimated_time)}"


def as_json(tenant: Tenant) -> dict[str, Any]:
    """The move as programs read it."""
    moving = find_condition(tenant.status.conditions, "Moving")
    return {
        "tenant": tenant.metadata.name,
        "placement": tenant.status.placement.wire() if tenant.status.placement is not None else None,
        "move": tenant.status.move.wire() if tenant.status.move is not None else None,
        "moving": {"status": moving.status, "reason": moving.reason, "message": moving.message} if moving else None,
    }
