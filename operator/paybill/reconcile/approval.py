"""One Approval: have what it approves done, and say on it whether that happened, waits, or can never happen.

An Approval of one Tenant only wakes that Tenant, which looks for it, unless it erases one whose object is gone. One of
the whole installation is carried out here: its digest covers a list, the list is computed again, and if it is the same
its tenants are adopted in order. One of an agent's call is told to the database in which the run waits.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from paybill.api import conditions as c
from paybill.api.approval import Approval, ApprovalStatus
from paybill.api.failures import Blocked, Failure, Retry
from paybill.desired import approval as approvals
from paybill.lifecycle.adoption import Adoption, Present, Row, adoptions
from paybill.reconcile import adoption, agent_approval, erasure, report
from paybill.reconcile.queue import Work
from paybill.reconcile.status import Fact
from paybill.reconcile.world import World

TOGETHER = 20
"""Adoptions that are made side by side; between two such lots the Approval says how far it is."""
LOOK_AGAIN = 60.0
"""Seconds until an Approval that waits is looked at without a cause."""


async def reconcile(world: World, name: str, cause: str, *, deep: bool) -> datetime | None:  # noqa: ARG001
    """Carry out one Approval as far as that is possible now; returns when it expires."""
    approval = world.declared.approvals.get(name)
    if approval is not None and approval.metadata.deletion_timestamp is not None:
        await report.let_go(world, approval)  # we never hold one, but nobody else would ever take our finalizer off
    if approval is None or approval.metadata.deletion_timestamp is not None or approval.status.used_time is not None:
        return None
    if agent_approval.refused(approval):
        return None
    single = approval.spec.subject.kind == "Tenant"
    try:
        used = await _carried_out(world, approval, cause)
    except Failure as stopped:
        await _tell(world, approval, None, stopped)
        raise
    failure = None if used is not None else _waits(world, approval)
    await _tell(world, approval, used, failure)
    if isinstance(failure, Blocked):
        raise failure
    if used is None and single:
        world.queue.add(Work("Tenant", approval.spec.subject.name), f"Approval/{name}")
    return _look_again(approval, world.now()) if used is None else None


async def _carried_out(world: World, approval: Approval, cause: str) -> datetime | None:
    match approval.spec.subject.kind:
        case "Tenant":
            return await _single(world, approval, cause)
        case "Installation":
            return await _everything(world, approval)
        case "AgentRun":
            return await agent_approval.carried_out(world, approval, cause)


async def _single(world: World, approval: Approval, cause: str) -> datetime | None:
    """When what an Approval of one Tenant names was done; only an erasure is carried out from here."""
    if approval.spec.action is None and (done := _adopted(world, approval) or _built(world, approval)):
        return done
    return await erasure.carried_out(world, approval, f"Approval/{approval.metadata.name} {cause}")


def _look_again(approval: Approval, now: datetime) -> datetime:
    """When it expires, or in a minute: what it waits for may have come and gone without telling it."""
    soon = now + timedelta(seconds=LOOK_AGAIN)
    expires = approval.spec.expires_time
    return soon if expires is None else min(soon, expires)


def _adopted(world: World, approval: Approval) -> datetime | None:
    """When the one Tenant was adopted by this Approval."""
    claim = world.registry.by_uid(approval.spec.subject.uid or "")
    return claim.adopted_time if claim is not None and claim.adopted_by == approval.metadata.uid else None


def _built(world: World, approval: Approval) -> datetime | None:
    """When the changes of infrastructure that this Approval names were made."""
    claim = world.registry.by_uid(approval.spec.subject.uid or "")
    newest = world.operations.store.newest(claim.id) if claim is not None else None
    if newest is None or newest.state != "Succeeded" or newest.expected != approval.spec.digest:
        return None
    return newest.ended_time


def _waits(world: World, approval: Approval) -> Failure | None:
    """Why an Approval of one Tenant was not used: it waits, or it fits nothing that could ever be done."""
    subject, now = approval.spec.subject, world.now()
    if approvals.expired(approval, now):
        return Blocked("Expired", f"it expired at {approval.spec.expires_time} and was not used: make a new one")
    tenant = world.declared.tenants.get(subject.name)
    if tenant is None or tenant.metadata.uid != subject.uid:
        return Retry("NoTenant", f"there is no Tenant {subject.name} with UID {subject.uid}")
    if approval.spec.action == "Erase":
        return Blocked(
            "DigestMismatch",
            f"its digest is not that of the erasure of Tenant {subject.name}: `paybill erase {subject.name}` makes it",
        )
    claim = world.registry.by_uid(tenant.metadata.uid)
    newest = world.operations.store.newest(claim.id) if claim is not None else None
    if newest is not None and approval.spec.digest in (newest.changes_digest, newest.expected):
        return Retry("Waiting", f"Tenant {subject.name} is looked at")
    if newest is not None and newest.changes_digest is not None:
        return Blocked(
            "DigestMismatch",
            f"its digest is not that of the changes that wait for Tenant {subject.name}, {newest.changes_digest}: "
            "`paybill preview` shows them",
        )
    ids = {tenant.spec.id} if tenant.spec.id else {one.id for one in adoption.orphans(world, tenant)}
    if claim is not None or not ids:
        return Blocked("NothingToAdopt", f"Tenant {subject.name} asks for nothing that could be adopted")
    if approval.spec.digest not in {approvals.adoption(one, tenant.metadata.uid) for one in ids}:
        wanted = ", ".join(sorted(ids))
        return Blocked(
            "DigestMismatch", f"its digest is not that of id {wanted} for this Tenant: `paybill adopt` makes it"
        )
    return Retry("Waiting", f"Tenant {subject.name} is looked at")


async def _everything(world: World, approval: Approval) -> datetime:
    """Adopt all that the Approval lists; returns when the last one was. Raises Blocked when the list is another."""
    wanted = listed(world, approval)
    settings, uid = world.settings, approval.metadata.uid
    if approval.spec.subject.name != settings.installation:
        raise Blocked("OtherInstallation", f"this operator is installation {settings.installation}")
    done = {claim.id for claim in world.registry.all() if claim.adopted_by == uid}
    left = [one for one in wanted if one.id not in done]
    if approvals.adoptions(settings.installation, wanted) != approval.spec.digest:
        raise Blocked(
            "DigestMismatch",
            f"it lists other tenants than the {len(wanted)} that would be adopted now ({len(done)} were adopted by it, "
            f"{len(left)} wait): `paybill adopt --all` shows them and writes a new one",
        )
    if left and approvals.expired(approval, world.now()):
        raise Blocked(
            "Expired", f"it expired at {approval.spec.expires_time} with {len(left)} tenants left: make a new one"
        )
    for begin in range(0, len(left), TOGETHER):
        await _tell(
            world, approval, None, Retry("Adopting", f"{len(wanted) - len(left) + begin} of {len(wanted)} adopted")
        )
        results = [_one(world, one, approval) for one in left[begin : begin + TOGETHER]]
        for result in await asyncio.gather(*results, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
    return max((claim.adopted_time or world.now() for claim in world.registry.all() if claim.adopted_by == uid),
               default=world.now())  # fmt: skip


def listed(world: World, approval: Approval) -> tuple[Adoption, ...]:
    """What the Approval must list, as it stands now."""
    rows = (
        Row(id=claim.id, name=claim.tenant_name, uid=claim.tenant_uid, adopted_by=claim.adopted_by)
        for claim in world.registry.all()
        if claim.state == "claimed"
    )
    tenants = (
        Present(name=tenant.name, uid=tenant.uid, id=tenant.asked_id)
        for tenant in world.declared.tenants.glances()
        if not tenant.deleting
    )
    return adoptions(rows, tenants, approval.metadata.uid)


async def _one(world: World, wanted: Adoption, approval: Approval) -> None:
    tenant, claim = world.declared.tenants.get(wanted.name), world.registry.by_id(wanted.id)
    if tenant is None or claim is None or tenant.metadata.uid != wanted.uid:
        raise Retry("Conflict", f"Tenant {wanted.name} changed while tenants were adopted", after=0.5)
    await adoption.adopt(world, tenant, claim, approval)
    world.queue.add(Work("Tenant", wanted.name), f"Approval/{approval.metadata.name}")


async def _tell(world: World, approval: Approval, used: datetime | None, failure: Failure | None) -> None:
    """Say on the Approval how far it is."""
    done = Fact(type=c.READY, status=c.TRUE, reason="Used", message="what it approves was done")
    await report.tell(world, world.declared.approvals, approval, ApprovalStatus(used_time=used), failure, done)
