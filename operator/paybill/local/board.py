"""How the samples stand: one row per tenant, and what is not yet as it should be.

Pure: what the API server said comes in, rows and complaints go out. The terminal shows the rows, the wait ends when
there is no complaint left, and the same complaints are the message when it takes too long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from paybill.api.base import Resource
from paybill.api.conditions import READY, STALLED, Condition, find_condition, is_true
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant


@dataclass(frozen=True, kw_only=True)
class Row:
    """One tenant as people see it.

    ``seconds`` from applying it to its first Ready, or so far; None when it was there before.
    """

    tenant: str
    plan: str | None = None
    compute: str | None = None
    database: str | None = None
    subscription: str | None = None
    phase: str | None = None
    ready: bool = False
    reason: str = "Waiting"
    message: str = "the operator has not looked at it yet"
    seconds: float | None = None
    id: str | None = None
    namespace: str | None = None
    binding: str | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A sample that is waited for, with the phase it is to come to if its file names one."""

    kind: str
    name: str
    phase: str | None = None


def row(tenant: Tenant, subscription: Subscription | None, seconds: float | None) -> Row:
    """What one tenant's row says."""
    status = tenant.status
    shown = find_condition(status.conditions, STALLED)
    if shown is None or shown.status != "True":
        shown = find_condition(status.conditions, READY)
    plan = status.plan.name if status.plan else None
    if plan is None and subscription is not None:
        plan = subscription.spec.plan_ref.name
    said = {"reason": shown.reason, "message": shown.message} if shown is not None else {}
    return Row(
        tenant=tenant.metadata.name,
        plan=plan,
        compute=status.isolation.compute if status.isolation else None,
        database=status.isolation.database if status.isolation else None,
        subscription=subscription.metadata.name if subscription else None,
        phase=subscription.status.phase if subscription else None,
        ready=settled(tenant) and is_true(status.conditions, READY),
        seconds=seconds,
        id=status.id,
        namespace=status.namespace,
        binding=status.binding.name if status.binding else None,
        **said,
    )


def settled(resource: Resource) -> bool:
    """Whether the status is of the object as it is now, not of an earlier edit."""
    observed: int | None = resource.status.observed_generation  # type: ignore[attr-defined]  # every kind has one
    return observed == resource.metadata.generation


def complaints(wanted: Iterable[Wanted], seen: Mapping[tuple[str, str], Resource]) -> Iterator[str]:
    """What is not as it should be, one sentence each: the object, its condition and the operator's own words."""
    for one in wanted:
        name, resource = f"{one.kind} {one.name}", seen.get((one.kind, one.name))
        if resource is None:
            yield f"{name} is not there"
            continue
        ready = _condition(resource, READY)
        if not settled(resource) or ready is None:
            yield f"{name} has not been looked at by the operator"
        elif ready.status != "True":
            stalled = _condition(resource, STALLED)
            said = stalled if stalled is not None and stalled.status == "True" else ready
            yield f"{name} is not Ready: {said.reason}: {said.message}"
        elif one.phase is not None and isinstance(resource, Subscription) and resource.status.phase != one.phase:
            yield f"{name} is {resource.status.phase}, and its file expects {one.phase}: {ready.message}"


def _condition(resource: Resource, kind: str) -> Condition | None:
    return find_condition(resource.status.conditions, kind)  # type: ignore[attr-defined]  # every kind has them
