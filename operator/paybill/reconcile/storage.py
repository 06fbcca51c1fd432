"""Holds a tenant to the storage of its Plan: reads the last measure, has it decided, and says so.

The last measure of every tenant is in memory, filled at a start from what the control database kept: a full tenant must
not be let write for the hour until it is measured again.
"""

from __future__ import annotations

from paybill.api import conditions as c
from paybill.api.conditions import find_condition
from paybill.api.plan import PlanSpec
from paybill.cluster.events import News
from paybill.control.claims import Claim
from paybill.desired.names import STORAGE_GRACE_ANNOTATION
from paybill.lifecycle.storage import Verdict, judge, narrowed
from paybill.reconcile import move_job
from paybill.reconcile.queue import Work
from paybill.reconcile.status import STORAGE_WITHIN_LIMIT, Fact
from paybill.reconcile.tenant_pass import Pass
from paybill.reconcile.world import World


def bound(world: World, current: Pass, plan: PlanSpec) -> None:
    """Narrow the tenant's course where it is full."""
    if current.claim is None:
        return
    annotations, moving = current.tenant.metadata.annotations, move_job.wanted(current) is not None
    current.storage = _verdict(world, current.claim, plan, annotations, moving=moving)
    current.course = narrowed(current.course, current.storage)
    current.storage_judged = True


def fact(world: World, current: Pass) -> tuple[Fact, ...]:
    """The condition StorageWithinLimit, as far as this pass came to judge it; told once when it turns."""
    if not current.storage_judged:
        return ()
    told = _fact(current.storage)
    before = find_condition(current.tenant.status.conditions, STORAGE_WITHIN_LIMIT)
    turned = before is None or before.reason != told.reason
    if turned and current.storage is not None and current.storage.state in ("Near", "Full", "Over"):
        world.events.post(News(about=current.tenant, reason=told.reason, message=told.message, warning=True))
    return (told,)


def wake(world: World, claim: Claim, used: int | None) -> None:
    """Keep a new measure of a tenant, and have the tenant looked at when it means something else than the last one."""
    before = world.used.get(claim.id)
    if used is None or used == before:
        return
    plan = world.revisions.get(claim.plan_name, claim.plan_revision)
    limit = plan.limits.database.storage if plan is not None else None
    then, now = (judge(limit, one, claim.level, None, world.now()) for one in (before, used))
    world.used[claim.id] = used
    if now is not None and (then is None or then.state != now.state):
        cause = f"database keeps {'as much as' if now.state in ('Full', 'Over') else 'another part of'} its Plan gives"
        world.queue.add(Work("Tenant", claim.tenant_name), cause, background=True)


def close(world: World, claim: Claim) -> bool:
    """Whether a tenant is so near its limit that an hour is too long to wait for the next measure."""
    plan = world.revisions.get(claim.plan_name, claim.plan_revision)
    found = _verdict(world, claim, plan, {}) if plan is not None else None
    return found is not None and found.close


def _verdict(
    world: World, claim: Claim, plan: PlanSpec, annotations: dict[str, str], *, moving: bool = False
) -> Verdict | None:
    limit, grace = plan.limits.database.storage, annotations.get(STORAGE_GRACE_ANNOTATION)
    return judge(limit, world.used.get(claim.id), claim.level, grace, world.now(), moving=moving)


def _fact(verdict: Verdict | None) -> Fact:
    if verdict is None:
        return Fact(type=STORAGE_WITHIN_LIMIT, status=None)
    said = verdict.words
    match verdict.state:
        case "Unmeasured":
            return Fact(type=STORAGE_WITHIN_LIMIT, status=c.UNKNOWN, reason="StorageNotMeasured", message=said)
        case "Within":
            return Fact(type=STORAGE_WITHIN_LIMIT, status=c.TRUE, reason="StorageFree", message=said)
        case "Near":
            return Fact(type=STORAGE_WITHIN_LIMIT, status=c.TRUE, reason="StorageNearLimit", message=said)
        case "Grace":
            return Fact(type=STORAGE_WITHIN_LIMIT, status=c.FALSE, reason="StorageGrace", message=said)
        case "Over":
            return Fact(type=STORAGE_WITHIN_LIMIT, status=c.FALSE, reason="StorageOverEstimate", message=said)
        case "Full":
            return Fact(type=STORAGE_WITHIN_LIMIT, status=c.FALSE, reason="StorageFull", message=said)
