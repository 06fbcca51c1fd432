"""Agents follow the contract of their tenant: while it may not do everything, none of them may log in.

The Tenant's reconcile says what holds and shuts their logins in the same pass; the AgentPolicies' open them again, each
by carrying its plan out. Both hold the tenant's lock meanwhile: a login that is being opened is not missed by whoever
closes them all, and none is opened on what was true a moment ago.
"""

from __future__ import annotations

from functools import partial

from paybill.agents import standing
from paybill.lifecycle.phases import Access
from paybill.reconcile import agent_gateway
from paybill.reconcile.queue import Work
from paybill.reconcile.site import AGENT_LEVELS, Site
from paybill.reconcile.steps import Step, take
from paybill.reconcile.world import World


async def follow(world: World, site: Site, access: Access) -> None:
    """Remember what a tenant's logins may do, and shut its agents out unless that is everything.

    A tenant that may only read has no agents: what they write through is not theirs, and knows nothing of that.
    """
    claim = site.claim
    if claim.level not in AGENT_LEVELS:
        return
    async with world.letting_in[claim.id]:
        before, world.access[claim.id] = world.access.get(claim.id), access
        if access is not Access.FULL:
            await _shut(world, site)
            if before is not access or site.agents:
                await agent_gateway.shut_out(world, claim, site.scope)
    if before is not access:
        for one in world.declared.policies_of(site.tenant.metadata.name):
            world.queue.add(Work("AgentPolicy", one.key), f"Tenant/{claim.tenant_name}: its logins are {access}")


async def _shut(world: World, site: Site) -> None:
    attached = site.attached
    async with attached.server.session(attached.pool.name) as session:
        logins = await standing.open_logins(session, site.claim.id)
        if not logins:
            return
        step = Step(
            action="agent.close",
            target=f"Database/{attached.pool.name}/{site.claim.id}",
            act=partial(standing.shut, session, attached.server.traits, logins),
            inputs={"logins": logins},
            destructive=True,
        )
        await take(world, site.scope, [step])
