"""Finds what a command is about: a Tenant with its contract, or words about why there is none.

What is asked for and not there is answered with the names that are there, because most such questions are typing
errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from paybill.api.base import Resource
from paybill.api.failures import Invalid
from paybill.api.plan import Plan, PlanSpec
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.cluster.client import Cluster
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.lifecycle.sale import reported
from paybill.settings import Settings

MOST_NAMES = 10

Kind = TypeVar("Kind", bound=Resource)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """A Tenant, the Subscription that holds it, and the Plan's content it goes by; None where there is none."""

    tenant: Tenant
    subscription: Subscription | None
    plan: PlanSpec | None


def utcnow() -> datetime:
    """The clock, in whole seconds like every moment of the API."""
    return datetime.now(UTC).replace(microsecond=0)


async def all_of(cluster: Cluster, model: type[Kind]) -> list[Kind]:
    """Every object of a kind in the order of names."""
    found = [model.read(obj) for obj in await cluster.list(model.kind)]
    return sorted(found, key=lambda one: one.metadata.name)


async def tenant_named(cluster: Cluster, name: str) -> Tenant:
    """The Tenant of that name; raises Invalid (``NotFound``) with the names there are."""
    found = await cluster.get(Key("Tenant", "", name))
    if found is not None:
        return Tenant.read(found)
    known = [one.metadata.name for one in await all_of(cluster, Tenant)]
    listed = ", ".join(known[:MOST_NAMES]) + (f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else "")
    raise Invalid("NotFound", f"there is no Tenant {name}; " + (f"there are: {listed}" if known else "there are none"))


async def contract_of(cluster: Cluster, name: str) -> Contract:
    """The Tenant of that name with its bound Subscription and the Plan's content it goes by."""
    tenant = await tenant_named(cluster, name)
    subscription = await _subscription(cluster, tenant)
    subscription = reported(subscription) if subscription is not None else None
    plan = await _plan(cluster, tenant, subscription) if subscription is not None else None
    return Contract(tenant=tenant, subscription=subscription, plan=plan)


def bound(tenant: Tenant, subscriptions: list[Subscription]) -> Subscription | None:
    """The Subscription that holds a Tenant; while none does, the oldest that names it."""
    reference = tenant.status.subscription_ref
    if reference is not None:
        return next((one for one in subscriptions if one.metadata.uid == reference.uid), None)
    naming = [one for one in subscriptions if one.spec.tenant_ref.name == tenant.metadata.name]
    return min(naming, key=lambda one: (str(one.metadata.creation_timestamp), one.metadata.name), default=None)


async def _subscription(cluster: Cluster, tenant: Tenant) -> Subscription | None:
    reference = tenant.status.subscription_ref
    if reference is None:
        return bound(tenant, await all_of(cluster, Subscription))
    found = await cluster.get(Key("Subscription", "", reference.name))
    return bound(tenant, [Subscription.read(found)]) if found is not None else None


async def _plan(cluster: Cluster, tenant: Tenant, subscription: Subscription) -> PlanSpec | None:
    """The revision the Tenant is on, which may be older than what the Plan says now; else the Plan as it is."""
    on, wanted = tenant.status.plan, subscription.spec.plan_ref.name
    found = await cluster.get(Key("Plan", "", wanted))
    current = Plan.read(found) if found is not None else None
    if on is None or on.name != wanted or (current is not None and current.revision() == on.revision):
        return current.spec if current is not None else None
    kept = await cluster.get(Key("ControllerRevision", Settings().namespace, names.revision(on.name, on.revision)))
    return PlanSpec.model_validate(kept["data"]["content"]) if kept is not None else None
