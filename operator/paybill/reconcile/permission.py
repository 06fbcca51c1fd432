"""Whether a step may be taken: asked for every step, before its intent is logged, in the order of who has the say.

The installation's mode first, then the cell's breaker, then the moment that a mass change needs to show. The hourly
budgets come last, under a lock of their own (reconcile/budget.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from paybill.api.failures import Retry
from paybill.lifecycle.mass_change import RULES
from paybill.lifecycle.mode import RESUME
from paybill.reconcile.brakes import Held
from paybill.reconcile.world import World


def refuse_halted(world: World, actions: Sequence[str], *, destructive: bool, cell: str | None = None) -> None:
    """Raise Held (``Halted``) when the installation's mode does not permit these steps."""
    halt = world.brakes.halt
    if halt.permits(destructive=destructive):
        return
    first, number = actions[0], len(actions)
    steps = f"step {first} waits" if number == 1 else f"{number} steps wait, the first is {first}"
    message = f"the installation is halted ({halt.words}); {steps}; `{RESUME}` ends it"
    raise Held("Halted", message, cell=cell)


def refuse_unless_acting(world: World, doing: str, *, cell: str | None = None) -> None:
    """Raise Held (``Halted``) while nothing at all may be done: for what is no step, such as claiming a place."""
    if world.brakes.halt.observing:
        refuse_halted(world, [doing], destructive=False, cell=cell)


def refuse_mass_change(world: World, cell: str | None, tenant_id: str | None) -> None:
    """Raise Held (``MassChangeHeld``) where the cell's breaker holds all that destroys, Retry before it had time to.

    A mass change comes in as one event after the other; so nothing is destroyed in the first moments after it was
    noticed that it is due.
    """
    trip = world.brakes.trip_of(cell)
    if trip is not None:
        raise Held(
            "MassChangeHeld",
            f"too many tenants of Cell {cell} {RULES[trip.cause].words} (mass change {trip.id}): nothing of it is "
            f"suspended or deleted until a person allows it: `{RESUME} --cell {cell}` shows what it would do, and asks",
            cell=cell,
        )
    left = world.brakes.cell(cell).settling(tenant_id or "", world.settings.settle_seconds) if cell else 0.0
    if left > 0:
        raise Retry("Settling", "it fell due a moment ago; it waits to see whether many do", after=left)
