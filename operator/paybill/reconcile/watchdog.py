"""Keeps tenants' sessions on shared servers within their limits: each server is asked every few seconds, by one query.

It is work under a key of its own: a Cell that is busy with its tenants must not make its watchdog late. What is to be
ended is a step like any other, audited before it is done. It destroys nothing that anybody was promised (what was
committed stays, and the app may connect again), so it is not held back by a halt of what destroys, which may last for
days while one tenant keeps the others waiting; while nothing at all may be done it only tells.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from itertools import groupby

from paybill.agents.names import login
from paybill.api import duration
from paybill.api.cell import Cell
from paybill.api.failures import Failure
from paybill.control.claims import Claim
from paybill.desired.database_tenant import TenantDatabase
from paybill.isolation.watchdog import Bounds
from paybill.lifecycle.watchdog import TRANSACTION, Breach, Limits
from paybill.reconcile import metrics, watchdog_report
from paybill.reconcile.queue import Work
from paybill.reconcile.servers import FENCED, Attached
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

WATCHDOG = "Watchdog"
"""The kind of work."""
IDLE = (TenantDatabase.idle_in_transaction_ms or 0) / 1000
"""Seconds that a session may do nothing in a transaction: what its login's setting says, unless it overrides that."""


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001
    """Ask every shared server of the Cell; returns when to ask again."""
    watchdog_report.settle(world, name)
    cell = world.declared.cells.get(name)
    if cell is None or cell.metadata.deletion_timestamp is not None or cell.spec.watchdog.mode == "Off":
        return None
    named = {server.name for server in cell.spec.servers}
    here = [one for one in world.servers if one.cell == name and one.spec.name in named and one.reachable]
    await asyncio.gather(*(_watch(world, cell, one) for one in here))
    return world.now() + duration.parse(cell.spec.watchdog.every)


def plan(world: World, cell: Cell) -> None:
    """Have the Cell's servers asked, if they are to be and nobody does so yet."""
    declared = cell.spec.watchdog
    if declared.mode != "Off":
        world.queue.add_within(Work(WATCHDOG, cell.metadata.name), duration.parse(declared.every).total_seconds())


async def _watch(world: World, cell: Cell, attached: Attached) -> None:
    declared, watchdog = cell.spec.watchdog, attached.watchdog
    bounds = Bounds(lock_wait=_seconds(declared.lock_wait), grace=_seconds(declared.grace))
    acts = declared.mode == "Enforce" and not world.brakes.halt.observing
    before = watchdog.refused
    try:
        found = await watchdog.look(lambda tenant: _limits(world, attached, tenant), bounds)
    except Failure as failure:
        _waits(attached, failure)
        return
    for tenant, breaches in groupby(sorted(found, key=_tenant), key=_tenant):
        those = list(breaches)
        try:
            done = await _end(world, attached, tenant, those, bounds) if acts else those
        except Failure as failure:
            _waits(attached, failure)
        else:
            watchdog_report.tell(world, tenant, done, acts=acts)
    if watchdog.refused != before:
        world.queue.add(Work("Cell", attached.cell), "what the watchdog may do is another", background=True)


def _waits(attached: Attached, failure: Failure) -> None:
    """Say why nothing was done; a server that is away is told of by its Cell, and would be here every few seconds."""
    if failure.reason in FENCED:
        raise failure
    logger.info("the watchdog of server %s waits: %s", attached.server.name, failure)


async def _end(world: World, attached: Attached, tenant: str, found: list[Breach], bounds: Bounds) -> list[Breach]:
    """Cancel or terminate, each as a step; returns what was still to be ended by then."""
    limits = _limits(world, attached, tenant)
    if limits is None:
        return []
    steps = [_step(attached, one, limits, bounds) for one in found]
    cause = f"watchdog of server {attached.spec.name}: {', '.join(sorted({one.rule for one in found}))}"
    ended = await take(world, Scope(cause=cause, tenant_id=tenant, cell=attached.cell), steps)
    done = [one for one, was in zip(found, ended, strict=True) if was]
    for one in done:
        metrics.WATCHDOG.labels(attached.cell, attached.spec.name, one.rule, one.deed).inc()
    return done


def _step(attached: Attached, found: Breach, limits: Limits, bounds: Bounds) -> Step:
    async def act() -> bool:
        return await attached.watchdog.end(found, limits, bounds)

    return Step(
        action=f"session.{found.deed.lower()}",
        target=f"Login/{found.session.login}",
        act=act,
        inputs={"server": attached.server.name, "said": found.words},
    )


def _limits(world: World, attached: Attached, tenant: str) -> Limits | None:
    """What the Plan revision that a tenant is on says; None for who is not placed on this server."""
    claim = world.registry.by_id(tenant)
    if claim is None or (claim.cell, claim.server, claim.state) != (attached.cell, attached.spec.name, "claimed"):
        return None
    plan = world.revisions.get(claim.plan_name, claim.plan_revision)
    said = plan.limits.database if plan is not None else None
    return Limits(
        statement=_seconds(said.statement_timeout) if said is not None and said.statement_timeout else None,
        transaction=_seconds(said.transaction_timeout)
        if said is not None and said.transaction_timeout
        else TRANSACTION,
        idle_in_transaction=IDLE,
        shares_tables=claim.level == "Rows",
        agents=_agents(world, claim),
    )


def _agents(world: World, claim: Claim) -> dict[str, float]:
    """How long each of a tenant's agents may be at one thing, by its login."""
    known = (world.declared.policies.get(one.key) for one in world.declared.policies_of(claim.tenant_name))
    specs = [policy.spec for policy in known if policy is not None]
    return {login(claim.id, one.agent): _seconds(one.limits.statement_timeout) for one in specs}


def _tenant(found: Breach) -> str:
    return found.session.tenant


def _seconds(span: str) -> float:
    return duration.parse(span) / timedelta(seconds=1)
