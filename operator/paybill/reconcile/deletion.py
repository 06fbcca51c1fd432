"""Deleting a Tenant: fence at once, write the registry, let the object go; drops are made from the registry.

Nothing hangs on the Tenant object after its finalizer is off, so a cascade of Kubernetes can take away nothing that
must stay. ``Retain`` leaves everything as it is; ``Delete`` drops at once, within the hour's budget; ``Snapshot``
makes a last backup of the fenced tenant and lets the object go when that one is proved; the drop comes after the days
that the Plan retains, and asks for the proof once more.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from paybill.api.failures import Blocked, Failure, Retry
from paybill.api.tenant import Tenant
from paybill.control.claims import Claim
from paybill.desired import names, quota, rbac
from paybill.desired.resource import Key
from paybill.lifecycle.phases import Access
from paybill.lifecycle.tenant import course
from paybill.reconcile import (
    admin_login,
    agent_access,
    backup_store,
    dropping,
    erasure,
    final_backup,
    move,
    objects,
    own_place,
    provision,
    report,
    site,
    status,
    suspension,
)
from paybill.reconcile.contract import Standing
from paybill.reconcile.database import Credentials, ensure_database
from paybill.reconcile.dropping import End
from paybill.reconcile.queue import Work
from paybill.reconcile.steps import Scope, Step, ask, take
from paybill.reconcile.world import World

logger = logging.getLogger(__name__)

FENCE_PATIENCE = timedelta(minutes=10)
"""How long a deleted Tenant waits for its own server to answer, so that its logins can be closed first."""
BROKEN = frozenset(
    {
        "AdminLoginUnknown",
        "DatabaseAccessDenied",
        "DatabaseBusy",
        "DatabaseMissing",
        "DatabaseUnreachable",
        "SecretMissing",
    }
)
"""Reasons for which a server cannot be reached, or not be administered."""


async def reconcile(world: World, tenant: Tenant, claim: Claim | None, cause: str) -> datetime | None:
    """Carry out a delete request as far as it goes now."""
    if names.FINALIZER not in tenant.metadata.finalizers:
        return None
    if claim is None:
        await report.let_go(world, tenant)
        return None
    try:
        await _release(world, tenant, claim, cause)
    except Failure as failure:
        standing = Standing(phase=None, because="")
        stopped = course(None, "", exists=True)
        written = status.tenant_status(tenant, claim, standing, stopped, None, failure, (), world.now())
        await report.write_status(world, tenant, written)
        raise
    await report.let_go(world, tenant)
    for subscription in world.declared.subscriptions_of(tenant.metadata.name):
        cause = f"Subscription/{subscription.metadata.name} lost its Tenant"
        world.queue.add(Work("Tenant", tenant.metadata.name), cause)
    return None


async def _release(world: World, tenant: Tenant, claim: Claim, cause: str) -> None:
    erased = erasure.approved(world, claim)
    policy = tenant.spec.deletion_policy if erased is None else "Delete"
    scope = Scope(cause=cause, tenant_id=claim.id, cell=claim.cell)
    if claim.state == "deleted":
        # Noted before, but its answer was lost: what follows from it has not been begun.
        _carry_out_soon(world, tenant, claim)
    if claim.state != "claimed":
        return
    ask(world, scope, "tenant.delete")
    row = world.moves.of(claim.id)
    if row is not None and not move.switched(claim, row):
        # Whatever becomes of the tenant, its source must not hold its log back for it any longer.
        end = Step(action="move.giveUp", target=f"Move/{claim.id}", act=lambda: move.clear(world, claim))
        await take(world, scope, [end])
        await move.clear_server(world, claim, scope)
    if policy == "Retain":
        step = Step(
            action="tenant.release",
            target=f"Tenant/{tenant.metadata.name}",
            act=lambda: world.registry.release(claim.id, epoch=world.epoch),
            destructive=True,
        )
        await take(world, scope, [step])
        return
    now = drop_after = world.now()
    snapshot = policy == "Snapshot" and claim.plan_name is not None
    if snapshot:
        backup_store.declared(world, claim.cell)  # nobody is locked out for a backup that cannot be made
    try:
        there = await _fence(world, tenant, claim, cause)
        if snapshot and there:
            drop_after = await final_backup.made(world, tenant, claim, cause)
    except (Retry, Blocked) as failure:
        if snapshot or not _goes_unfenced(tenant, claim, failure, now):
            raise await admin_login.asked_again(world, claim, failure, cause) from failure
        logger.warning("Tenant %s goes with its server, whose logins cannot be closed: %s", claim.tenant_name, failure)
    requested = tenant.metadata.deletion_timestamp or now
    if claim.archive is not None and erased is None:
        await final_backup.let_go_with(world, claim, requested, cause)
    step = Step(
        action="tenant.delete",
        target=f"Tenant/{tenant.metadata.name}",
        act=lambda: world.registry.mark_deleted(claim.id, drop_after, requested=requested, epoch=world.epoch),
        inputs={"id": claim.id, "policy": policy, "approval": erased.metadata.name if erased is not None else None},
        destructive=True,
    )
    await take(world, scope, [step])
    _carry_out_soon(world, tenant, claim)


def _goes_unfenced(tenant: Tenant, claim: Claim, failure: Failure, now: datetime) -> bool:
    """Whether a server of the tenant's own is broken for so long that its tenant goes all the same: both go."""
    asked = tenant.metadata.deletion_timestamp
    late = asked is not None and now - asked >= FENCE_PATIENCE
    return late and claim.level == "Server" and failure.reason in BROKEN


def _carry_out_soon(world: World, tenant: Tenant, claim: Claim) -> None:
    world.queue.add(Work("Drop", claim.id), f"Tenant/{tenant.metadata.name} was deleted")


async def _fence(world: World, tenant: Tenant, claim: Claim, cause: str) -> bool:
    """Logins off and no pods at once, however long the drop itself has to wait; returns whether there is any data."""
    content = world.revisions.get(claim.plan_name, claim.plan_revision)
    if content is None:
        return False
    if claim.archive is not None or claim.archived_time is not None:
        return False  # archived: its data is in its final backup only
    if not await own_place.connected(world, claim):
        return False
    place = site.of(world, tenant, claim, cause)
    observed = await place.attached.seen(claim.id)
    if observed is None or observed.absent:
        return False
    credentials = Credentials(world, place, place.database(content, Access.FULL).handed_names)
    await ensure_database(world, place, content, Access.NONE, credentials, fresh=False)
    await agent_access.follow(world, place, Access.NONE)
    if not place.shared and world.children.get(Key("Namespace", "", place.namespace)) is not None:
        stopped = quota.build(place.identity, content.limits.quota, quota.Pods.STOPPED, world.now())
        # Without our own right its pods cannot be read; a crash right after the namespace was made leaves it out.
        ours = rbac.operator(place.identity, world.settings.namespace, world.settings.service_account)
        await objects.ensure(world, place.scope, [ours])
        await objects.ensure(world, place.scope, [stopped], destructive=True)
        await provision.patiently(lambda: suspension.evict_all(world, place))
    return True


async def carry_out(world: World, tenant_id: str, cause: str) -> datetime | None:
    """Drop what a deleted Tenant left, when its time has come: namespace, Secrets, database; then the tombstone.

    Returns when that will be, if it is not yet.
    """
    claim = world.registry.by_id(tenant_id)
    if claim is None or claim.state != "deleted":
        return None
    if claim.drop_after is not None and claim.drop_after > world.now():
        return claim.drop_after
    final_backup.refuse_unproved(world, claim)
    scope = Scope(cause=cause, tenant_id=tenant_id, cell=claim.cell)
    end = End(
        begin=lambda: world.registry.begin_drop(tenant_id, world.now(), epoch=world.epoch),
        due=claim.drop_after,
        begun=claim.drop_started_time is not None,
    )
    await dropping.drop(world, claim, scope, end)
    await world.registry.mark_dropped(tenant_id, epoch=world.epoch)
    world.ready.pop(tenant_id, None)
    world.verifiers.pop(tenant_id, None)
    world.access.pop(tenant_id, None)
    world.letting_in.pop(tenant_id, None)
    world.brakes.cell(claim.cell).gone(tenant_id)
    return None
