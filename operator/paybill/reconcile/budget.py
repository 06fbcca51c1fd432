"""What of a cell's hourly budgets is spent, and whose turn it is: read from the audit log once, then kept in memory.

A restart forgets nothing, because what was begun stands in the log. Only one process leads, so nobody else spends.
"""

from __future__ import annotations

import time
from datetime import datetime

from paybill.api.failures import Retry
from paybill.lifecycle.budget import DELETIONS, HOUR, SUSPENSIONS, Budget, Ledger, Turn
from paybill.reconcile.queue import Work
from paybill.reconcile.world import World

SOONEST, LATEST = 1.0, 600.0
"""Seconds until a step whose turn has not come asks again; when its Cell changes it asks at once."""


async def refuse_spent(world: World, cell_name: str, budget: Budget, who: str, due: datetime | None) -> None:
    """Raise Retry when it is not yet the turn of ``who``, due since ``due``; asked while holding ``world.spending``.

    First the cell's budget is asked, then the one of all cells, where there is one: both must have room.
    """
    now, clock, asked = world.now(), time.monotonic(), list[Ledger]()
    for whose, allowed, ledger in await _lines(world, cell_name, budget):
        asked.append(ledger)
        turn = ledger.ask(who, due or now, allowed, now, clock)
        if turn.place == 0:
            continue
        after = LATEST if turn.time is None else min(LATEST, max(SOONEST, (turn.time - now).total_seconds()))
        for one in asked:
            one.returns(who, clock + after)
        raise Retry(budget.reason, _words(whose, budget, turn), after=after)


async def spend(world: World, cell_name: str, budget: Budget, who: str) -> None:
    """The intent is logged."""
    for _, _, ledger in await _lines(world, cell_name, budget):
        ledger.spend(who, world.now())


async def _lines(world: World, cell_name: str, budget: Budget) -> list[tuple[str, int, Ledger]]:
    """Whose budgets are asked, how much each allows in an hour, and what is spent of it."""
    allowed, ledgers = _allowed(world, cell_name, budget), world.brakes.cell(cell_name).ledgers
    lines = [(f"of Cell {cell_name}", allowed, await _ledger(world, ledgers, cell_name, budget))]
    everywhere = getattr(world.settings, f"{budget.what}_per_hour")
    if everywhere is not None:
        variable = f"PAYBILL_{budget.what.upper()}_PER_HOUR"
        ledger = await _ledger(world, world.brakes.everywhere, None, budget)
        lines.append((f"of all Cells ({variable})", everywhere, ledger))
    return lines


def wake_line(world: World, cell_name: str) -> None:
    """The Cell changed: if its limits were raised, whoever waits for a budget asks at once."""
    for budget in (SUSPENSIONS, DELETIONS):
        ledger = world.brakes.cell(cell_name).ledgers.get(budget.action)
        if ledger is None or _allowed(world, cell_name, budget) <= ledger.allowed:
            continue
        for tenant_id in ledger.waiting:
            claim = world.registry.by_id(tenant_id)
            if claim is not None:
                work = Work("Drop", tenant_id) if claim.state == "deleted" else Work("Tenant", claim.tenant_name)
                world.queue.add(work, f"Cell/{cell_name} changed", background=True)


def _allowed(world: World, cell_name: str, budget: Budget) -> int:
    cell = world.declared.cells.get(cell_name)
    return budget.per_hour(cell.spec.limits if cell else None, world.registry.count(cell_name))


async def _ledger(world: World, ledgers: dict[str, Ledger], cell_name: str | None, budget: Budget) -> Ledger:
    if budget.action not in ledgers:
        begun = await world.audit.begun(budget.action, cell_name, world.now() - HOUR)
        ledgers.setdefault(budget.action, Ledger(begun))
    return ledgers[budget.action]


def _words(whose: str, budget: Budget, turn: Turn) -> str:
    spent = f"{turn.spent} of {turn.allowed} {budget.what} {whose} in the last hour are spent"
    place = f"number {turn.place} of {turn.waiting} in the line"
    if turn.time is None:
        return f"{spent}, and its limit lets none through; this one waits, {place}"
    return f"{spent}; this one waits, {place}, until about {turn.time:%Y-%m-%d %H:%M} UTC"
