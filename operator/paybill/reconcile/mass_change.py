"""Notices that much of a cell is to be stopped or deleted at once, holds it, and lets it go by a person's word.

Noticing is fed by events and costs a look into a sorted list; it takes effect in memory at once. What follows (the
control database, the audit log, the Cell's status, an Event) is work like any other, under the key of the Cell.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from paybill.api import conditions as c
from paybill.api.cell import Cell, CellStatus, MassChange
from paybill.api.failures import Failure
from paybill.api.tenant import Tenant
from paybill.cluster.events import News
from paybill.control.claims import Claim
from paybill.control.halts import BY_PERSON, NOTHING_LEFT, new_id
from paybill.control.halts import MassChange as Trip
from paybill.desired import names
from paybill.lifecycle.mass_change import RULES, Cause, floor_of
from paybill.lifecycle.mode import RESUME
from paybill.reconcile import metrics, report
from paybill.reconcile.queue import Work
from paybill.reconcile.status import MASS_CHANGE, SUSPENDED, Fact, apply_facts
from paybill.reconcile.steps import Scope, Step, record
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

NAMED_AT_MOST = 5
SHOWN_WITHIN = 2.0
"""Seconds until the Cell's status counts who waits: once for many that come at once."""
LOOK_AGAIN = timedelta(minutes=1)
CLEARS_AFTER = timedelta(hours=1)
"""A trip ends by itself when it is as old as this and nothing waits any more: there is nothing left to protect."""


def contract_settled(world: World, tenant: Tenant, claim: Claim | None, *, stop: bool, since: datetime | None) -> None:
    """A contract was looked at: whether it calls for the tenant to be stopped, and since when if that was kept."""
    if claim is None:
        return
    brakes = world.brakes.cell(claim.cell)
    if not stop:
        brakes.not_due(claim.id)
        return
    done, now = c.is_true(tenant.status.conditions, SUSPENDED), world.now()
    if done and since is None and claim.id not in brakes.due:
        return
    # The first time that this process saw it stands in for one that was not kept.
    time = brakes.due[claim.id] = since or brakes.due.get(claim.id, now)
    if not done or now - time < RULES[Cause.SUSPENSIONS].within:
        _count(world, claim, Cause.SUSPENSIONS, time)


def deletion_seen(world: World, kind: str, uid: str, requested: datetime) -> None:
    """A Tenant, or the Subscription that one is bound to, was asked to be deleted."""
    registry = world.registry
    claim = registry.by_uid(uid) if kind == "Tenant" else registry.by_subscription(uid)
    if claim is not None:
        _count(world, claim, Cause.DELETIONS, requested)


def plan_gone(world: World, name: str) -> None:
    """A Plan vanished: its tenants go on by what was kept of it, but what took it may take more."""
    for claim in world.registry.all():
        if claim.plan_name == name:
            world.brakes.plans_gone.add(name)
            _count(world, claim, Cause.PLANS, world.now())


def plan_back(world: World, name: str) -> None:
    """A Plan is there; it may have been gone."""
    if name not in world.brakes.plans_gone:
        return
    world.brakes.plans_gone.discard(name)
    for claim in world.registry.all():
        if claim.plan_name == name:
            world.brakes.cell(claim.cell).tallies[Cause.PLANS].drop(claim.id)


def prime(world: World) -> None:
    """What happened before this process began and shows on no object: deletions in the registry, trips that are on."""
    for name in world.brakes.trips():
        world.queue.add(Work(MASS_CHANGE, name), "start", background=True)
    recently = world.now() - 2 * RULES[Cause.DELETIONS].within
    for claim in world.registry.all():
        requested = claim.delete_requested_time
        if claim.state == "deleted" and requested is not None and requested > recently:
            _count(world, claim, Cause.DELETIONS, requested)


def _count(world: World, claim: Claim, cause: Cause, time: datetime) -> None:
    brakes = world.brakes.cell(claim.cell)
    if cause is not Cause.PLANS:
        brakes.notice(claim.id)
    counted = brakes.tallies[cause].add(claim.id, time)
    if brakes.trip is not None or not counted:
        return
    cell, tenants = world.declared.cells.get(claim.cell), world.registry.count(claim.cell)
    allowed = RULES[cause].allowed(floor_of(cell.spec.limits if cell is not None else None), tenants)
    if counted <= allowed:
        return
    brakes.trip = Trip(
        id=new_id(), cell=claim.cell, cause=cause, counted=counted, allowed=allowed, tenants=tenants,
        tripped_time=world.now(),
    )  # fmt: skip
    logger.warning("Cell %s: %d of %d tenants %s: held", claim.cell, counted, tenants, RULES[cause].words)
    world.queue.add(Work(MASS_CHANGE, claim.cell), f"{counted} tenants {RULES[cause].words}")


def ended(world: World, work: Work, failure: Failure | None) -> None:
    """A reconcile ended, perhaps held back: soon the Cell says who waits."""
    cell = world.brakes.ended(work, failure)
    if world.brakes.trip_of(cell) is not None:
        world.queue.add_within(Work(MASS_CHANGE, cell or ""), SHOWN_WITHIN)


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001
    """Keep a trip, tell of it, and end it when a person named it or nothing waits any more."""
    brakes, cell = world.brakes.cell(name), world.declared.cells.get(name)
    trip = brakes.trip
    metrics.MASS_CHANGE.labels(name).set(0 if trip is None else 1)
    if trip is None:
        return None
    if not trip.saved:
        brakes.trip = trip = await _keep(world, trip, cell)
    ended = _ended_by(world, trip, cell)
    if ended is not None:
        await _end(world, trip, ended)
        metrics.MASS_CHANGE.labels(name).set(0)
    if (latest := world.declared.cells.get(name)) is not None:
        await report.write_status(world, latest, _told(world, latest))
    return None if ended is not None else world.now() + LOOK_AGAIN


async def _keep(world: World, trip: Trip, cell: Cell | None) -> Trip:
    inputs = {"cause": str(trip.cause), "counted": trip.counted, "allowed": trip.allowed, "tenants": trip.tenants}
    step = Step(
        action="massChange.hold",
        target=f"MassChange/{trip.id}",
        act=lambda: world.brakes.store.keep(trip, epoch=world.epoch),
        inputs=inputs,
    )
    await record(world, Scope(cause=f"{trip.counted} tenants {RULES[trip.cause].words}", cell=trip.cell), step)
    if cell is not None:
        world.events.post(News(about=cell, reason=MASS_CHANGE, message=_words(world, trip), warning=True))
    return trip.as_saved()


def _ended_by(world: World, trip: Trip, cell: Cell | None) -> str | None:
    """Only the id of this very trip allows it: what stands in Git from the last one does not."""
    if cell is not None and cell.metadata.annotations.get(names.ALLOW_MASS_CHANGE_ANNOTATION) == trip.id:
        return BY_PERSON
    old = world.now() - trip.tripped_time >= CLEARS_AFTER
    return NOTHING_LEFT if old and not world.brakes.waiting(trip.cell) else None


async def _end(world: World, trip: Trip, by: str) -> None:
    """What fell due until now goes on and is not counted again; what comes later is."""
    brakes, now = world.brakes.cell(trip.cell), world.now()
    until = max([now, *(tally.newest for tally in brakes.tallies.values() if tally.newest is not None)])
    step = Step(
        action="massChange.allow" if by == BY_PERSON else "massChange.clear",
        target=f"MassChange/{trip.id}",
        act=lambda: world.brakes.store.end(trip, by, now, until, epoch=world.epoch),
    )
    said = f"Cell/{trip.cell} names it" if by == BY_PERSON else "nothing waits any more"
    await record(world, Scope(cause=said, cell=trip.cell), step)
    world.brakes.look_at(trip.cell, until)
    brakes.trip = None
    for work in world.brakes.waiting(trip.cell):
        world.queue.add(work, f"mass change {trip.id} is over: {said}", background=True)


def _told(world: World, cell: Cell) -> CellStatus:
    """The Cell's status as it is, with what is held now."""
    name, generation = cell.metadata.name, cell.metadata.generation
    conditions = apply_facts(cell.status.conditions, [condition(world, name)], generation, world.now())
    return cell.status.model_copy(update={"mass_change": shown(world, name), "conditions": conditions})


def condition(world: World, cell: str) -> Fact:
    """The Cell's condition MassChange: True while something is held, absent otherwise."""
    trip = world.brakes.trip_of(cell)
    if trip is None:
        return Fact(type=MASS_CHANGE, status=None)
    return Fact(type=MASS_CHANGE, status=c.TRUE, reason="TooMuchAtOnce", message=_words(world, trip))


def shown(world: World, cell: str) -> MassChange | None:
    """The part of the Cell's status that says what is held."""
    trip = world.brakes.trip_of(cell)
    if trip is None:
        return None
    waiting = _names(world, cell)
    return MassChange(
        id=trip.id,
        cause=trip.cause.value,
        since_time=trip.tripped_time,
        counted=trip.counted,
        tenants=trip.tenants,
        waiting=len(waiting),
        first=tuple(waiting[:NAMED_AT_MOST]),
    )


def _names(world: World, cell: str) -> list[str]:
    """The tenants that wait, by name; of those whose Tenant is gone the name that it had."""
    found = set()
    for work in world.brakes.waiting(cell):
        claim = world.registry.by_id(work.name) if work.kind == "Drop" else None
        found.add(claim.tenant_name if claim is not None else work.name)
    return sorted(found)


def _words(world: World, trip: Trip) -> str:
    waiting = _names(world, trip.cell)
    first = ", ".join(waiting[:NAMED_AT_MOST])
    more = f" and {len(waiting) - NAMED_AT_MOST} more" if len(waiting) > NAMED_AT_MOST else ""
    wait = f"; {len(waiting)} wait: {first}{more}" if waiting else ""
    return (
        f"{trip.counted} of {trip.tenants} tenants {RULES[trip.cause].words}, more than {trip.allowed}: nothing in "
        f"this Cell is suspended or deleted{wait}. `{RESUME} --cell {trip.cell}` shows what it would do and allows it"
    )
