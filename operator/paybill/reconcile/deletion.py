"""Deleting a Tenant: fence at once, write the registry, let the object go; drops are made from the registry.

Nothing hangs on the Tenant object after its finalizer is off, so a cascade of Kubernetes can take away nothing that
must stay. ``Retain`` leaves everything as it is; ``Delete`` drops at once, within the hour's budget; ``Snapshot``
makes a last backup of the fenced tenant and lets the object go when that one is proved; the drop comes after the days
that the Plan retains, and asks for the proof once more.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from paybill.api.failures import Blocked, Failure, Retry
from paybill.api.tenant import Tenant
from paybill.control.claims import Claim
from paybill.databases.drop import Fence, drop
from paybill.databases.outcome import Outcome
from paybill.databases.own_database import drop_database
from paybill.databases.server import Session
from paybill.desired import names, quota, rbac
from paybill.desired.resource import Key
from paybill.lifecycle.budget import DELETIONS
from paybill.lifecycle.phases import Access
from paybill.lifecycle.tenant import course
from paybill.reconcile import (
    admin_login,
    backup_store,
    erasure,
    final_backup,
    infrastructure,
    move,
    objects,
    own_database,
    own_place,
    provision,
    report,
    site,
    status,
    suspension,
)
from paybill.reconcile.contract import Standing
from paybill.reconcile.database import Credentials, ensure_database
from paybill.reconcile.queue import Work
from paybill.reconcile.servers import Attached
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
    if not await own_place.connected(world, claim):
        return False
    place = site.of(world, tenant, claim, cause)
    observed = await place.attached.seen(claim.id)
    if observed is None or observed.absent:
        return False
    credentials = Credentials(world, place, place.database(content, Access.FULL).handed_names)
    await ensure_database(world, place, content, Access.NONE, credentials, fresh=False)
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
    if claim.level == "Server":
        await _destroy(world, claim, scope)
    else:
        await _drop(world, claim, scope)
        await move.clear_server(world, claim, scope)
        # Credentials outlive what needs them: what an engine made for a pooled tenant goes last.
        if not await infrastructure.destroyed(world, claim, scope):
            raise Retry("OperationRunning", f"the infrastructure of tenant {claim.id} is being destroyed", after=30.0)
    await _remove_objects(world, claim, scope)
    await world.registry.mark_dropped(tenant_id, epoch=world.epoch)
    world.ready.pop(tenant_id, None)
    world.brakes.cell(claim.cell).gone(tenant_id)
    return None


async def _destroy(world: World, claim: Claim, scope: Scope) -> None:
    """Have the tenant's own server destroyed; raises Retry until it is."""

    async def begin() -> bool:
        await move.clear(world, claim)
        await world.registry.begin_drop(claim.id, world.now(), epoch=world.epoch)
        return await infrastructure.destroyed(world, claim, scope)

    step = Step(
        action=DELETIONS.action,
        target=f"Tenant/{claim.tenant_name}",
        act=begin,
        inputs={"id": claim.id, "server": claim.server},
        budget=DELETIONS,
        due=claim.drop_after,
    )
    begun = claim.drop_started_time is not None
    gone = await infrastructure.destroyed(world, claim, scope) if begun else (await take(world, scope, [step]))[0]
    if not gone:
        raise Retry("OperationRunning", f"the server of tenant {claim.id} is being destroyed", after=30.0)
    await world.registry.begin_drop(claim.id, world.now(), epoch=world.epoch)
    await world.servers.detach(claim.cell, claim.server)
    world.operations.attached.pop(claim.id, None)


async def _drop(world: World, claim: Claim, scope: Scope) -> None:
    """Drop what the tenant has on a shared server."""
    tenant_id = claim.id
    attached = world.servers.get(claim.cell, claim.server)

    async def act() -> Outcome:
        # What a move left of it elsewhere holds its roles, and would keep them from going.
        await move.clear(world, claim)
        return await _dropped(attached, claim, partial(_begin, world, claim, attached))

    step = Step(
        action=DELETIONS.action,
        target=f"Tenant/{claim.tenant_name}",
        act=act,
        inputs={"id": tenant_id, "database": claim.pool_database},
        budget=DELETIONS,
        due=claim.drop_after,
    )
    await take(world, scope, [step])
    # Nothing of it was in Postgres, perhaps: then this is where an adoption comes too late.
    await world.registry.begin_drop(tenant_id, world.now(), epoch=world.epoch)
    attached.observed.pop(tenant_id, None)
    attached.databases.pop(tenant_id, None)


async def _dropped(attached: Attached, claim: Claim, fence: Fence) -> Outcome:
    if claim.level == "Database":
        own = own_database.pool_of(claim)
        return await drop_database(attached.server, attached.pool, own, claim.id, fence=fence)
    return await drop(attached.server, attached.pool, claim.id, claim.origin_uid, fence=fence)


async def _begin(world: World, claim: Claim, attached: Attached, session: Session) -> None:
    """Right before irreversible SQL: note that no adoption can come any more, or raise because one came; the fence."""
    await world.registry.begin_drop(claim.id, world.now(), epoch=world.epoch)
    await world.fence(attached.server, session)


async def _remove_objects(world: World, claim: Claim, scope: Scope) -> None:
    """The Kubernetes objects: the whole namespace, or with compute Shared only what is the tenant's in the pool."""
    ours = (names.provider_binding(claim.id), names.own_server_secret(claim.id))
    keys = [Key("Secret", world.settings.namespace, name) for name in ours]
    if claim.compute == "Shared":
        pool = names.pool_namespace(claim.cell)
        keys += [Key("Secret", pool, names.binding(claim.id)), Key("ConfigMap", pool, names.entitlements(claim.id))]
    else:
        keys.append(Key("Namespace", "", names.namespace(claim.id)))
    steps = []
    for key in keys:
        found = await world.cluster.get(key)
        if found is None:
            continue
        if (found["metadata"].get("labels") or {}).get(names.TENANT_LABEL) != claim.id:
            raise Blocked("NameConflict", f"{key} does not carry tenant {claim.id}'s mark: it is not deleted")
        steps.append(_delete(world, key, found["metadata"]))
    await take(world, scope, steps)


def _delete(world: World, key: Key, seen: Mapping[str, Any]) -> Step:
    action = f"{key.kind[0].lower()}{key.kind[1:]}.delete"

    async def act() -> None:
        await world.cluster.delete(key, uid=seen["uid"], resource_version=seen["resourceVersion"])
        world.children.forget(key)

    return Step(action=action, target=str(key), act=act, destructive=True)
