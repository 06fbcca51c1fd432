"""What of a cell's hourly budgets is spent: counted from the audit log, so that a restart forgets nothing."""

from __future__ import annotations

from datetime import timedelta

from paybill.api.failures import Retry
from paybill.lifecycle.budget import Budget
from paybill.reconcile.world import World

LOOK_AGAIN = 60.0
"""Seconds until a step that found its budget spent asks again."""


async def refuse_spent(world: World, cell_name: str, budget: Budget) -> None:
    """Raise Retry when the last hour of this cell has no room for one more; asked while holding ``world.spending``."""
    cell = world.declared.cells.get(cell_name)
    tenants = sum(1 for claim in world.registry.all() if claim.cell == cell_name)
    allowed = budget.per_hour(cell.spec.limits if cell else None, tenants)
    done = await world.audit.count(budget.action, cell_name, world.now() - timedelta(hours=1))
    if done >= allowed:
        message = f"{done} of {allowed} {budget.what} of Cell {cell_name} in the last hour are spent; this one waits"
        raise Retry(budget.reason, message, after=LOOK_AGAIN)
