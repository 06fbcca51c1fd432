"""Which place a Tenant has and which revision of which Plan: claimed and written down before anything is built.

The registry's row comes first, so that a crash leaves a record of what may exist. What stands between wanting another
Plan and having it (a hold, debt, a wave, a move) is decided in lifecycle/change.py; here it is read and kept.
"""

from __future__ import annotations

from paybill.api.failures import Blocked, Invalid
from paybill.api.plan import PlanSpec
from paybill.control.claims import Claim, Placement
from paybill.desired.database import pool_database_name
from paybill.lifecycle import change as changes
from paybill.lifecycle import placement
from paybill.lifecycle.tenant import changes_held
from paybill.reconcile import contract, pending_change
from paybill.reconcile.contract import Standing
from paybill.reconcile.queue import Work
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.tenant_pass import Pass, counted_within
from paybill.reconcile.world import World


async def wanted_point(world: World, current: Pass) -> changes.PlanPoint | None:
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
        await take(world, Scope(cause=current.cause), [step])
    revision = reference.revision or world.revisions.orders(plan).target
    point = _point(world, reference.name, revision)
    if point is None:
        known = ", ".join(world.revisions.of_plan(reference.name)) or "none"
        raise Invalid(
            "UnknownRevision",
            f"Subscription {subscription.metadata.name}: revision {revision} of Plan {reference.name} is not kept "
            f"(kept: {known}): remove planRef.revision or name one of these",
        )
    return point


async def claim_place(world: World, current: Pass, wanted: changes.PlanPoint | None) -> Claim:
    """The registry's row, made before anything else exists; with the Subscription that is bound now."""
    tenant, standing = current.tenant, current.standing
    claim = current.claim
    if claim is None:
        if wanted is None:
            raise Invalid("UnknownPlan", f"Tenant {tenant.metadata.name} has no Plan to be provisioned by")
        compute, level = wanted.isolation
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
    return claim


async def plan_to_be_on(world: World, current: Pass, wanted: changes.PlanPoint | None) -> PlanSpec:
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
    if has is None and (claim.compute, claim.level) != wanted.isolation:
        # The kept revisions went with the cluster, and the Plan is not what it was: what the tenant has is the truth.
        raise Blocked(
            "PlanMissing",
            f"Plan {claim.plan_name} {claim.plan_revision} is not kept, and {wanted.name} {wanted.revision} means "
            f"isolation {'/'.join(wanted.isolation)} where the tenant has {claim.compute}/{claim.level}: apply the "
            "Plan as it was: only a Plan that is kept says what is moved",
        )
    revision, members = world.admitted.get(wanted.name, ("", frozenset()))
    phase = standing.phase
    held = changes_held(phase, standing.holds) if phase is not None else None
    # A pin is one person's decision for one tenant: it waits for no wave.
    pinned = standing.subscription.spec.plan_ref.revision is not None
    admitted = pinned or (revision == wanted.revision and claim.id in members)
    later = await pending_change.waits(world, current, claim, wanted.name)
    current.change = chosen = changes.choose(has, wanted, held=held, admitted=admitted, later=later)
    if (claim.plan_name, claim.plan_revision) != (chosen.point.name, chosen.point.revision):
        world.ready[claim.id] = False
        for counted in {claim.plan_name, chosen.point.name} - {None}:
            world.queue.add_within(Work("Plan", str(counted)), counted_within(world, str(counted)))
    current.claim = await world.registry.update(
        claim.id, epoch=world.epoch, plan_name=chosen.point.name, plan_revision=chosen.point.revision, **bound
    )
    content = world.revisions.get(chosen.point.name, chosen.point.revision)
    assert content is not None  # noqa: S101 - both points were read from what is kept
    return content


def _bound(standing: Standing) -> dict[str, str | None]:
    """The registry's columns that say which Subscription is bound."""
    if standing.subscription is None:
        return {}
    metadata = standing.subscription.metadata
    return {"subscription_name": metadata.name, "subscription_uid": metadata.uid, "continues_uid": None}


def _point(world: World, plan: str | None, revision: str | None) -> changes.PlanPoint | None:
    content = world.revisions.get(plan, revision)
    if content is None or content.isolation is None or plan is None or revision is None:
        return None
    return changes.PlanPoint(name=plan, revision=revision, isolation=content.isolation.resolved())
