"""Drops what a tenant has outside the registry: its database or server, its infrastructure, its objects.

For a Tenant that was deleted and for a contract that is archived alike. Both note in the registry, right before the
first irreversible statement, that there is no way back, so that a crash anywhere is gone on with and never built upon.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from paybill.api.failures import Blocked, Retry
from paybill.control.claims import Claim
from paybill.databases.drop import Fence
from paybill.databases.drop import drop as drop_tenant
from paybill.databases.outcome import Outcome
from paybill.databases.own_database import drop_database
from paybill.databases.server import Session
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.lifecycle.budget import DELETIONS
from paybill.reconcile import agent_gateway, infrastructure, move, own_database
from paybill.reconcile.servers import Attached
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World


@dataclass(frozen=True, kw_only=True)
class End:
    """Why it ends: ``begin`` notes it in the registry or raises, ``due`` is since when, ``begun`` whether it was."""

    begin: Callable[[], Awaitable[Any]]
    due: datetime | None
    begun: bool


async def drop(world: World, claim: Claim, scope: Scope, end: End) -> None:
    """Drop all of it; raises Retry until it is gone. What is gone already is fine."""
    if claim.level == "Server":
        await _destroy(world, claim, scope, end)
    else:
        await _drop(world, claim, scope, end)
        await move.clear_server(world, claim, scope)
        # Credentials outlive what needs them: what an engine made for a pooled tenant goes last.
        if not await infrastructure.destroyed(world, claim, scope):
            raise Retry("OperationRunning", f"the infrastructure of tenant {claim.id} is being destroyed", after=30.0)
    await _remove_objects(world, claim, scope)


async def _destroy(world: World, claim: Claim, scope: Scope, end: End) -> None:
    """Have the tenant's own server destroyed; raises Retry until it is."""

    async def begin() -> bool:
        await move.clear(world, claim)
        await end.begin()
        return await infrastructure.destroyed(world, claim, scope)

    step = Step(
        action=DELETIONS.action,
        target=f"Tenant/{claim.tenant_name}",
        act=begin,
        inputs={"id": claim.id, "server": claim.server},
        budget=DELETIONS,
        due=end.due,
    )
    gone = await infrastructure.destroyed(world, claim, scope) if end.begun else (await take(world, scope, [step]))[0]
    if not gone:
        raise Retry("OperationRunning", f"the server of tenant {claim.id} is being destroyed", after=30.0)
    await end.begin()
    await world.servers.detach(claim.cell, claim.server)
    world.operations.attached.pop(claim.id, None)


async def _drop(world: World, claim: Claim, scope: Scope, end: End) -> None:
    """Drop what the tenant has on a shared server."""
    tenant_id = claim.id
    attached = world.servers.get(claim.cell, claim.server)

    async def act() -> Outcome:
        # What a move left of it elsewhere holds its roles, and would keep them from going.
        await move.clear(world, claim)
        return await _dropped(attached, claim, partial(_begin, world, attached, end))

    step = Step(
        action=DELETIONS.action,
        target=f"Tenant/{claim.tenant_name}",
        act=act,
        inputs={"id": tenant_id, "database": claim.pool_database},
        budget=DELETIONS,
        due=end.due,
    )
    await take(world, scope, [step])
    # Nothing of it was in Postgres, perhaps: then this is where it is noted.
    await end.begin()
    attached.observed.pop(tenant_id, None)
    attached.databases.pop(tenant_id, None)


async def _dropped(attached: Attached, claim: Claim, fence: Fence) -> Outcome:
    if claim.level == "Database":
        own = own_database.pool_of(claim)
        return await drop_database(attached.server, attached.pool, own, claim.id, fence=fence)
    return await drop_tenant(attached.server, attached.pool, claim.id, claim.origin_uid, fence=fence)


async def _begin(world: World, attached: Attached, end: End, session: Session) -> None:
    """Right before irreversible SQL: note that there is no way back, or raise because there is one; the fence."""
    await end.begin()
    await world.fence(attached.server, session)


async def _remove_objects(world: World, claim: Claim, scope: Scope) -> None:
    """The Kubernetes objects: the whole namespace, or with compute Shared only what is the tenant's in the pool."""
    ours = (names.provider_binding(claim.id), names.own_server_secret(claim.id), names.agents(claim.id))
    keys = [Key("Secret", world.settings.namespace, name) for name in ours]
    if world.settings.agent_gateway is not None:
        keys += [Key(kind, world.settings.namespace, names.agents(claim.id)) for kind in agent_gateway.KINDS]
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
