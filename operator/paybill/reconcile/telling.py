"""Who writes another phase of a contract says here what other systems are told of it; nothing where nobody listens."""

from __future__ import annotations

from paybill.control.facts import Facts, Tell
from paybill.lifecycle.announcement import Message, Parties, transition
from paybill.lifecycle.phases import Phase
from paybill.reconcile.world import World


def telling(world: World, *, subscription: str, tenant: str, plan: str, because: str) -> Tell | None:
    """Makes the message of a transition, by the names of whose it is; None where nobody is told."""
    if world.announcing.endpoint is None:
        return None

    def tell(before: Facts | None, after: Facts) -> Message:
        parties = Parties(subscription=subscription, subscription_uid=after.subscription_uid, tenant=tenant, plan=plan)
        was = Phase(before.phase) if before is not None else None
        return transition(parties, was, Phase(after.phase), because=because, now=world.now())

    return tell
