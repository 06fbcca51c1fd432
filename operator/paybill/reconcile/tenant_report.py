"""What a Tenant and its Subscriptions are told after a reconcile, and what is not worth telling.

A wait that lasts a moment is not: with thousands of tenants, a database that restarts would cost thousands of writes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeVar

from paybill.api.base import Resource
from paybill.api.conditions import STALLED, is_true
from paybill.api.failures import Blocked, Failure, Retry
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.lifecycle.phases import OVER, Phase
from paybill.reconcile import (
    backup_schedule,
    infrastructure_report,
    isolation_report,
    migrations,
    move_report,
    report,
    rotation_report,
    status,
    storage,
    watchdog_report,
)
from paybill.reconcile.binding import cancel
from paybill.reconcile.contract import Standing
from paybill.reconcile.queue import Work
from paybill.reconcile.tenant_pass import Pass, counted_within
from paybill.reconcile.world import World

SHOWN_AFTER = 3.0
"""Seconds that something outside must be missing before a status says so: a blip is not worth a write per tenant."""

AnyResource = TypeVar("AnyResource", Tenant, Subscription)


async def tell(world: World, current: Pass, failure: Failure | None) -> None:
    """Write both statuses; of a wait only what has lasted, or will."""
    tenant, now = current.tenant, world.now()
    if isinstance(failure, Retry):
        since = world.waiting.setdefault(tenant.metadata.name, now)
        if (now - since).total_seconds() < SHOWN_AFTER and (failure.after or 0) < SHOWN_AFTER:
            return
    else:
        world.waiting.pop(tenant.metadata.name, None)
    if current.standing.phase is None and failure is None and young(tenant, now):
        return
    if current.claim is not None:
        before = world.ready.get(current.claim.id)
        world.ready[current.claim.id] = failure is None
        waits = current.change is not None and current.change.reason == "WaitingForWave"
        failed = failure is not None and not isinstance(failure, Retry)
        turned = before is not (failure is None) or failed is not is_true(tenant.status.conditions, STALLED)
        if (waits or turned) and current.claim.plan_name:
            plan = current.claim.plan_name
            world.queue.add_within(Work("Plan", plan), counted_within(world, plan))
    # The Subscription first: whoever waits for the Tenant to be Ready may then rely on both.
    subscription = current.standing.subscription
    if subscription is not None and subscription.metadata.deletion_timestamp is None:
        latest = _as_read(subscription, world.declared.subscriptions.get(subscription.metadata.name))
        contract_failure = failure if failure is not None and current.standing.verdict is None else None
        await report.write_status(
            world,
            latest,
            status.subscription_status(latest, current.standing, tenant.metadata.uid, contract_failure, now),
        )
    fresh = _as_read(tenant, world.declared.tenants.get(tenant.metadata.name))
    await report.write_status(
        world,
        fresh,
        status.tenant_status(
            fresh,
            current.claim,
            current.standing,
            current.course,
            current.change,
            failure,
            current.degraded,
            now,
            infrastructure=infrastructure_report.shown(world, current.claim),
            logins=rotation_report.shown(world, current.claim),
            credentials=rotation_report.fact(world, current),
            move=move_report.shown(world, current.claim),
            beside=(
                *infrastructure_report.facts(world, current.claim, current.unapplied),
                *migrations.of_tenant(world, current.claim),
                isolation_report.tenant_fact(world, current.claim),
                *watchdog_report.facts(world, fresh, current.claim),
                *move_report.facts(world, current.claim, current.unmoved),
                backup_schedule.condition(world, current.claim),
                *storage.fact(world, current),
            ),
        ),
    )


async def refuse(world: World, subscription_name: str, reason: str, tenant_name: str) -> None:
    """Say on a Subscription that is not bound why it is not."""
    subscription = world.declared.subscriptions.get(subscription_name)
    if subscription is None or subscription.metadata.deletion_timestamp is not None:
        if subscription is not None:
            await cancel(world, subscription)
            await report.let_go(world, subscription)
        return
    if reason == "NoTenant" and young(subscription, world.now()):
        return
    messages = {
        "NoTenant": f"Tenant {tenant_name} does not exist: apply it; this Subscription binds to it then",
        "TenantTaken": _taken(world, tenant_name),
        "TenantReplaced": f"Tenant {tenant_name} is not the one this contract was made with (another UID): make a new "
        "Subscription for it, or let it adopt what the other one had (`paybill adopt`)",
    }
    failure = Retry(reason, messages[reason]) if reason == "NoTenant" else Blocked(reason, messages[reason])
    facts = world.facts.get(subscription.metadata.uid)
    over = facts is not None and facts.phase in OVER
    standing = Standing(phase=Phase(facts.phase) if facts is not None and over else None, because=messages[reason])
    bound_to = facts.tenant_uid if facts is not None and reason == "TenantReplaced" else None
    await report.write_status(
        world, subscription, status.subscription_status(subscription, standing, bound_to, failure, world.now())
    )


def _taken(world: World, tenant_name: str) -> str:
    """By whom a Tenant is taken: an adopted one may be taken by a Subscription that is not there yet."""
    adopted = (one for one in world.registry.named(tenant_name) if one.state == "claimed" and one.continues_uid)
    if (claim := next(adopted, None)) is not None:
        return (
            f"Tenant {tenant_name} goes on with the contract of Subscription {claim.subscription_name}, which is not "
            "there: apply that one again; to end it, delete it then"
        )
    return f"Tenant {tenant_name} is bound to another Subscription: delete or end that one first"


def once_grown(world: World, tenant_name: str) -> datetime | None:
    """When to tell Subscriptions that are still too young for it that their Tenant is missing."""
    anyone = any(young(one, world.now()) for one in world.declared.subscriptions_of(tenant_name))
    return world.now() + timedelta(seconds=SHOWN_AFTER) if anyone else None


def young(resource: Resource, now: datetime) -> bool:
    """Whether an object is so new that its other half is probably being applied this very moment."""
    created = resource.metadata.creation_timestamp
    return created is not None and (now - created).total_seconds() < SHOWN_AFTER


def _as_read(read: AnyResource, now: AnyResource | None) -> AnyResource:
    """What this pass looked at, with the status that it has by now: a newer generation was not observed yet."""
    if now is None or now.metadata.uid != read.metadata.uid:
        return read
    return read.model_copy(update={"status": now.status})
