"""One Tenant with its contract: read, decide, act, report.

The key of the work is the Tenant's name. Its Subscriptions are settled under the same key, because who is bound and
what a phase calls for is one decision; two workers can then never answer it differently.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from paybill.api.base import Resource
from paybill.api.conditions import STALLED, is_true
from paybill.api.failures import Blocked, Failure, Invalid, Retry
from paybill.api.plan import PlanSpec
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.control.claims import Claim, Placement
from paybill.desired import names
from paybill.desired.database import pool_database_name
from paybill.lifecycle import change as changes
from paybill.lifecycle import placement, schedule
from paybill.lifecycle.binding import Binding
from paybill.lifecycle.phases import OVER, Phase
from paybill.lifecycle.tenant import Course, changes_held, course
from paybill.lifecycle.terms import holds_of
from paybill.reconcile import contract, deletion, metrics, provision, report, site, status
from paybill.reconcile.contract import Standing
from paybill.reconcile.queue import Work
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World

SHOWN_AFTER = 3.0
"""Seconds that something outside must be missing before a status says so: a blip is not worth a write per tenant."""
COUNTED_WITHIN = 0.5
"""Seconds until a Plan counts its tenants anew: once for many that settle together, soon enough for the next wave."""

CELL_COUNTED_WITHIN = 5.0
"""Seconds until a Cell counts its tenants anew."""

AnyResource = TypeVar("AnyResource", Tenant, Subscription)


@dataclass(kw_only=True)
class Pass:
    """What one reconcile of one Tenant has found out so far."""

    tenant: Tenant
    cause: str
    claim: Claim | None
    standing: Standing
    course: Course
    change: changes.Change | None = None
    degraded: tuple[str, ...] = ()


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:
    """Bring one Tenant and its Subscriptions to what they should be; returns when to look again.

    Raises the failure that stopped it, after reporting it on the objects.
    """
    tenant = world.declared.tenants.get(name)
    claim = world.registry.by_uid(tenant.metadata.uid) if tenant is not None else None
    binding = contract.binding_of(world, name, tenant, claim)
    for candidate, reason in binding.refused:
        await _refuse(world, candidate.name, reason, name)
    if tenant is None:
        return _once_grown(world, name)
    if tenant.metadata.annotations.get(names.PAUSED_ANNOTATION) == "true":
        return None
    if tenant.metadata.deletion_timestamp is not None:
        return await deletion.reconcile(world, tenant, claim, cause)
    nothing = Standing(phase=None, because="")
    current = Pass(tenant=tenant, cause=cause, claim=claim, standing=nothing, course=course(None, "", exists=False))
    failure: Failure | None = None
    try:
        await _act(world, current, binding, deep=deep)
    except Failure as stopped:
        failure = stopped
    await _report(world, current, failure)
    if failure is not None:
        raise failure
    return _wake(world, current)


async def _act(world: World, current: Pass, binding: Binding, *, deep: bool) -> None:
    """Settle the contract, then bring the infrastructure to it."""
    tenant = current.tenant
    if binding.bound is not None:
        # Should the contract make no sense, its Subscription has to hear of it too.
        unsettled = world.declared.subscriptions[binding.bound.name]
        current.standing = Standing(phase=None, because="", subscription=unsettled)
    current.standing = standing = await contract.settle_contract(world, tenant, current.claim, binding)
    exists = current.claim is not None and current.claim.plan_name is not None
    current.course = course(standing.phase, standing.because, exists=exists, holds=holds_of(tenant))
    if standing.subscription is not None:
        await report.hold(world, standing.subscription)
        await _release_deleted(world, current)
    if not current.course.build:
        return
    await report.hold(world, tenant)
    wanted = await _wanted(world, current)
    claim = current.claim = await _claim(world, current, wanted)
    plan = await _plan(world, current, wanted)
    place = site.of(world, tenant, current.claim, current.cause)
    done = await provision.bring(world, place, plan, current.course, standing, deep=deep)
    current.degraded = done.degraded
    await _remember(world, current, claim, done)
    if current.change is not None and current.change.reason == "NotSupportedYet":
        raise Blocked(current.change.reason, current.change.message)
    if standing.trouble is not None:
        raise standing.trouble


async def _claim(world: World, current: Pass, wanted: changes.PlanPoint | None) -> Claim:
    """The registry's row, made before anything else exists; with the Subscription that is bound now."""
    tenant, standing = current.tenant, current.standing
    if tenant.spec.id is not None and (current.claim is None or current.claim.id != tenant.spec.id):
        raise Blocked(
            "AdoptionNotApproved",
            f"Tenant {tenant.metadata.name} asks for id {tenant.spec.id}: adopting one needs an Approval, which this "
            "version does not have; remove spec.id to get a new one",
        )
    claim = current.claim
    if claim is None:
        if wanted is None:
            raise Invalid("UnknownPlan", f"Tenant {tenant.metadata.name} has no Plan to be provisioned by")
        compute, level = wanted.isolation
        _refuse_unsupported(tenant, level)
        cell = tenant.spec.cell_ref.name if tenant.spec.cell_ref else None

        def place(counts: object) -> Placement:
            chosen = placement.choose(world.declared.cells, cell, level, counts)  # type: ignore[arg-type]
            pool = pool_database_name(chosen.cell, chosen.server)
            return Placement(chosen.cell, chosen.server, compute, level, pool)

        claim = await world.registry.claim(
            tenant.metadata.name,
            tenant.metadata.uid,
            place,
            world.epoch,
            plan_name=wanted.name,
            plan_revision=wanted.revision,
            **_bound(standing),
        )
        world.ready[claim.id] = False
        world.queue.add_within(Work("Cell", claim.cell), CELL_COUNTED_WITHIN)
    return claim


def _refuse_unsupported(tenant: Tenant, level: str) -> None:
    if level not in placement.HOLDS:
        raise Blocked(
            "NotSupportedYet",
            f"Tenant {tenant.metadata.name}: database level {level} is not supported by this version: use Rows or "
            "Schema",
        )


def _bound(standing: Standing) -> dict[str, str]:
    """The registry's columns that say which Subscription is bound."""
    if standing.subscription is None:
        return {}
    metadata = standing.subscription.metadata
    return {"subscription_name": metadata.name, "subscription_uid": metadata.uid}


async def _plan(world: World, current: Pass, wanted: changes.PlanPoint | None) -> PlanSpec:
    """The content of the revision the Tenant is to be on now; written to the registry before it is acted on."""
    standing, claim = current.standing, current.claim
    assert claim is not None  # noqa: S101 - _claim came before
    bound = _bound(standing)
    if standing.subscription is None or wanted is None:
        current.claim = await world.registry.update(claim.id, epoch=world.epoch, **bound)
        if standing.plan is None:
            gone = f"Plan {claim.plan_name} {claim.plan_revision} is not kept: nothing is changed"
            raise Blocked("PlanMissing", gone)
        return standing.plan
    has = _point(world, claim.plan_name, claim.plan_revision)
    revision, members = world.admitted.get(wanted.name, ("", frozenset()))
    phase = standing.phase
    held = changes_held(phase, standing.holds) if phase is not None else None
    # A pin is one person's decision for one tenant: it waits for no wave.
    pinned = standing.subscription.spec.plan_ref.revision is not None
    admitted = pinned or (revision == wanted.revision and claim.id in members)
    current.change = chosen = changes.choose(has, wanted, held=held, admitted=admitted)
    if (claim.plan_name, claim.plan_revision) != (chosen.point.name, chosen.point.revision):
        world.ready[claim.id] = False
        # The contract was settled by the revision before: look once more, by the new one; and both Plans count anew.
        world.queue.add(Work("Tenant", current.tenant.metadata.name), f"Plan/{chosen.point.name} is its Plan now")
        for counted in {claim.plan_name, chosen.point.name} - {None}:
            world.queue.add_within(Work("Plan", str(counted)), COUNTED_WITHIN)
    current.claim = await world.registry.update(
        claim.id, epoch=world.epoch, plan_name=chosen.point.name, plan_revision=chosen.point.revision, **bound
    )
    content = world.revisions.get(chosen.point.name, chosen.point.revision)
    assert content is not None  # noqa: S101 - both points were read from what is kept
    return content


async def _wanted(world: World, current: Pass) -> changes.PlanPoint | None:
    """The point the Subscription names, its content kept before anybody is put on it; None where it is held."""
    subscription = current.standing.subscription
    if subscription is None or current.standing.plan_missing:
        return None
    reference = subscription.spec.plan_ref
    plan = contract.named_plan(world, subscription)
    if (missing := world.revisions.desired(plan)) is not None:
        step = Step(
            action="plan.keep",
            target=f"Plan/{reference.name}",
            act=lambda: world.revisions.keep(missing),
            inputs=missing["data"],
        )
        await take(world.audit, Scope(cause=current.cause), [step])
    revision = reference.revision or plan.revision()
    point = _point(world, reference.name, revision)
    if point is None:
        known = ", ".join(world.revisions.of_plan(reference.name)) or "none"
        raise Invalid(
            "UnknownRevision",
            f"Subscription {subscription.metadata.name}: revision {revision} of Plan {reference.name} is not kept "
            f"(kept: {known}): remove planRef.revision or name one of these",
        )
    return point


def _point(world: World, plan: str | None, revision: str | None) -> changes.PlanPoint | None:
    content = world.revisions.get(plan, revision)
    if content is None or content.isolation is None or plan is None or revision is None:
        return None
    return changes.PlanPoint(name=plan, revision=revision, isolation=content.isolation.resolved())


async def _remember(world: World, current: Pass, claim: Claim, done: provision.Provisioned) -> None:
    """What this pass established for good: the Secret's version, the first moment of Ready, the trial's start."""
    now = world.now()
    first = claim.ready_time is None
    noted = dict(done.binding or {}) | ({"ready_time": now} if first else {})
    if noted:
        current.claim = await world.registry.update(claim.id, epoch=world.epoch, **noted)
    if first and current.tenant.metadata.creation_timestamp is not None:
        metrics.TIME_TO_READY.observe((now - current.tenant.metadata.creation_timestamp).total_seconds())
    ready = current.claim.ready_time if current.claim is not None else None
    if ready is not None:
        current.standing = await contract.start_trial(world, current.tenant, current.standing, ready)


async def _report(world: World, current: Pass, failure: Failure | None) -> None:
    """Write both statuses; of a wait only what has lasted, or will."""
    tenant, now = current.tenant, world.now()
    if isinstance(failure, Retry):
        since = world.waiting.setdefault(tenant.metadata.name, now)
        if (now - since).total_seconds() < SHOWN_AFTER and (failure.after or 0) < SHOWN_AFTER:
            return
    else:
        world.waiting.pop(tenant.metadata.name, None)
    if current.standing.phase is None and failure is None and _young(tenant, now):
        return
    if current.claim is not None:
        before = world.ready.get(current.claim.id)
        world.ready[current.claim.id] = failure is None
        waits = current.change is not None and current.change.reason == "WaitingForWave"
        failed = failure is not None and not isinstance(failure, Retry)
        turned = before is not (failure is None) or failed is not is_true(tenant.status.conditions, STALLED)
        if (waits or turned) and current.claim.plan_name:
            world.queue.add_within(Work("Plan", current.claim.plan_name), COUNTED_WITHIN)
    fresh = _as_read(tenant, world.declared.tenants.get(tenant.metadata.name))
    await report.write_status(
        world,
        fresh,
        status.tenant_status(
            fresh, current.claim, current.standing, current.course, current.change, failure, current.degraded, now
        ),
    )
    subscription = current.standing.subscription
    if subscription is not None and subscription.metadata.deletion_timestamp is None:
        latest = _as_read(subscription, world.declared.subscriptions.get(subscription.metadata.name))
        contract_failure = failure if failure is not None and current.standing.verdict is None else None
        await report.write_status(
            world,
            latest,
            status.subscription_status(latest, current.standing, tenant.metadata.uid, contract_failure, now),
        )


def _as_read(read: AnyResource, now: AnyResource | None) -> AnyResource:
    """What this pass looked at, with the status that it has by now: a newer generation was not observed yet."""
    if now is None or now.metadata.uid != read.metadata.uid:
        return read
    return read.model_copy(update={"status": now.status})


def _young(resource: Resource, now: datetime) -> bool:
    """Whether an object is so new that its other half is probably being applied this very moment."""
    created = resource.metadata.creation_timestamp
    return created is not None and (now - created).total_seconds() < SHOWN_AFTER


def _once_grown(world: World, tenant_name: str) -> datetime | None:
    """When to tell Subscriptions that are still too young for it that their Tenant is missing."""
    young = any(_young(one, world.now()) for one in world.declared.subscriptions_of(tenant_name))
    return world.now() + timedelta(seconds=SHOWN_AFTER) if young else None


async def _refuse(world: World, subscription_name: str, reason: str, tenant_name: str) -> None:
    """Say on a Subscription that is not bound why it is not."""
    subscription = world.declared.subscriptions.get(subscription_name)
    if subscription is None or subscription.metadata.deletion_timestamp is not None:
        if subscription is not None:
            await report.let_go(world, subscription)
        return
    if reason == "NoTenant" and _young(subscription, world.now()):
        return
    messages = {
        "NoTenant": f"Tenant {tenant_name} does not exist: apply it; this Subscription binds to it then",
        "TenantTaken": f"Tenant {tenant_name} is bound to another Subscription: delete or end that one first",
        "TenantReplaced": f"Tenant {tenant_name} is not the one this contract was made with (another UID): make a new "
        "Subscription for it",
    }
    failure = Retry(reason, messages[reason]) if reason == "NoTenant" else Blocked(reason, messages[reason])
    facts = world.facts.get(subscription.metadata.uid)
    over = facts is not None and facts.phase in OVER
    standing = Standing(phase=Phase(facts.phase) if facts is not None and over else None, because=messages[reason])
    bound_to = facts.tenant_uid if facts is not None and reason == "TenantReplaced" else None
    await report.write_status(
        world, subscription, status.subscription_status(subscription, standing, bound_to, failure, world.now())
    )


async def _release_deleted(world: World, current: Pass) -> None:
    """A Subscription deleted by request is a cancellation; its end is kept by now, so the object may go."""
    subscription = current.standing.subscription
    if subscription is not None and subscription.metadata.deletion_timestamp is not None:
        await report.let_go(world, subscription)


def _wake(world: World, current: Pass) -> datetime | None:
    """The next deadline of the contract or the resync, whichever comes first."""
    coming = current.standing.verdict.next if current.standing.verdict else None
    deadline = coming.time if coming is not None and current.standing.phase not in OVER else None
    identity = current.claim.id if current.claim is not None else current.tenant.metadata.uid
    resync = schedule.resync_after(identity, len(world.declared.tenants))
    if current.standing.phase is None and _young(current.tenant, world.now()):
        resync = timedelta(seconds=SHOWN_AFTER)
    return schedule.wake_at(world.now(), resync, deadline)
