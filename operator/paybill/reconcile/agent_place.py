"""Whose database an AgentPolicy is about, and whether it may be about it."""

from __future__ import annotations

from paybill.api.agent_policy import AgentPolicy
from paybill.api.failures import Blocked, Failure, Retry
from paybill.api.tenant import Tenant
from paybill.control.claims import Claim
from paybill.reconcile import site
from paybill.reconcile.site import AGENT_LEVELS, Site
from paybill.reconcile.world import World


def place_of(world: World, policy: AgentPolicy, cause: str) -> Site:
    """The place of the tenant that ``policy`` names.

    Raises Retry while the tenant is not there or not ready, ``Blocked("WrongNamespace")`` when the object is not in
    that tenant's namespace, ``Blocked("IsolationTooLow")``, ``Blocked("AgentTaken")`` when an older AgentPolicy has the
    same agent.
    """
    tenant, claim = _claimed(world, policy)
    if tenant is None or tenant.metadata.deletion_timestamp is not None:
        raise Retry("NoTenant", f"there is no Tenant {policy.spec.tenant_ref.name}, or it goes")
    name = tenant.metadata.name
    if claim is None or claim.ready_time is None:
        raise Retry("TenantNotReady", f"Tenant {name} is not ready yet")
    if claim.level not in AGENT_LEVELS:
        raise Blocked(
            "IsolationTooLow",
            f"Tenant {name} has isolation {claim.level}: agents need a database or a server of the tenant's own; choose"
            " a Plan with isolation.database Database or Server",
        )
    found = site.of(world, tenant, claim, cause)
    if policy.metadata.namespace != found.namespace:
        raise Blocked(
            "WrongNamespace",
            f"it is in namespace {policy.metadata.namespace}, Tenant {name} is in {found.namespace}: make it there",
        )
    for one in world.declared.policies_of(name):
        if one.uid == policy.metadata.uid:
            break
        if one.agent == policy.spec.agent and one.namespace == found.namespace:
            raise Blocked("AgentTaken", f"AgentPolicy {one.key} is of agent {one.agent} already: choose another name")
    return found


def released(world: World, policy: AgentPolicy, cause: str) -> Site | None:
    """Where the agent of a policy that is being deleted has to be taken out; None where nothing of it can be.

    Raises Retry while that database is away.
    """
    try:
        return place_of(world, policy, cause)
    except Failure as failure:
        if isinstance(failure, Retry) and failure.reason == "ServerNotConnected":
            raise
        return None


def _claimed(world: World, policy: AgentPolicy) -> tuple[Tenant | None, Claim | None]:
    tenant = world.declared.tenants.get(policy.spec.tenant_ref.name)
    claim = world.registry.by_uid(tenant.metadata.uid) if tenant is not None else None
    return tenant, claim if claim is not None and claim.state == "claimed" else None
