"""What of a cell's hourly budgets is spent: counted from the audit log, so that a restart forgets nothing.

Ask while holding ``world.spending`` and take the step before letting go, or two workers spend the same room.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from paybill.api.cell import CellLimits
from paybill.reconcile.world import World

LOOK_AGAIN = 60.0
"""Seconds until a step that found its budget spent asks again."""


async def spent(
    world: World, cell_name: str, action: str, per_hour: Callable[[CellLimits | None, int], int], what: str
) -> str | None:
    """Why ``action`` must wait in this cell, or None while the hour has room; ``what`` names such steps."""
    cell = world.declared.cells.get(cell_name)
    tenants = sum(1 for claim in world.registry.all() if claim.cell == cell_name)
    allowed = per_hour(cell.spec.limits if cell else None, tenants)
    done = await world.audit.count(action, cell_name, world.now() - timedelta(hours=1))
    if done < allowed:
        return None
    return f"{done} of {allowed} {what} of Cell {cell_name} in the last hour are spent; this one waits"
