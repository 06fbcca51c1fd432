"""Which Subscription a Tenant is bound to, read from what is declared and what the control database keeps.

The rule itself is pure (lifecycle/binding.py). Here the candidates are put before it, and the one case that it does not
know is told apart: a tenant that was adopted brings a contract along, whose Subscription has another UID by now.
"""

from __future__ import annotations

from dataclasses import replace

from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.control.claims import Claim
from paybill.control.facts import Facts
from paybill.lifecycle.binding import Binding, Candidate, bind
from paybill.lifecycle.phases import OVER, Phase
from paybill.reconcile.telling import telling
from paybill.reconcile.world import World


def binding_of(world: World, tenant_name: str, tenant: Tenant | None, claim: Claim | None) -> Binding:
    """Who is bound to the Tenant, and why the others are not."""
    claimed = claim.subscription_uid if claim is not None else None
    found = candidates(world, tenant_name)
    if claim is not None and tenant is not None and claim.continues_uid is not None:
        return continuing(claim, tenant.metadata.uid, found, over=_over(world.facts.get(claim.continues_uid)))
    return bind(tenant.metadata.uid if tenant else None, claimed, found)


def continuing(claim: Claim, tenant_uid: str, found: list[Candidate], *, over: bool) -> Binding:
    """Who is bound to a Tenant that was adopted with a contract whose Subscription has not been seen since.

    The Subscription of the same name goes on with it, if it has no contract of its own. Until it is there nobody else
    takes its place, unless the contract is ``over``.
    """
    same = next((one for one in found if one.uid == claim.continues_uid), None)
    same = same or next((one for one in found if one.name == claim.subscription_name and one.bound_to is None), None)
    if same is not None or over:
        return bind(tenant_uid, same.uid if same is not None else claim.continues_uid, found)
    return Binding(bound=None, missing=True, refused=tuple((one, "TenantTaken") for one in found))


def candidates(world: World, tenant_name: str) -> list[Candidate]:
    """The Subscriptions that name a Tenant, as the binding rule looks at them."""
    found = []
    for subscription in world.declared.subscriptions_of(tenant_name):
        facts = world.facts.get(subscription.metadata.uid)
        found.append(
            Candidate(
                name=subscription.metadata.name,
                uid=subscription.metadata.uid,
                created=subscription.metadata.creation_timestamp or world.now(),
                bound_to=facts.tenant_uid if facts is not None else None,
                terminal=_over(facts) or subscription.metadata.deletion_timestamp is not None,
            )
        )
    return found


async def cancel(world: World, subscription: Subscription) -> None:
    """Keep that a Subscription which holds no Tenant (any more) was deleted on request: its contract has ended.

    What it was bound to may be adopted later, and then goes on without this contract.
    """
    facts, asked = world.facts.get(subscription.metadata.uid), subscription.metadata.deletion_timestamp
    if facts is None or asked is None or facts.requested_end_time is not None:
        return
    phase, ended = (facts.phase, facts.ended_time) if _over(facts) else (str(Phase.ENDED), asked)
    changed = replace(facts, requested_end_time=asked, phase=phase, ended_time=ended)
    tell = telling(
        world,
        subscription=subscription.metadata.name,
        tenant=subscription.spec.tenant_ref.name,
        plan=subscription.spec.plan_ref.name,
        because="its Subscription was deleted",
    )
    await world.facts.put(changed, epoch=world.epoch, tell=tell)


def _over(facts: Facts | None) -> bool:
    return facts is not None and facts.phase in OVER
