"""A Tenant that has nothing yet, where the registry knows of something that may be its own: nothing is made silently.

Asked before anything else is decided about a Tenant without a claim. It either gets the tenant that a person approved,
or is a new customer, or is held with words that say which command decides it. The registry's row, the facts of the
contract and the audit log are all that an adoption changes; the reconcile that follows heals the rest.
"""

from __future__ import annotations

from paybill.api.approval import Approval
from paybill.api.failures import Blocked
from paybill.api.tenant import Tenant
from paybill.control.claims import Claim
from paybill.desired import approval as approvals
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.lifecycle.binding import Binding
from paybill.reconcile.queue import Work
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.tenant_pass import Pass
from paybill.reconcile.world import World

WOKEN_WITHIN = 1.0
"""Seconds until an Approval of everything is looked at again: once for many Tenants that come back together."""


async def settle(world: World, tenant: Tenant, cause: str) -> Claim | None:
    """The claim that this Tenant takes over; None when it is a new customer.

    Raises Blocked (``AdoptionNotApproved``, ``TenantReplaced``) while a person has to decide.
    """
    if tenant.spec.id is not None:
        return await _by_id(world, tenant, tenant.spec.id)
    found = orphans(world, tenant)
    for orphan in found:
        if (approval := _approval(world, tenant, orphan.id)) is not None:
            return await adopt(world, tenant, orphan, approval)
    for orphan in found:
        if tenant.metadata.annotations.get(names.FRESH_ANNOTATION) != orphan.id:
            _wake_approvals(world)
            raise Blocked("TenantReplaced", _held(tenant, orphan))
        await _give_up(world, orphan, cause)
    return None


def orphans(world: World, tenant: Tenant) -> tuple[Claim, ...]:
    """The living rows of this Tenant's name whose Tenant had another UID, and so is not there any more."""
    named = world.registry.named(tenant.metadata.name)
    return tuple(one for one in named if one.state == "claimed" and one.tenant_uid != tenant.metadata.uid)


async def adopt(world: World, tenant: Tenant, claim: Claim, approval: Approval) -> Claim:
    """Hand a row of the registry to a Tenant, by an Approval that fits; audited."""
    metadata = approval.metadata

    async def act() -> Claim:
        return await world.adoptions.adopt(
            claim,
            name=tenant.metadata.name,
            uid=tenant.metadata.uid,
            approval=metadata.uid,
            continues=_contract(world, claim),
            now=world.now(),
            epoch=world.epoch,
        )

    step = Step(
        action="tenant.adopt",
        target=f"Tenant/{tenant.metadata.name}",
        act=act,
        inputs={"id": claim.id, "from": claim.tenant_uid, "to": tenant.metadata.uid, "approval": approval.spec.digest},
    )
    scope = Scope(cause=f"Approval/{metadata.name} {metadata.uid}", tenant_id=claim.id, cell=claim.cell)
    adopted: Claim = (await take(world, scope, [step]))[0]
    world.ready[adopted.id] = False
    world.queue.add(Work("Approval", metadata.name), f"Tenant/{tenant.metadata.name} was adopted")
    return adopted


async def continue_contract(world: World, current: Pass, binding: Binding) -> None:
    """The first Subscription of an adopted tenant goes on with the contract that came along, if it is the same one."""
    claim, bound = current.claim, binding.bound
    if claim is None or bound is None or claim.continues_uid in (None, bound.uid):
        return
    if bound.name != claim.subscription_name or world.facts.get(bound.uid) is not None:
        return
    step = Step(
        action="contract.continue",
        target=f"Subscription/{bound.name}",
        act=lambda: world.adoptions.continue_contract(claim, name=bound.name, uid=bound.uid, epoch=world.epoch),
        inputs={"from": claim.continues_uid, "to": bound.uid},
    )
    scope = Scope(cause=current.cause, tenant_id=claim.id, cell=claim.cell)
    current.claim = (await take(world, scope, [step]))[0]


async def _by_id(world: World, tenant: Tenant, wanted: str) -> Claim:
    """The row that a Tenant asks for with ``spec.id``."""
    claim = world.registry.by_id(wanted)
    refused = await _taken(world, claim) if claim is not None else await _unknown(world, wanted)
    asks = f"Tenant {tenant.metadata.name} asks for id {wanted}"
    if refused or claim is None:
        raise Blocked("AdoptionNotApproved", f"{asks}, but {refused}")
    approval = _approval(world, tenant, wanted)
    if approval is None:
        raise Blocked(
            "AdoptionNotApproved",
            f"{asks}: no Approval of that stands for this very object: `paybill adopt {tenant.metadata.name}` shows "
            "what would be adopted and writes one; or make the Tenant without spec.id to get a new id",
        )
    return await adopt(world, tenant, claim, approval)


async def _taken(world: World, claim: Claim) -> str:
    """Why nobody can adopt this row; empty when it is free."""
    if claim.drop_started_time is not None:
        return "its drop has begun: its data is gone; make a new Tenant without spec.id"
    if claim.state != "claimed":
        return ""
    # The cache leaves out what it cannot read; who is there is asked of the API server itself.
    found = await world.cluster.get(Key("Tenant", "", claim.tenant_name))
    if found is not None and found["metadata"]["uid"] == claim.tenant_uid:
        return f"Tenant {claim.tenant_name} has it: delete that one first (with deletionPolicy Retain to keep the data)"
    return ""


async def _unknown(world: World, wanted: str) -> str:
    """Why the registry's mirror does not hold this id."""
    found = await world.adoptions.state_of(wanted)
    if found is None:
        return "the registry knows no such tenant: check the id (`paybill audit log --tenant NAME` shows it)"
    state, installation = found
    if installation != world.settings.installation:
        return f"that tenant belongs to installation {installation}"
    if state == "dropped":
        return "that tenant's data was dropped: make a new Tenant without spec.id"
    await world.registry.refresh(wanted)
    return "the registry's row was changed elsewhere just now: it is looked at again"


def _approval(world: World, tenant: Tenant, tenant_id: str) -> Approval | None:
    name, uid = tenant.metadata.name, tenant.metadata.uid
    known = world.declared.approvals_of(name)
    return approvals.find(known, "Tenant", name, uid, approvals.adoption(tenant_id, uid), world.now())


def _contract(world: World, claim: Claim) -> str | None:
    """The contract that comes along: the one bound last, unless its deletion was asked for, which ended it."""
    facts = world.facts.get(claim.subscription_uid) if claim.subscription_uid else None
    return None if facts is None or facts.requested_end_time is not None else claim.subscription_uid


def _wake_approvals(world: World) -> None:
    """An Approval of everything that did not fit may fit now that one more Tenant is there."""
    for approval in world.declared.approvals_of(world.settings.installation):
        if approval.spec.subject.kind == "Installation" and approval.status.used_time is None:
            world.queue.add_within(Work("Approval", approval.metadata.name), WOKEN_WITHIN)


def _held(tenant: Tenant, orphan: Claim) -> str:
    name = tenant.metadata.name
    return (
        f"Tenant {name} has another UID than the one that the registry knows as tenant {orphan.id}, whose deletion "
        f"nobody asked for: nothing is made until you say which it is. `paybill adopt {name}` (or --all) gives it back "
        f"its data; `paybill adopt --fresh {name}` makes it a new customer and leaves {orphan.id} as it is"
    )


async def _give_up(world: World, orphan: Claim, cause: str) -> None:
    """A person said that the Tenant of this name is another customer: what the old one had stays as it is."""
    step = Step(
        action="tenant.release",
        target=f"Tenant/{orphan.tenant_name}",
        act=lambda: world.registry.release(orphan.id, epoch=world.epoch),
    )
    await take(world, Scope(cause=cause, tenant_id=orphan.id, cell=orphan.cell), [step])
