"""Lets an agent into its gateway's files and out of them, and with them hands over or takes back its password.

The password is in that Secret, and as a SCRAM verifier in Postgres, nowhere else. It lasts as long as the agent is let
in. The Secret is written first, so that a crash before the database has heard of a new password makes another one
instead of losing it; and a login is closed before its files go, so that what is no longer written down is of no use.
Whoever calls holds the tenant's lock (``World.letting_in``): all agents of a tenant are in one Secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paybill.agents.facts import Schema
from paybill.api.agent_policy import LONGEST_WORD, AgentPolicy
from paybill.api.failures import Blocked
from paybill.control.claims import Claim
from paybill.databases.credentials import new_password, scram_verifier, verifies
from paybill.desired import agent_files, names
from paybill.desired.agent_files import Entry
from paybill.desired.resource import key_of, texts
from paybill.reconcile import objects
from paybill.reconcile.site import Site, identity_of
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.world import World


@dataclass(frozen=True, kw_only=True)
class Handed:
    """The Secret's name, its agents, and the verifier that the login is still to be given; None when it has it."""

    secret: str
    verifier: str | None
    agents: tuple[str, ...]
    """All agents that it lets in now."""


async def hand_over(
    world: World, site: Site, policy: AgentPolicy, tables: Schema, login: str, shown: str | None
) -> Handed:
    """Have the tenant's Secret let the agent in; ``shown`` is the verifier that its login has now.

    A rotation that was asked for and is not in the status yet makes another password of one that fits.
    Raises ``Blocked("NameConflict")`` when a Secret of that name is not this tenant's, ``Blocked("SubjectTaken")``,
    ``Blocked("AgentsTooLarge")``.
    """
    agent, found = policy.spec.agent, await _found(world, site.claim)
    if found is not None:
        objects.refuse_foreign(key_of(found), found, _wanted(world, site.claim, {}))
    told = texts(found)
    _refuse_shared_subjects(world, site, policy, agent_files.agents(told))
    password = agent_files.password(told, agent)
    fits = bool(password) and shown is not None and verifies(password, shown)
    fits = fits and not rotates(policy)
    if not fits:
        password = new_password()
    entry = Entry(
        policy=policy, tables=_named(policy, tables), endpoint=site.attached.endpoint, login=login, password=password
    )
    data = agent_files.let_in(told, entry)
    if told != data:
        await _write(world, site.claim, site.scope, data)
    verifier = None if fits else scram_verifier(password)
    return Handed(secret=names.agents(site.claim.id), verifier=verifier, agents=agent_files.agents(data))


def asked(policy: AgentPolicy) -> str | None:
    """The word by which a rotation was asked for last."""
    return policy.metadata.annotations.get(names.ROTATE_ANNOTATION, "")[:LONGEST_WORD] or None


def rotates(policy: AgentPolicy) -> bool:
    """Whether a rotation was asked for that was not carried out. A crash in the middle makes one more."""
    return asked(policy) not in (None, policy.status.rotated)


def _named(policy: AgentPolicy, tables: Schema) -> str:
    """The tables that the policy names: the gateway needs to know of no other."""
    named = {one.name for one in policy.spec.collections}
    some = tuple(one for one in tables.collections if one.name in named)
    return Schema(name=tables.name, collections=some).model_dump_json()


def _refuse_shared_subjects(world: World, site: Site, policy: AgentPolicy, there: Sequence[str]) -> None:
    """Whose token it is says which agent calls: a subject of two would be neither's, and the gateway takes no file."""
    mine = {(one.service_account.namespace, one.service_account.name) for one in policy.spec.subjects}
    for other in let_in(world, site, there):
        if other.spec.agent == policy.spec.agent:
            continue
        for one in other.spec.subjects:
            account = one.service_account
            if (account.namespace, account.name) in mine:
                raise Blocked(
                    "SubjectTaken",
                    f"ServiceAccount {account.namespace}/{account.name} is agent {other.spec.agent} already, and an"
                    " account is one agent: name another one in spec.subjects",
                )


def let_in(world: World, site: Site, there: Sequence[str]) -> list[AgentPolicy]:
    """The AgentPolicies of those agents, as they are declared now."""
    glances = world.declared.policies_of(site.tenant.metadata.name)
    keys = [one.key for one in glances if one.agent in there and one.namespace == site.namespace]
    return [policy for policy in map(world.declared.policies.get, keys) if policy is not None]


async def take_back(world: World, claim: Claim, scope: Scope, agent: str | None = None) -> Mapping[str, str]:
    """Take an agent's files away, or everybody's; returns what is left. A Secret that is not ours stays as it is."""
    found = await _found(world, claim)
    if found is None or not objects.is_of(found, identity_of(claim)):
        return {}
    told = texts(found)
    data = agent_files.shut_out(told, agent) if agent is not None else {}
    if data and told == data:
        return data
    if data:
        await _write(world, claim, scope, data)
    else:
        await _delete(world, scope, found)
    return data


def _wanted(world: World, claim: Claim, data: Mapping[str, str]) -> dict[str, Any]:
    return agent_files.secret(identity_of(claim), world.settings.namespace, data)


async def _found(world: World, claim: Claim) -> Mapping[str, Any] | None:
    return await world.cluster.get(key_of(_wanted(world, claim, {})))


async def _write(world: World, claim: Claim, scope: Scope, data: Mapping[str, str]) -> None:
    secret = _wanted(world, claim, data)
    key = key_of(secret)
    # A hash of a password would be something to guess against: the names of the files do.
    inputs = {"key": str(key), "files": sorted(data)}
    step = Step(action="secret.apply", target=str(key), act=lambda: world.cluster.apply(secret), inputs=inputs)
    await take(world, scope, [step])


async def _delete(world: World, scope: Scope, found: Mapping[str, Any]) -> None:
    key, uid, version = key_of(found), found["metadata"]["uid"], found["metadata"]["resourceVersion"]
    step = Step(
        action="secret.delete",
        target=str(key),
        act=lambda: world.cluster.delete(key, uid=uid, resource_version=version),
        destructive=True,
    )
    await take(world, scope, [step])
