"""The proof of a Cell's servers on schedule: which one is due, its check as a step like any other, and what came of it.

It is work of the background under a key of its own, so that a Cell is never late because one of its servers is being
attacked. What a check found is written by the Cell's own reconcile; a steady fleet is checked once a day and writes
once a day.
"""

from __future__ import annotations

from datetime import datetime

from paybill.api.cell import Cell, ServerHolds
from paybill.api.failures import Failure
from paybill.isolation.attacks import Level
from paybill.isolation.check import check
from paybill.isolation.results import Proof
from paybill.reconcile.queue import Work
from paybill.reconcile.servers import FENCED, Attached
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World

ISOLATION = "Isolation"
"""The kind of work."""
LEVELS: dict[ServerHolds, Level] = {"Rows": "Rows", "Schemas": "Schema", "Databases": "Database"}
"""What the tenants of a server have, by what it holds."""


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001
    """Check the server of the Cell that is due longest; returns when the next one is."""
    cell = world.declared.cells.get(name)
    if cell is None or cell.metadata.deletion_timestamp is not None:
        return None
    waiting = sorted(_due(world, cell), key=lambda one: one[0])
    if waiting and waiting[0][0] <= world.now():
        await _check(world, waiting[0][1], cause)
    return next_check(world, cell)


def next_check(world: World, cell: Cell) -> datetime | None:
    """When the next server of the Cell is due; None when none is."""
    return min((when for when, _ in _due(world, cell)), default=None)


def _due(world: World, cell: Cell) -> list[tuple[datetime, Attached]]:
    declared, settle = cell.spec.isolation, world.settings.isolation_settle_seconds
    found = []
    for spec in cell.spec.servers:
        attached = world.servers.find(cell.metadata.name, spec.name)
        if attached is None or not attached.reachable or not attached.made:
            continue
        server = attached.server
        when = attached.proving.due(server.name, server.traits, declared, settle)
        if when is not None:
            found.append((when, attached))
    return found


async def _check(world: World, attached: Attached, cause: str) -> None:
    level, server = LEVELS[attached.spec.holds], attached.server

    async def act() -> Proof:
        return await check(server, attached.pool, level, fence=lambda session: world.fence(server, session))

    step = Step(action="isolation.check", target=f"Server/{server.name}", act=act, inputs={"level": level})
    try:
        proof = (await take(world, Scope(cause=cause, cell=attached.cell), [step]))[0]
    except Failure as failure:
        if failure.reason in FENCED:
            raise
        attached.proving.fail(failure, world.now())
    else:
        attached.proving.take(proof, server.traits, world.now())
    what = f"isolation of server {attached.spec.name} was checked"
    world.queue.add(Work("Cell", attached.cell), what, background=True)
