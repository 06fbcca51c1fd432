"""One Tenant with its contract: read, decide, act, report.

The key of the work is the Tenant's name. Its Subscriptions are settled under the same key, because who is bound and
what a phase calls for is one decision; two workers can then never answer it differently.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from paybill.api.failures import Blocked, Failure, Invalid, Retry
from paybill.api.plan import PlanSpec
from paybill.api.tenant import Tenant
from paybill.control.claims import Claim
from paybill.desired import names
from paybill.lifecycle import schedule
from paybill.lifecycle.binding import Binding
from paybill.lifecycle.change import PlanPoint
from paybill.lifecycle.phases import OVER
from paybill.lifecycle.tenant import course
from paybill.lifecycle.terms import holds_of
from paybill.reconcile import (
    admin_login,
    adoption,
    archiving,
    backup_schedule,
    claiming,
    contract,
    deletion,
    filling,
    infrastructure,
    mass_change,
    metrics,
    move,
    own_database,
    pending_change,
    provision,
    report,
    rotation,
    rotation_report,
    site,
    storage,
    tenant_report,
    uninstalled,
    unmade,
)
from paybill.reconcile.binding import binding_of
from paybill.reconcile.contract import Standing
from paybill.reconcile.queue import Work
from paybill.reconcile.site import Site
from paybill.reconcile.tenant_pass import Pass
from paybill.reconcile.world import World


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:
    """Bring one Tenant and its Subscriptions to what they should be; returns when to look again.

    Raises the failure that stopped it, after reporting it on the objects.
    """
    if await uninstalled.let_go(world, name):
        return None
    tenant = world.declared.tenants.get(name)
    claim = world.registry.by_uid(tenant.metadata.uid) if tenant is not None else None
    held: Failure | None = None
    if tenant is not None and claim is None and _acted_on(tenant):
        try:
            claim = await adoption.settle(world, tenant, cause)
        except Failure as undecided:
            held = undecided
    binding = binding_of(world, name, tenant, claim)
    for candidate, reason in binding.refused:
        await tenant_report.refuse(world, candidate.name, reason, name)
    if tenant is None:
        return tenant_report.once_grown(world, name)
    if tenant.metadata.annotations.get(names.PAUSED_ANNOTATION) == "true":
        return None
    if tenant.metadata.deletion_timestamp is not None:
        return await deletion.reconcile(world, tenant, claim, cause)
    nothing = Standing(phase=None, because="")
    current = Pass(tenant=tenant, cause=cause, claim=claim, standing=nothing, course=course(None, "", exists=False))
    failure: Failure | None = None
    try:
        await _act(world, current, binding, held, deep=deep)
    except Failure as stopped:
        failure = await admin_login.asked_again(world, current.claim, stopped, cause)
    await tenant_report.tell(world, current, failure)
    await unmade.judged(world, current.standing.subscription, failure)
    _make_way(world, current, binding)
    if failure is not None:
        raise failure
    return _wake(world, current)


def _make_way(world: World, current: Pass, binding: Binding) -> None:
    """The contract ended in this pass, and another one waits for the Tenant: nothing else would look at it soon."""
    name = current.tenant.metadata.name
    now = binding_of(world, name, current.tenant, current.claim).bound
    if now is not None and binding.bound is not None and now.uid != binding.bound.uid:
        cause = f"Subscription/{binding.bound.name} is over, Subscription/{now.name} waits"
        world.queue.add(Work("Tenant", name), cause)


def _acted_on(tenant: Tenant) -> bool:
    """Whether the Tenant is neither paused nor being deleted."""
    paused = tenant.metadata.annotations.get(names.PAUSED_ANNOTATION) == "true"
    return not paused and tenant.metadata.deletion_timestamp is None


async def _act(world: World, current: Pass, binding: Binding, held: Failure | None, *, deep: bool) -> None:
    """Settle the contract, then bring the infrastructure to it."""
    tenant = current.tenant
    if binding.bound is not None:
        # Should the contract make no sense, its Subscription has to hear of it too.
        unsettled = contract.still_there(world, binding.bound)
        current.standing = Standing(phase=None, because="", subscription=unsettled)
    if held is not None:
        raise held
    await adoption.continue_contract(world, current, binding)
    await archiving.settle(world, current)
    standing = await _settle(world, current, binding)
    if standing.subscription is not None:
        await report.hold(world, standing.subscription)
        await _release_deleted(world, current)
    if await archiving.is_away(world, current) or not current.course.build:
        return
    await report.hold(world, tenant)
    wanted, unknown = await _wanted(world, current)
    trouble = unknown or standing.trouble
    claim = current.claim = await claiming.claim_place(world, current, wanted)
    plan = await claiming.plan_to_be_on(world, current, wanted)
    if (claim.plan_name, claim.plan_revision) != (current.claim.plan_name, current.claim.plan_revision):
        # It was settled by the revision before: what the new one entitles to is handed over in this very pass.
        standing = await _settle(world, current, binding)
    storage.bound(world, current, plan)
    await infrastructure.ensure(world, current, plan, deep=deep)
    if claim.level == "Database":
        await own_database.attach(world, current.claim, current.cause, deep=deep)
    place = site.of(world, tenant, current.claim, current.cause)
    if await move.advance(world, current, place, plan):
        # The registry has the tenant at its target by now: it is let in there in this very pass.
        await _act(world, current, binding, None, deep=deep)
        return
    await _bring(world, current, claim, place, plan, standing, deep=deep)
    await archiving.advance(world, current)
    _refuse_unfinished(current, trouble)


async def _wanted(world: World, current: Pass) -> tuple[PlanPoint | None, Invalid | None]:
    """The Plan's revision that the Tenant is to be on; why none can be told, where it has one to stay on."""
    try:
        return await claiming.wanted_point(world, current), None
    except Invalid as unknown:
        # A mistyped Plan keeps nobody from being suspended, paid for or healed on the Plan that they are on.
        if current.claim is None:
            raise
        return None, unknown


async def _bring(
    world: World, current: Pass, claim: Claim, place: Site, plan: PlanSpec, standing: Standing, *, deep: bool
) -> None:
    """Logins, guardrails and what is handed over; ``claim`` is the place as it was when this pass began to bring it."""
    tenant = current.tenant
    assert current.claim is not None  # noqa: S101 - it was claimed before
    place = replace(place, moving=move.owns_roles(world, current) or filling.shut_out(world, current.claim))
    if not place.moving:
        place = await rotation.decide(world, current, place)
    filler = filling.fills(world, tenant, current.claim)
    heads_for = current.course if filler is None else filling.closed(current.course)
    done = await provision.bring(world, place, plan, heads_for, standing, deep=deep)
    current.degraded = done.degraded
    filler = filler or filling.fills(world, tenant, claim)  # one that came meanwhile, as of the same manifest
    await _remember(world, current, claim, done, opened=filler is None)
    if filler is not None:
        raise filling.waiting(world, filler, claim)
    await move.finish(world, current, place, plan)
    if current.claim is not None:
        await backup_schedule.ensure(world, current.claim, current.cause)


def _refuse_unfinished(current: Pass, trouble: Failure | None) -> None:
    """Raise what of this pass could not be done although everything else was."""
    if current.change is not None and current.change.reason == "MoveNotSupported":
        raise Blocked(current.change.reason, current.change.message)
    if current.unmoved is not None and not isinstance(current.unmoved, Retry):
        raise current.unmoved
    if trouble is not None:
        raise trouble
    if current.unapplied is not None:
        raise current.unapplied


async def _settle(world: World, current: Pass, binding: Binding) -> Standing:
    """The contract as it stands by the Plan the Tenant is on, and the course that follows from it."""
    tenant = current.tenant
    current.standing = standing = await contract.settle_contract(world, tenant, current.claim, binding)
    claim = current.claim
    exists = claim is not None and claim.plan_name is not None and not archiving.archived(claim)
    current.course = course(standing.phase, standing.because, exists=exists, holds=holds_of(tenant))
    stop = current.course.build and current.course.stopped
    mass_change.contract_settled(world, tenant, current.claim, stop=stop, since=standing.times.suspended)
    return standing


async def _remember(world: World, current: Pass, claim: Claim, done: provision.Provisioned, *, opened: bool) -> None:
    """What this pass established for good: the Secret's version, the first moment of Ready, the trial's start."""
    now = world.now()
    first = claim.ready_time is None and opened
    noted = dict(done.binding or {}) | ({"ready_time": now} if first else {})
    if noted:
        current.claim = await world.registry.update(claim.id, epoch=world.epoch, **noted)
    if first and current.tenant.metadata.creation_timestamp is not None:
        metrics.TIME_TO_READY.observe((now - current.tenant.metadata.creation_timestamp).total_seconds())
    ready = current.claim.ready_time if current.claim is not None else None
    if ready is not None:
        current.standing = await contract.start_trial(world, current.tenant, current.standing, ready)


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
    resync = schedule.resync_after(identity, len(world.declared.tenants), world.now())
    if current.standing.phase is None and tenant_report.young(current.tenant, world.now()):
        resync = timedelta(seconds=tenant_report.SHOWN_AFTER)
    infra, moves = infrastructure.wake(world, current.claim), move.wake(world, current)
    grace = current.storage.until if current.storage is not None else None
    retained = archiving.wake(world, current)
    changes = pending_change.wake(current.standing)
    agreed = current.standing.agreed
    others = (
        agreed.until if agreed is not None else None,
        grace,
        retained,
        changes,
        backup_schedule.wake(world, current.claim),
        *rotation_report.wakes(world, current),
    )
    return schedule.wake_at(world.now(), resync, deadline, infra, moves, *others)
