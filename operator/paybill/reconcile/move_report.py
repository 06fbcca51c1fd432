"""What a Tenant is told of its move: from where to where, the step, how much is there, and what it waits for."""

from __future__ import annotations

from datetime import datetime, timedelta

from paybill.api import conditions as c
from paybill.api.failures import Failure
from paybill.api.tenant import Move, ResolvedIsolation, TenantPlan
from paybill.control.claims import Claim
from paybill.control.moves import MoveRow
from paybill.moves.replication import Progress
from paybill.reconcile.move import switched
from paybill.reconcile.status import Fact
from paybill.reconcile.world import World

MOVING = "Moving"


def shown(world: World, claim: Claim | None) -> Move | None:
    """The part of the status that says how far a move is; None without one."""
    row = world.moves.of(claim.id) if claim is not None else None
    if row is None or claim is None:
        return None
    seen, done = world.copies.get(row.tenant_id), switched(claim, row)
    copying = seen is not None and row.step == "Copy"
    return Move(
        source=ResolvedIsolation(compute=claim.compute, database=row.source_level),
        target=ResolvedIsolation(compute=claim.compute, database=row.target_level),
        server=row.target_server,
        source_server=row.source_server,
        source_plan=_plan(row),
        step=row.step,
        mode=row.mode,
        because=row.because or None,
        attempt=row.attempt,
        tables=row.tables if row.mode is not None else None,
        tables_done=seen.done if copying and seen is not None else None,
        rows=row.rows if done else seen.rows if copying and seen is not None else None,
        rows_expected=seen.expected if copying and seen is not None else None,
        copied_bytes=seen.size if copying and seen is not None else None,
        lag_bytes=seen.behind if copying and seen is not None else None,
        estimated_time=_estimate(row, seen, world.now()) if copying and seen is not None else None,
        start_time=row.begun_time,
        keep_until_time=row.keep_until,
    )


def facts(world: World, claim: Claim | None, trouble: Failure | None) -> tuple[Fact, ...]:
    """The condition Moving. ``trouble``: why the move does not go on."""
    row = world.moves.of(claim.id) if claim is not None else None
    if trouble is not None:
        return (Fact(type=MOVING, status=c.TRUE, reason=trouble.reason, message=trouble.message),)
    if row is None or claim is None:
        return (Fact(type=MOVING, status=None),)
    way = f"from {row.source_level} on {row.source_server} to {row.target_level} on {row.target_server}"
    if switched(claim, row):
        until = f" until {row.keep_until:%Y-%m-%d %H:%M} UTC" if row.keep_until is not None else ""
        kept = f"{way}: {row.rows} rows were compared and switched; what was left is kept{until}"
        return (Fact(type=MOVING, status=c.FALSE, reason="Moved", message=kept),)
    if row.step == "Copy":
        reason = "Copying"
    elif row.step == "Cutover":
        reason = "CuttingOver"
    else:
        reason = "Preparing"
    message = f"{way}{_how(row)}{_trouble(row, world.copies.get(row.tenant_id))}"
    return (Fact(type=MOVING, status=c.TRUE, reason=reason, message=message),)


def _trouble(row: MoveRow, seen: Progress | None) -> str:
    """What the target's server says in its log alone: a disk that is full, a row that it does not take."""
    if row.step != "Copy" or seen is None or not seen.errors:
        return ""
    return f"; the copy has failed so far, and begun again, as the log of server {row.target_server} says"


def _how(row: MoveRow) -> str:
    if row.mode is None:
        return ""
    return f", offline, because of {row.because}" if row.mode == "Offline" else ", while it is used"


def _plan(row: MoveRow) -> TenantPlan | None:
    if row.source_plan is None or row.source_revision is None:
        return None
    return TenantPlan(name=row.source_plan, revision=row.source_revision)


def _estimate(row: MoveRow, seen: Progress, now: datetime) -> datetime | None:
    """When all rows will be there at the pace since the copy began; of tables, where nobody knows how many rows."""
    taken = (now - row.step_time).total_seconds()
    done, all_ = (seen.rows, seen.expected) if seen.expected else (seen.done, seen.tables)
    if done <= 0 or taken <= 0 or all_ <= done:
        return None
    return now + timedelta(seconds=round((all_ - done) * taken / done))
