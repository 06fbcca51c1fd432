"""One Cell: connect its database servers, watch their catalogs for drift, say how they are."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from paybill.api import conditions as c
from paybill.api.cell import Cell, CellStatus, Server, ServerIsolation, ServerStatus
from paybill.api.failures import Failure, Retry
from paybill.lifecycle.placement import capacity
from paybill.reconcile import (
    admin_uri,
    budget,
    isolation,
    isolation_report,
    mass_change,
    metering,
    migration_sources,
    migrations,
    pooler,
    rebalance,
    report,
    strays,
    watchdog,
)
from paybill.reconcile.permission import refuse_unless_acting
from paybill.reconcile.queue import DUE, Work
from paybill.reconcile.servers import FENCED, Attached
from paybill.reconcile.status import Fact, apply_facts, outcome
from paybill.reconcile.world import World

AWAY_LOOK = 2.0
"""Seconds until a server that does not answer is tried again: its tenants wait for it."""


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:
    """Attach every server of the Cell and compare what its catalogs say with the last look."""
    cell = world.declared.cells.get(name)
    if cell is None:
        return None
    if cell.metadata.deletion_timestamp is not None:
        await report.let_go(world, cell)  # we never hold one, but nobody else would ever take our finalizer off
    # Before the servers: a tenant that waits for one asks for the files as soon as it is there.
    await migration_sources.load(world, cell)
    failure: Failure | None = None
    for spec in cell.spec.servers:
        try:
            await _server(world, cell, spec, deep=deep)
        except Failure as stopped:
            if stopped.reason in FENCED:
                raise
            failure = stopped
            known = world.servers.find(name, spec.name)
            if known is not None:
                known.reachable = False
    await metering.look(world, name)
    await _detach_removed(world, cell)
    if cause != DUE:
        budget.wake_line(world, name)
        _wake_unplaced(world, cell)
        pooler.cell_changed(world, cell)
    fleet, migrated = await migrations.look(world, cell)
    status = _status(world, cell, failure, migrated).model_copy(update={"migrations": fleet})
    if await report.write_status(world, cell, status):
        isolation_report.announce(world, cell, status)
    _plan_check(world, cell)
    watchdog.plan(world, cell)
    if isinstance(failure, Retry):
        raise Retry(failure.reason, failure.message, after=AWAY_LOOK) from failure
    if failure is not None:
        raise failure
    return world.now() + timedelta(seconds=world.settings.database_resync_seconds)


async def _server(world: World, cell: Cell, spec: Server, *, deep: bool) -> None:
    name = cell.metadata.name
    known = world.servers.find(name, spec.name)
    here = {claim.id for claim in world.registry.all() if (claim.cell, claim.server) == (name, spec.name)}
    observing = world.brakes.halt.observing
    if observing and not here:
        refuse_unless_acting(world, "server.attach", cell=name)
    whose = f"server {spec.name} of Cell {name}"
    attached = await world.servers.attach(
        name, spec, await admin_uri.read(world, spec.admin_secret_ref, whose), make=not observing
    )
    if attached is not known:
        changed = here
    elif not attached.reachable:
        # Its address is the same: only an answer shows that it is back. Its tenants waited for it.
        changed = await attached.look_at_all() | here
    else:
        changed = await attached.look_at_all() if deep else set()
    attached.reachable = True
    _take_up_check(world, cell, attached)
    if deep or attached is not known:
        await strays.look(world, attached)
    for tenant_id in sorted(changed):
        claim = world.registry.by_id(tenant_id)
        if claim is not None:
            kind, who = ("Drop", tenant_id) if claim.state == "deleted" else ("Tenant", claim.tenant_name)
            # A server that moved is told to every tenant, also in the Secrets, which only a planned look asks for.
            moved = known is not None and attached is not known
            what = "change in" if known is not None else "connected to"
            cause = DUE if moved else f"{what} Postgres server {spec.name}"
            world.queue.add(Work(kind, who), cause, background=True)


def _take_up_check(world: World, cell: Cell, attached: Attached) -> None:
    """What the Cell says of the last check of a server that this process has just met."""
    proving = attached.proving
    if proving.since is None:
        proving.since = world.now()
        proving.last = _told(cell, attached.spec.name)
        proving.told = proving.verdict
    isolation_report.wake_tenants(world, attached)


def _told(cell: Cell, server: str) -> ServerIsolation | None:
    told = next((one for one in cell.status.servers if one.name == server), None)
    return told.isolation if told is not None else None


async def _detach_removed(world: World, cell: Cell) -> None:
    name = cell.metadata.name
    declared = {server.name for server in cell.spec.servers}
    used = {claim.server for claim in world.registry.all() if claim.cell == name}
    for row in world.moves.all():
        used |= {row.source_server, row.target_server} if row.cell == name else set()
    for attached in world.servers:
        if attached.cell == name and attached.spec.name not in declared | used:
            await world.servers.detach(name, attached.spec.name)


def _plan_check(world: World, cell: Cell) -> None:
    """Have the isolation of the Cell's servers checked when it is due."""
    when = isolation.next_check(world, cell)
    if when is not None:
        wait = max(0.0, (when - world.now()).total_seconds())
        world.queue.add_at(Work(isolation.ISOLATION, cell.metadata.name), time.monotonic() + wait)


def _wake_unplaced(world: World, cell: Cell) -> None:
    """Tenants that found no place, or whose place is or was missing, look at once."""
    name, declared = cell.metadata.name, {server.name for server in cell.spec.servers}
    for tenant in world.declared.tenants.glances():
        claim = world.registry.by_uid(tenant.uid)
        waiting = claim is None and world.declared.is_named(tenant.name)
        stalled = c.STALLED in tenant.true
        displaced = claim is not None and claim.cell == name and (stalled or claim.server not in declared)
        if waiting or displaced:
            world.queue.add(Work("Tenant", tenant.name), f"Cell/{name} changed", background=True)


def _status(world: World, cell: Cell, failure: Failure | None, migrated: Fact) -> CellStatus:
    name, now = cell.metadata.name, world.now()
    claims = [claim for claim in world.registry.all() if claim.cell == name]
    servers = []
    for spec in cell.spec.servers:
        attached = world.servers.find(name, spec.name)
        traits = attached.server.traits if attached is not None else None
        servers.append(
            ServerStatus(
                name=spec.name,
                tenants=sum(1 for claim in claims if claim.server == spec.name),
                capacity=capacity(spec),
                reachable=attached is not None and attached.reachable,
                profile=traits.profile if traits is not None else None,
                version=traits.release if traits is not None else None,
                isolation=attached.proving.last if attached is not None else _told(cell, spec.name),
            )
        )
    done = Fact(type=c.READY, status=c.TRUE, reason="Connected", message=f"{len(servers)} servers answer")
    facts = (
        *outcome(failure, done),
        mass_change.condition(world, name),
        strays.condition(world, name),
        migrated,
        *isolation_report.cell_facts(world, cell),
        pooler.condition(world, cell),
    )
    return CellStatus(
        observed_generation=cell.metadata.generation,
        tenants=len(claims),
        servers=tuple(servers),
        mass_change=mass_change.shown(world, name),
        rebalance=rebalance.proposed(world, cell),
        conditions=apply_facts(cell.status.conditions, facts, cell.metadata.generation, now),
    )
