"""Since when a tenant that never was Ready cannot be made: kept after each reconcile of it, for who is billed for it.

The time is the contract's, in the control database: neither a restart nor an outage in between begins it anew
(lifecycle/collection.py). What follows from it is told to the payment provider by reconcile/collecting.py.
"""

from __future__ import annotations

from dataclasses import replace

from paybill.api.failures import Failure, Retry
from paybill.api.subscription import Subscription
from paybill.lifecycle import collection as decisions
from paybill.reconcile.paying import by_stripe
from paybill.reconcile.queue import Work
from paybill.reconcile.servers import FENCED
from paybill.reconcile.world import World


async def judged(world: World, subscription: Subscription | None, failure: Failure | None) -> None:
    """Keep since when the tenant of a contract cannot be made, after a reconcile that ended so."""
    if subscription is None or not by_stripe(subscription) or world.brakes.halt.observing:
        return
    uid = subscription.metadata.uid
    facts, claim = world.facts.get(uid), world.registry.by_subscription(uid)
    if facts is None:
        return
    failed = decisions.failed_since(
        facts.failed_time,
        stalled=failure is not None and not isinstance(failure, Retry) and failure.reason not in FENCED,
        working=failure is None,
        ready=claim is not None and claim.ready_time is not None,
        now=world.now(),
    )
    if failed != facts.failed_time:
        await world.facts.note(facts, lambda now: replace(now, failed_time=failed), epoch=world.epoch)
        tenant = subscription.spec.tenant_ref.name
        world.queue.add(Work("Tenant", tenant), "whether it can be made", background=True)
