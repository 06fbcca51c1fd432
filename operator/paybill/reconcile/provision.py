"""Brings a tenant's infrastructure to what its phase and plan call for, in the order that keeps it bounded.

Two passes: first what binds the tenant (namespace, quota, limits, network, account), and only when the quota is seen to
be enforced what lets anyone in (the owners' RoleBinding and the Secret). Every part is compared before it is touched,
so a steady tenant costs no request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paybill.api.failures import Blocked, Invalid, Retry
from paybill.api.plan import PlanSpec
from paybill.desired import gateway, handover, namespace, network, quota, rbac, sql_names
from paybill.desired.resource import Key, key_of
from paybill.lifecycle.entitlements import Entitlement
from paybill.lifecycle.phases import Access
from paybill.lifecycle.tenant import Course
from paybill.reconcile import agent_access, objects, pooler, rotation, suspension, tenant_migrations
from paybill.reconcile.contract import Standing
from paybill.reconcile.database import (
    Credentials,
    believe_passwords,
    ensure_database,
    hand_over,
    passwords_stand,
    secrets_stand,
)
from paybill.reconcile.site import Site
from paybill.reconcile.steps import Step, take
from paybill.reconcile.world import World

QUOTA_PATIENCE = 0.5
"""Seconds to wait in place for the quota; a stock controller-manager under load takes longer, then we come back."""


@dataclass(frozen=True, kw_only=True)
class Provisioned:
    """What the pass established, for the status and the registry."""

    degraded: tuple[str, ...] = ()
    binding: dict[str, Any] | None = None


async def bring(
    world: World, site: Site, plan: PlanSpec, course: Course, standing: Standing, *, deep: bool
) -> Provisioned:
    """Make everything so. ``deep`` also asks for the Secrets, which are not watched.

    Raises Retry while something outside is not there yet, Blocked or Invalid when people must act.
    """
    logins = site.database(plan, Access.FULL).handed_names
    stand = await _handed_over(world, site, logins, deep=deep) and not site.filled
    fresh = await (_pool_namespace(world, site) if site.shared else _namespace(world, site))
    credentials = Credentials(world, site, logins)
    if not stand:
        await patiently(lambda: credentials.known(fresh=fresh))
    if course.stopped:
        if not site.shared:
            await _stop(world, site, plan, fresh=fresh)
        # Compute Shared is suspended by its logins alone: there that step is the suspension.
        degraded = await ensure_database(
            world, site, plan, course.effect.access, credentials, fresh=fresh, suspends=site.shared
        )
    else:
        degraded = await _run(world, site, plan, course, credentials, fresh=fresh)
    await agent_access.follow(world, site, course.effect.access)
    await tenant_migrations.bring(world, site, course, credentials, fresh=fresh)
    owners = [] if site.shared or not site.tenant.spec.owners else [rbac.owners(site.identity, site.tenant.spec.owners)]
    told = [] if standing.entitlements is None else [_entitlements(site, course, standing, standing.entitlements)]
    await objects.ensure(world, site.scope, told, fresh=fresh)
    await objects.ensure(world, site.scope, owners, fresh=fresh, destructive=_fewer(world, owners))
    if not owners and not site.shared:
        await _remove_owners(world, site)
    give = rotation.switch if site.filled else hand_over
    await _behind_pooler(world, site, plan, course, credentials, handing=not stand, fresh=fresh)
    binding = None if stand else await patiently(lambda: give(world, site, credentials, fresh=fresh))
    world.held.pop(site.claim.id, None)
    if not stand:
        believe_passwords(world, site, logins)
    if site.shared and site.tenant.spec.owners:
        raise Invalid(
            "OwnersNeedNamespace",
            f"Tenant {site.tenant.metadata.name} has owners but compute Shared, where whoever may act reads all "
            "tenants' Secrets: remove spec.owners, or choose a Plan with compute Namespace",
        )
    return Provisioned(degraded=degraded, binding=binding)


async def _behind_pooler(
    world: World, site: Site, plan: PlanSpec, course: Course, credentials: Credentials, *, handing: bool, fresh: bool
) -> None:
    """Say what the tenant's alias should be, and before its address is handed out have it proved."""
    alias = await pooler.say(world, site, site.database(plan, Access.FULL).connections, handing=handing)
    if handing and alias is not None:
        login = sql_names.role(site.claim.id, f"app_{site.logins.app.handed}")
        passwords = await credentials.known(fresh=fresh)
        # The next pass would make others, which the pooler would have to read first, and so on.
        world.held[site.claim.id] = passwords
        await pooler.require(world, site, alias, login, passwords[login], open_=not course.stopped)


def _entitlements(site: Site, course: Course, standing: Standing, granted: tuple[Entitlement, ...]) -> dict[str, Any]:
    phase = str(standing.phase)
    return handover.entitlements(site.identity, site.namespace, phase, course.effect.app_access, granted)


async def _handed_over(world: World, site: Site, logins: Sequence[str], *, deep: bool) -> bool:
    """Whether the Secrets stand. If not, the registry forgets them first, so that a crash from here on is mended."""
    if site.claim.binding_uid is None:
        return False
    namespace_stands = world.children.get(Key("Namespace", "", site.namespace)) is not None
    works = namespace_stands and passwords_stand(world, site, logins)
    if works and (not deep or await secrets_stand(world, site)):
        return True
    await world.registry.update(site.claim.id, epoch=world.epoch, binding_uid=None, binding_version=None)
    return False


async def _run(
    world: World, site: Site, plan: PlanSpec, course: Course, credentials: Credentials, *, fresh: bool
) -> tuple[str, ...]:
    """Pods may run: the database and the bounds side by side, then, after a suspension, the workloads are told."""
    database = ensure_database(world, site, plan, course.effect.access, credentials, fresh=fresh)
    if site.shared:
        alone: tuple[str, ...] = await database
        return alone
    if suspension.quota_state(world, site) is not quota.Pods.RUNNING:
        return await _resume(world, site, plan, database)
    bounds, wanted = _bounds(world, site, plan, quota.Pods.RUNNING)
    with world.children.awaited(key_of(wanted)) as changed:
        degraded, _ = await _both(database, objects.ensure(world, site.scope, bounds, fresh=fresh))
        await enforced(world, site, wanted, changed)
    told: tuple[str, ...] = degraded
    return told


async def _resume(
    world: World, site: Site, plan: PlanSpec, database: Coroutine[Any, Any, tuple[str, ...]]
) -> tuple[str, ...]:
    """Pods may run again: logins first, so that none comes back to a closed database; then every workload is told."""
    degraded = await database
    bounds, wanted = _bounds(world, site, plan, quota.Pods.RESUMING)
    with world.children.awaited(key_of(wanted)) as changed:
        await objects.ensure(world, site.scope, bounds)
        await enforced(world, site, wanted, changed)
    await suspension.tell_workloads(world, site)
    # Without the mark: the last write of a resume, so that a crash before it tells the workloads once more.
    running = quota.build(site.identity, plan.limits.quota, quota.Pods.RUNNING)
    step = Step(action="quota.resume", target=str(key_of(running)), act=lambda: _put(world, running), inputs=running)
    await take(world, site.scope, [step])
    return degraded


async def _stop(world: World, site: Site, plan: PlanSpec, *, fresh: bool) -> None:
    """Pods out: quota first, enforced, then evictions. Logins go off afterwards, in ensure_database.

    In a namespace that was made a moment ago nobody is stopped (a suspended tenant whose cluster was lost): that is no
    suspension, and spends no budget.
    """
    stopped = quota.build(site.identity, plan.limits.quota, quota.Pods.STOPPED, world.now())
    with world.children.awaited(key_of(stopped)) as changed:
        if not fresh and suspension.quota_state(world, site) is not quota.Pods.STOPPED:
            row = world.children.get(key_of(stopped))
            seen = row.version if row is not None else None
            await suspension.suspend(world, site, lambda: _stop_pods(world, site, stopped, seen), stopped)
        # Before the pods have left, which may take a minute: an agent needs none.
        await agent_access.follow(world, site, Access.NONE)
        bounds, wanted = _bounds(world, site, plan, quota.Pods.STOPPED)
        await objects.ensure(world, site.scope, bounds)
        await enforced(world, site, wanted, changed)
    await suspension.drain(world, site)


async def _stop_pods(world: World, site: Site, stopped: dict[str, Any], seen: str | None) -> None:
    """What is lost is told right before it is, not whenever a suspension waits for its turn."""
    await suspension.announce(world, site)
    await _put(world, stopped, seen)


async def _namespace(world: World, site: Site) -> bool:
    """The tenant's namespace; True when it was made just now, so that nothing foreign can be in it."""
    desired = namespace.build(site.identity)
    existed = world.children.get(key_of(desired)) is not None
    made = await objects.ensure(world, site.scope, [desired])
    if made and not existed:
        return True
    # Without it the Secrets cannot be read; a crash right after the namespace was made leaves it out.
    await objects.ensure(world, site.scope, [_operator_binding(world, site)])
    return False


async def _pool_namespace(world: World, site: Site) -> bool:
    """The namespace that the cell's tenants with compute Shared have in common; made with the first of them."""
    cell, settings = site.claim.cell, world.settings
    pool = namespace.build_pool(cell, settings.installation)
    operator = rbac.pool_operator(cell, settings.installation, settings.namespace, settings.service_account)
    await objects.ensure(world, site.scope, [pool])
    await objects.ensure(world, site.scope, [operator])
    return False


def _bounds(world: World, site: Site, plan: PlanSpec, state: quota.Pods) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What bounds the tenant's namespace, and the quota among it."""
    reached = {(one.host, one.port) for one in (site.attached.endpoint, pooler.endpoint(world, site))}
    since = quota.stopped_since(suspension.quota_row(world, site))
    bound = quota.build(site.identity, plan.limits.quota, state, since)
    others = [
        quota.build_limits(site.identity),
        network.build(site.identity, plan.network, sorted(reached), _gateway(world, site)),
        rbac.service_account(site.identity),
        _operator_binding(world, site),
    ]
    return [bound, *others], bound


def _gateway(world: World, site: Site) -> network.Peer | None:
    """Where its agents call, if the operator runs gateways; the rule is the same whether one is there or not."""
    if world.settings.agent_gateway is None:
        return None
    return network.Peer(
        namespace=world.settings.namespace, labels=gateway.selector(site.claim.id), port=gateway.PORT
    )  # fmt: skip


def _operator_binding(world: World, site: Site) -> dict[str, Any]:
    return rbac.operator(site.identity, world.settings.namespace, world.settings.service_account)


async def enforced(world: World, site: Site, desired: dict[str, Any], changed: asyncio.Event) -> None:
    """Return when admission acts on the quota we want (its status shows it); raises Retry when that takes long."""
    deadline = asyncio.get_running_loop().time() + QUOTA_PATIENCE
    while True:
        changed.clear()
        if quota.enforced(suspension.quota_row(world, site), desired):
            return
        try:
            async with asyncio.timeout_at(deadline):
                await changed.wait()
        except TimeoutError:
            raise Retry(
                "QuotaNotEnforced",
                f"{key_of(desired)} is written but not acted on yet: the controller-manager has not filled its status",
                after=5.0,
            ) from None


async def _put(world: World, desired: dict[str, Any], seen: str | None = None) -> None:
    """Apply one object and remember the answer; ``seen``: only if it is still at the version that was decided on."""
    if seen is not None:
        desired = {**desired, "metadata": {**desired["metadata"], "resourceVersion": seen}}
    world.children.put(await world.cluster.apply(desired))


def _fewer(world: World, owners: Sequence[Mapping[str, Any]]) -> bool:
    """Whether somebody who is an owner would be none any more."""
    for wanted in owners:
        row = world.children.get(key_of(wanted))
        subjects = (row.parsed().get("subjects") or ()) if row is not None else ()
        if any(subject not in wanted["subjects"] for subject in subjects):
            return True
    return False


async def _remove_owners(world: World, site: Site) -> None:
    """Owners were taken out of the spec: their RoleBinding goes too."""
    key = key_of(rbac.owners(site.identity, ()))
    row = world.children.get(key)
    if row is None:
        return

    async def act() -> None:
        await world.cluster.delete(key, uid=row.uid, resource_version=row.version)
        world.children.forget(key)

    await take(world, site.scope, [Step(action="roleBinding.delete", target=str(key), act=act, destructive=True)])


async def _both(first: Any, second: Any) -> tuple[Any, Any]:
    """Two things side by side; both end before a failure of either goes on."""
    results = await asyncio.gather(first, second, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results[0], results[1]


async def patiently(act: Any) -> Any:
    """Our own RoleBinding takes a moment to reach the authorizer: a Forbidden right after it is not the last word."""
    for pause in (0.02, 0.05, 0.1, 0.2, 0.4):
        try:
            return await act()
        except Blocked as failure:
            if failure.reason != "Forbidden":
                raise
            await asyncio.sleep(pause)
    return await act()
