"""Lets an agent in at its tenant's gateway, and shuts it out; the gateway comes with the first and goes with the last.

What the gateway is given (agent_login.py) is kept in any case: it holds the agents' passwords. Whether the operator
runs gateways too is a setting. Deployments and Services are not watched: the look of every minute at an agent asks for
them. Whoever calls holds the tenant's lock (``World.letting_in``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paybill.agents.facts import Schema
from paybill.api.agent_policy import AgentEndpoint, AgentPolicy
from paybill.control.claims import Claim
from paybill.desired import gateway, names
from paybill.desired.resource import Key, covers, key_of
from paybill.reconcile import agent_login, objects
from paybill.reconcile.site import Site, identity_of
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World

KINDS = ("Deployment", "Service", "NetworkPolicy")


@dataclass(frozen=True, kw_only=True)
class Given:
    """What an agent was given: its Secret, where it calls, and the verifier that its login is still to be given."""

    secret: str
    endpoint: AgentEndpoint | None
    verifier: str | None


async def let_in(world: World, site: Site, policy: AgentPolicy, tables: Schema, login: str, shown: str | None) -> Given:
    """Have the gateway be there and know the agent. Raises what ``agent_login.hand_over`` does."""
    handed = await agent_login.hand_over(world, site, policy, tables, login, shown)
    pods, namespace = world.settings.agent_gateway, world.settings.namespace
    if pods is None:
        return Given(secret=handed.secret, endpoint=None, verifier=handed.verifier)
    subjects = [one for other in agent_login.let_in(world, site, handed.agents) for one in other.spec.subjects]
    callers = {site.namespace, *(one.service_account.namespace for one in subjects)}
    network, *others = gateway.build(site.identity, namespace, pods, site.attached.endpoint, callers)
    await objects.ensure(world, site.scope, [network])
    for wanted in others:
        await _ensure(world, site.scope, wanted)
    endpoint = AgentEndpoint(url=gateway.url(site.identity, namespace), audience=gateway.audience(site.identity))
    return Given(secret=handed.secret, endpoint=endpoint, verifier=handed.verifier)


async def shut_out(world: World, claim: Claim, scope: Scope, agent: str | None = None) -> None:
    """Have the gateway know an agent no more, or none at all; without agents there is no gateway."""
    left = await agent_login.take_back(world, claim, scope, agent)
    if not left and world.settings.agent_gateway is not None:
        await take(world, scope, [step for kind in KINDS for step in await _removal(world, claim, kind)])


async def _ensure(world: World, scope: Scope, wanted: dict[str, Any]) -> None:
    key = key_of(wanted)
    found = await world.cluster.get(key)
    if found is not None:
        objects.refuse_foreign(key, found, wanted)
        if covers(wanted, found):
            return

    async def act() -> None:
        answer = await world.cluster.apply(wanted)
        if not covers(wanted, answer):
            await world.cluster.merge(wanted)  # apply leaves standing what others added to a list

    await take(world, scope, [Step(action="gateway.apply", target=str(key), act=act, inputs=wanted)])


async def _removal(world: World, claim: Claim, kind: str) -> list[Step]:
    key = Key(kind, world.settings.namespace, names.agents(claim.id))
    found = await world.cluster.get(key)
    if found is None or not objects.is_of(found, identity_of(claim)):
        return []  # gone, or a stranger's
    uid, version = found["metadata"]["uid"], found["metadata"]["resourceVersion"]

    async def act() -> None:
        await world.cluster.delete(key, uid=uid, resource_version=version)
        world.children.forget(key)

    return [Step(action="gateway.delete", target=str(key), act=act, destructive=True)]
