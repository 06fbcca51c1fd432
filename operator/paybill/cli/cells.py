"""``paybill cell``: the servers of each Cell, what they hold, how much room is left, which moves would make more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from paybill.api.cell import Cell, ServerStatus
from paybill.api.conditions import READY, STALLED, find_condition
from paybill.api.failures import Invalid
from paybill.cli.connection import ask, kubeconfig_option
from paybill.cli.lookup import all_of
from paybill.cli.output import JSON, columns, document, reported, table_output
from paybill.cluster.client import Cluster
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.lifecycle.placement import CROWDED, capacity, crowded, next_server
from paybill.lifecycle.rebalance import HIGH

_TITLES = ("CELL", "SERVER", "HOLDS", "TENANTS", "CAPACITY", "USED", "REACHABLE", "VERSION", "PROFILE", "NEXT")
AS_OF = "TENANTS as of the operator's last look at the Cell, up to a minute ago; deleted ones whose data is kept count"


@click.group()
def cell() -> None:
    """Cells: where tenants are put."""


@cell.command()
@click.argument("name", required=False)
@table_output
@kubeconfig_option
def status(*, name: str | None, output: str, kubeconfig: Path | None) -> None:
    """List the servers of each Cell (or of one) with their room; NEXT marks where the next tenant of a kind goes.

    Tenants are counted by the operator whenever it looks at a Cell, which is once a minute, kept data of deleted ones
    included; what has changed since is not in the figures yet.
    """
    with reported(output):
        found = ask(kubeconfig, lambda cluster: all_of(cluster, Cell))
        if name is not None and all(one.metadata.name != name for one in found):
            known = ", ".join(sorted(one.metadata.name for one in found)) or "none"
            raise Invalid("UnknownCell", f"Cell {name} does not exist (known: {known})")
        chosen = [one for one in found if name in (None, one.metadata.name)]
        if output == JSON:
            click.echo(document([as_json(one) for one in chosen]))
            return
        for line in columns(_TITLES, [row for one in chosen for row in _rows(one)]):
            click.echo(line)
        click.echo(AS_OF, err=True)
        for one in chosen:
            for said in advice(one):
                click.echo(said, err=True)


@cell.command()
@click.argument("name")
@click.option("--apply", "count", type=click.IntRange(1, 16), metavar="N", help="Ask for the first N of them.")
@click.option("--dry-run", is_flag=True, help="Only show them, as without --apply.")
@table_output
@kubeconfig_option
def rebalance(*, name: str, count: int | None, dry_run: bool, output: str, kubeconfig: Path | None) -> None:
    """Show which moves would make room on servers of Cell NAME that are nearly full; ask for some of them."""
    if count is not None and dry_run:
        raise click.UsageError("--apply and --dry-run exclude each other: give one of them")
    with reported(output):
        found = ask(kubeconfig, lambda cluster: _cell_named(cluster, name)).status.rebalance
        for move in found[: count or 0]:
            asked = {names.SERVER_ANNOTATION: move.target, names.MOVE_ANNOTATION: None}
            ask(kubeconfig, lambda cluster: cluster.annotate(Key("Tenant", "", move.tenant), asked))  # noqa: B023
        rows = [
            (one.tenant, one.source, one.target, one.because, number < (count or 0)) for number, one in enumerate(found)
        ]
        if output == JSON:
            keys = ("tenant", "source", "target", "because", "asked")
            click.echo(document([dict(zip(keys, row, strict=True)) for row in rows]))
            return
        for line in columns(("TENANT", "FROM", "TO", "BECAUSE", "ASKED"), rows):
            click.echo(line)
        if not rows:
            click.echo(f"Cell {name}: no server is over {HIGH:.0%} of its capacity, or nobody fits elsewhere", err=True)


async def _cell_named(cluster: Cluster, name: str) -> Cell:
    found = await all_of(cluster, Cell)
    one = next((one for one in found if one.metadata.name == name), None)
    if one is None:
        known = ", ".join(sorted(one.metadata.name for one in found)) or "none"
        raise Invalid("UnknownCell", f"Cell {name} does not exist (known: {known})")
    return one


def advice(one: Cell) -> list[str]:
    """What a person should do before tenants find no place."""
    seen = {server.name: server for server in one.status.servers}
    name = one.metadata.name
    said = [
        f"Cell {name}: all servers that hold {holds} are over {CROWDED:.0%} full: append one to spec.servers, or raise "
        "a capacity"
        for holds in crowded(one, {server: status.tenants or 0 for server, status in seen.items()})
    ]
    if one.status.rebalance:
        said.append(f"Cell {name}: {len(one.status.rebalance)} moves would make room: `paybill cell rebalance {name}`")
    stalled = find_condition(one.status.conditions, STALLED)
    if stalled is not None and stalled.status == "True":
        said.append(f"Cell {name}: {stalled.message}")
    return said


def as_json(one: Cell) -> dict[str, Any]:
    """One Cell as programs read it."""
    ready = find_condition(one.status.conditions, READY)
    return {
        "name": one.metadata.name,
        "provider": one.spec.provider,
        "default": one.spec.default,
        "ready": ready is not None and ready.status == "True",
        "tenants": one.status.tenants,
        "counted": AS_OF,
        "servers": [dict(zip((title.lower() for title in _TITLES[1:]), row[1:], strict=True)) for row in _rows(one)],
        "advice": advice(one),
    }


def _rows(one: Cell) -> list[tuple[object, ...]]:
    seen = {server.name: server for server in one.status.servers}
    counts = {(one.metadata.name, name): server.tenants or 0 for name, server in seen.items()}
    rows: list[tuple[object, ...]] = []
    for server in one.spec.servers:
        status: ServerStatus | None = seen.get(server.name)
        tenants, room = ((status.tenants or 0) if status else 0), capacity(server)
        coming = next_server(one, server.holds, counts) == server.name
        rows.append(
            (
                one.metadata.name, server.name, server.holds, tenants, room, f"{tenants / room:.0%}" if room else None,
                status.reachable if status else False, status.version if status else None,
                status.profile if status else None, coming,
            )
        )  # fmt: skip
    return rows
