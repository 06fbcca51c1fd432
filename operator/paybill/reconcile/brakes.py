"""What may hold steps back, as it stands now: the installation's mode, each cell's breaker and its hourly budgets.

In memory, because every step asks; each part says where it comes back from after a restart. Events feed it (a deletion
that was asked for, a contract that fell due), so that no question walks over all tenants.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime

from paybill.api.failures import Failure, Retry
from paybill.control.halts import HaltStore, MassChange
from paybill.lifecycle.budget import Ledger
from paybill.lifecycle.mass_change import RULES, Cause, Tally
from paybill.lifecycle.mode import UNREAD, Halt
from paybill.reconcile.queue import Work

LONGEST_SETTLING = 10
"""How many times the settling time one waits at most while others keep falling due."""
LOOK_AGAIN = 600.0
"""Seconds until a held step asks by itself; whoever ends a halt wakes it at once."""


class Held(Retry):
    """A step that a halt or a breaker holds back, in which cell (empty: in none)."""

    def __init__(self, reason: str, message: str, *, cell: str | None) -> None:
        super().__init__(reason, message, after=LOOK_AGAIN)
        self.cell = cell or ""


def _tallies() -> dict[Cause, Tally]:
    return {cause: Tally(rule.within) for cause, rule in RULES.items()}


@dataclass(kw_only=True)
class CellBrakes:
    """One cell: who fell due when, what is held because of that, and since when (monotonic) each is known."""

    tallies: dict[Cause, Tally] = field(default_factory=_tallies)
    due: dict[str, datetime] = field(default_factory=dict)
    """Per tenant id, since when it is to be stopped, whether it is by now or not."""
    noticed: dict[str, float] = field(default_factory=dict)
    newest: float = 0.0
    """When the last one was noticed."""
    trip: MassChange | None = None
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    everywhere: dict[str, Ledger] = field(default_factory=dict)
    """Those of all cells together, which all of them share."""

    def notice(self, tenant_id: str) -> None:
        """From now on something that destroys is due for this tenant."""
        if tenant_id not in self.noticed:
            self.newest = self.noticed[tenant_id] = time.monotonic()

    def settling(self, tenant_id: str, settle: float) -> float:
        """Seconds that a tenant still waits: ``settle`` after the cell's newest, who keep coming, but not for ever."""
        since = self.noticed.get(tenant_id)
        if since is None:
            return 0.0
        return min(self.newest + settle, since + LONGEST_SETTLING * settle) - time.monotonic()

    def not_due(self, tenant_id: str) -> None:
        """This tenant is not to be stopped (any more)."""
        if self.due.pop(tenant_id, None) is None:
            return
        self.tallies[Cause.SUSPENSIONS].drop(tenant_id)
        self.gone(tenant_id)

    def gone(self, tenant_id: str) -> None:
        """Nothing waits for this tenant any more; what it counted for stays counted."""
        self.due.pop(tenant_id, None)
        self.noticed.pop(tenant_id, None)
        for ledger in (*self.ledgers.values(), *self.everywhere.values()):
            ledger.leave(tenant_id)


@dataclass(kw_only=True)
class Brakes:
    """All of it. ``held`` are the keys whose last reconcile ended at a brake.

    ``plans_gone`` are Plans that vanished under their tenants.
    """

    store: HaltStore
    halt: Halt = UNREAD
    turned: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when another mode was taken up, which is not remembered yet."""
    held: dict[Work, Held] = field(default_factory=dict)
    plans_gone: set[str] = field(default_factory=set)
    everywhere: dict[str, Ledger] = field(default_factory=dict)
    """The budgets of all cells together, where there are any."""
    _cells: dict[str, CellBrakes] = field(default_factory=dict)

    async def load(self) -> None:
        """What a restart must not forget of the breakers (the mode is read by modes.begin)."""
        opened, watermarks = await self.store.load()
        for cell, until in watermarks.items():
            self.look_at(cell, until)
        for trip in opened:
            self.cell(trip.cell).trip = trip

    def cell(self, name: str) -> CellBrakes:
        """One cell's part."""
        return self._cells.setdefault(name, CellBrakes(everywhere=self.everywhere))

    def trip_of(self, cell: str | None) -> MassChange | None:
        """What the cell's breaker holds, if anything."""
        found = self._cells.get(cell or "")
        return found.trip if found is not None else None

    def holds_destruction(self, cell: str | None) -> bool:
        """Whether nothing may be destroyed now in this cell."""
        return not self.halt.permits(destructive=True) or self.trip_of(cell) is not None

    def trips(self) -> dict[str, MassChange]:
        """All cells whose breaker holds."""
        return {name: one.trip for name, one in self._cells.items() if one.trip is not None}

    def look_at(self, cell: str, until: datetime) -> None:
        """What fell due in the cell until then was looked at."""
        for tally in self.cell(cell).tallies.values():
            tally.look_at(until)

    def ended(self, work: Work, failure: Failure | None) -> str | None:
        """A reconcile of ``work`` ended, perhaps at a brake; the cell whose waiting tenants are others by that."""
        before = self.held.pop(work, None)
        if isinstance(failure, Held):
            self.held[work] = failure
        elif failure is not None and before is not None:
            self.held[work] = before
        after = self.held.get(work)
        turned = after or before
        return turned.cell if turned is not None and (before is None) is not (after is None) else None

    def waiting(self, cell: str) -> dict[Work, Held]:
        """What of a cell ended at a brake."""
        return {work: held for work, held in self.held.items() if held.cell == cell}
