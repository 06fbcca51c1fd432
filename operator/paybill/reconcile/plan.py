"""One Plan: keep its revision, let its tenants follow in waves, count them, forget revisions nobody is on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from paybill.api.conditions import READY, STALLED, TRUE, is_true
from paybill.api.plan import Plan, PlanRollout, PlanStatus
from paybill.api.tenant import Tenant
from paybill.control.claims import Claim
from paybill.desired import names
from paybill.lifecycle.phases import Phase
from paybill.lifecycle.rollout import Member, Wave, plan_wave
from paybill.lifecycle.tenant import changes_held
from paybill.lifecycle.terms import holds_of
from paybill.reconcile import report
from paybill.reconcile.queue import Work
from paybill.reconcile.status import PLAN_MISSING, Fact, apply_facts, outcome
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001
    """Bring the tenants of one Plan, wave by wave, to what it says now."""
    plan = world.declared.plans.get(name)
    _wake_waiting(world, name, plan)
    if plan is None or plan.spec.type != "Base":
        return None
    scope = Scope(cause=cause)
    revision = plan.revision()
    missing = world.revisions.desired(plan)
    if missing is not None:
        act = Step(
            action="plan.keep", target=f"Plan/{name}", act=lambda: world.revisions.keep(missing), inputs=missing["data"]
        )
        await take(world, scope, [act])
    members = [_member(world, claim) for claim in world.registry.all() if claim.plan_name == name]
    wave = plan_wave(
        members,
        revision,
        max_unavailable=str(plan.spec.rollout.max_unavailable),
        pause_on_failure=plan.spec.rollout.pause_on_failure,
    )
    edited = world.admitted.get(name, ("",))[0] != revision
    world.admitted[name] = (revision, wave.admitted)
    # Who is held hears of an edit too, once, to say so.
    held = {one.id for one in members if one.held and one.revision != revision} if edited else set()
    for member in sorted(wave.admitted | held):
        claim = world.registry.by_id(member)
        if claim is not None:
            world.queue.add(Work("Tenant", claim.tenant_name), f"Plan/{name} revision {revision}")
    await _forget_unused(world, name, revision, scope)
    await report.write_status(world, plan, _status(world, plan, revision, members, wave))
    return None


def _wake_waiting(world: World, name: str, plan: Plan | None) -> None:
    """Tenants that wait for this Plan to exist, that lost it, or whose add-on it is, look at once."""
    for subscription in world.declared.subscriptions_to(name):
        tenant = world.declared.tenants.get(subscription.spec.tenant_ref.name)
        claim = world.registry.by_uid(tenant.metadata.uid) if tenant is not None else None
        settled = claim is not None and claim.plan_name == name and plan is not None
        settled = settled and tenant is not None and not is_true(tenant.status.conditions, PLAN_MISSING)
        if tenant is not None and not settled:
            world.queue.add(Work("Tenant", tenant.metadata.name), f"Plan/{name} changed", background=claim is not None)


def _member(world: World, claim: Claim) -> Member:
    tenant = world.declared.tenants.get(claim.tenant_name)
    conditions = tenant.status.conditions if tenant is not None else ()
    subscription = world.declared.subscriptions.get(claim.subscription_name or "")
    return Member(
        id=claim.id,
        revision=claim.plan_revision or "",
        ready=world.ready.get(claim.id, is_true(conditions, READY)),
        failed=is_true(conditions, STALLED),
        pinned=subscription is not None and subscription.spec.plan_ref.revision is not None,
        held=_held(world, tenant, claim),
    )


def _held(world: World, tenant: Tenant | None, claim: Claim) -> bool:
    """Whether the tenant would not change even if its turn came."""
    if tenant is None or tenant.metadata.deletion_timestamp is not None:
        return True
    if tenant.metadata.annotations.get(names.PAUSED_ANNOTATION) == "true":
        return True
    facts = world.facts.get(claim.subscription_uid or "")
    return facts is not None and changes_held(Phase(facts.phase), holds_of(tenant)) is not None


async def _forget_unused(world: World, name: str, current: str, scope: Scope) -> None:
    """A revision goes only when no tenant is on it and no Subscription pins it."""
    used = {claim.plan_revision for claim in world.registry.all() if claim.plan_name == name}
    used |= {subscription.spec.plan_ref.revision for subscription in world.declared.subscriptions_to(name)}
    steps = [
        Step(action="plan.forget", target=f"Plan/{name}/{revision}", act=_dropper(world, name, revision))
        for revision in world.revisions.of_plan(name)
        if revision != current and revision not in used
    ]
    await take(world, scope, steps)


def _dropper(world: World, name: str, revision: str) -> Callable[[], Awaitable[None]]:
    async def act() -> None:
        await world.revisions.drop(name, revision)

    return act


def _status(world: World, plan: Plan, revision: str, members: list[Member], wave: Wave) -> PlanStatus:
    """How far the Plan's current revision has come."""
    now = world.now()
    moving = sum(1 for one in members if one.revision == revision and not one.ready)
    failed = sum(1 for one in members if one.revision == revision and one.failed)
    rolling = wave.updated < wave.total
    before = plan.status.rollout
    started = before.start_time if before is not None and before.revision == revision else now
    message = f"{wave.updated} of {wave.total} tenants are on revision {revision}"
    done = Fact(type=READY, status=TRUE, reason="RolledOut" if not rolling else "RollingOut", message=message)
    facts = outcome(None, done)
    return PlanStatus(
        observed_generation=plan.metadata.generation,
        revision=revision,
        tenants=len(members),
        updated=wave.updated,
        rollout=PlanRollout(
            revision=revision, start_time=started, in_progress=moving, failed=failed, paused=wave.paused
        )
        if rolling
        else None,
        conditions=apply_facts(plan.status.conditions, facts, plan.metadata.generation, now),
    )
