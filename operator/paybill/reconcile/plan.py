"""One Plan: keep its revision, let its tenants follow in waves, count them, forget revisions nobody is on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from paybill.api.conditions import READY, TRUE
from paybill.api.plan import Plan, PlanRollout, PlanStatus
from paybill.desired import names
from paybill.lifecycle.rollout import Member, Orders, Wave, plan_wave
from paybill.reconcile import report
from paybill.reconcile.queue import AGAIN, Work
from paybill.reconcile.status import PLAN_MISSING, Fact, apply_facts, outcome
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001
    """Bring the tenants of one Plan, wave by wave, to what it says now."""
    plan = world.declared.plans.get(name)
    if plan is not None and plan.metadata.deletion_timestamp is not None:
        await report.let_go(world, plan)  # we never hold one, but nobody else would ever take our finalizer off
    if cause != AGAIN:
        _wake_waiting(world, name, plan)
    if plan is None or plan.spec.type != "Base":
        return None
    scope = Scope(cause=cause)
    missing = world.revisions.desired(plan)
    if missing is not None:
        act = Step(
            action="plan.keep", target=f"Plan/{name}", act=lambda: world.revisions.keep(missing), inputs=missing["data"]
        )
        await take(world, scope, [act])
    ordered = world.revisions.orders(plan)
    revision = ordered.target
    members = world.members.of(world, name)
    wave = plan_wave(
        members,
        revision,
        max_unavailable=str(plan.spec.rollout.max_unavailable),
        pause_on_failure=plan.spec.rollout.pause_on_failure,
        stopped=ordered.paused,
    )
    edited = world.admitted.get(name, ("",))[0] != revision
    world.admitted[name] = (revision, wave.admitted)
    # Who is held hears of an edit too, once, to say so.
    held = {one.id for one in members if one.held and one.revision != revision} if edited else set()
    for member in sorted(wave.admitted | held):
        claim = world.registry.by_id(member)
        if claim is not None:
            # In the background: a wave may be hundreds, and a new tenant does not wait for them.
            world.queue.add(Work("Tenant", claim.tenant_name), f"Plan/{name} revision {revision}", background=True)
    await report.write_status(world, plan, _status(world, plan, ordered, members, wave))
    await _forget_unused(world, name, {revision, plan.revision()}, members, scope)
    return None


def _wake_waiting(world: World, name: str, plan: Plan | None) -> None:
    """Tenants that wait for this Plan or its prices, that lost it, or whose add-on it is, look at once."""
    unclear = {one.name: one for one in world.declared.unclear()}
    for subscription in {**unclear, **{one.name: one for one in world.declared.subscriptions_to(name)}}.values():
        tenant = world.declared.tenants.glance(subscription.tenant)
        claim = world.registry.by_uid(tenant.uid) if tenant is not None else None
        settled = claim is not None and claim.plan_name == name and plan is not None
        settled = settled and tenant is not None and PLAN_MISSING not in tenant.true and not subscription.unclear
        if tenant is not None and not settled:
            world.queue.add(Work("Tenant", tenant.name), f"Plan/{name} changed", background=claim is not None)


async def _forget_unused(world: World, name: str, current: set[str], members: list[Member], scope: Scope) -> None:
    """A revision goes only when no tenant is on it and no Subscription pins it."""
    if set(world.revisions.of_plan(name)) <= current:
        return
    used = {one.revision for one in members}
    used |= {subscription.pinned or "" for subscription in world.declared.subscriptions_to(name)}
    steps = [
        Step(
            action="plan.forget",
            target=f"Plan/{name}/{revision}",
            act=_dropper(world, name, revision),
            destructive=True,
        )
        for revision in world.revisions.of_plan(name)
        if revision not in current | used
    ]
    await take(world, scope, steps)


def _dropper(world: World, name: str, revision: str) -> Callable[[], Awaitable[None]]:
    async def act() -> None:
        await world.revisions.drop(name, revision)

    return act


def _status(world: World, plan: Plan, ordered: Orders, members: list[Member], wave: Wave) -> PlanStatus:
    """How far the Plan's current revision has come."""
    now, revision = world.now(), ordered.target
    moving = sum(1 for one in members if one.revision == revision and not one.ready)
    failed = sum(1 for one in members if one.revision == revision and one.failed)
    rolling = wave.updated < wave.total
    before = plan.status.rollout
    started = before.start_time if before is not None and before.revision == revision else now
    message = f"{wave.updated} of {wave.total} tenants are on revision {revision}"
    if revision != plan.revision():
        message += f", to which it is rolled back from {plan.revision()}"
    if ordered.paused and rolling:
        message += f"; the others wait until the annotation {names.ROLLOUT_ANNOTATION} is removed"
    done = Fact(type=READY, status=TRUE, reason="RolledOut" if not rolling else "RollingOut", message=message)
    facts = outcome(None, done)
    return PlanStatus(
        observed_generation=plan.metadata.generation,
        revision=plan.revision(),
        tenants=len(members),
        updated=wave.updated,
        rollout=PlanRollout(
            revision=revision, start_time=started, in_progress=moving, failed=failed, paused=wave.paused
        )
        if rolling
        else None,
        conditions=apply_facts(plan.status.conditions, facts, plan.metadata.generation, now),
    )
