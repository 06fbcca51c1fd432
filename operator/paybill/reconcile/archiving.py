"""What becomes of a contract that is over: notice, a proved backup, the archive, and back again for who pays.

The registry says where a tenant stands: ``archive`` names the backup that holds all of it, from right before anything
is dropped until its data is back. While it stands nothing is built but by a restore of that backup, so that no crash
and no payment, whenever it comes, opens an empty database to somebody who had a full one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from paybill.api.failures import Blocked, Retry
from paybill.api.tenant_restore import TenantRestore
from paybill.cluster.events import News
from paybill.control.claims import Claim
from paybill.control.facts import Facts, Tell
from paybill.desired import names
from paybill.desired.resource import Key
from paybill.lifecycle.announcement import Parties, archive_scheduled
from paybill.lifecycle.budget import DELETIONS
from paybill.lifecycle.contract import FOREVER, Contract, day
from paybill.lifecycle.phases import EFFECTS, Phase
from paybill.lifecycle.retention import Proofs, Wait, archive_due, delete_due, refuse_archive, refuse_delete
from paybill.lifecycle.terms import holds_of
from paybill.reconcile import dropping, final_backup
from paybill.reconcile.dropping import End
from paybill.reconcile.paying import operator_hold
from paybill.reconcile.queue import Work
from paybill.reconcile.steps import Scope, Step, take
from paybill.reconcile.telling import telling
from paybill.reconcile.tenant_pass import Pass
from paybill.reconcile.world import World

MANAGER = f"{names.MANAGER}-restores"
"""Writes what a TenantRestore asks for; the usual one owns its finalizer."""
NOTICE_AGAIN = 60.0
"""Seconds until it is asked again whether a notice was taken, where nothing else is missing."""


async def settle(world: World, current: Pass) -> None:
    """A tenant whose restore has ended is archived no more; asked before its contract is settled."""
    claim = current.claim
    if claim is None or claim.archive is None or claim.archived_time is None or claim.ready_time is None:
        return
    current.claim = await world.registry.update(claim.id, epoch=world.epoch, archive=None, archived_time=None)
    world.queue.add_within(Work("TenantBackup", claim.archive), final_backup.SPARE_WITHIN)


async def is_away(world: World, current: Pass) -> bool:
    """Whether the tenant is archived and stays so; for one that is paid again its restore is asked for."""
    claim, phase = current.claim, current.standing.phase
    if claim is None or not archived(claim):
        return False
    if claim.archived_time is None:
        claim = current.claim = await _finish(world, current, claim)
    if phase is None or not EFFECTS[phase].provision:
        await _delete(world, current, claim)
        return True
    if claim.archive is None:  # its last backup went with the contract before: this one begins anew
        current.claim = await world.registry.update(claim.id, epoch=world.epoch, archived_time=None)
        return False
    await _ask_for_restore(world, claim, claim.archive, current.cause)
    return False


def archived(claim: Claim) -> bool:
    """Whether the tenant has no database, or soon will not: nothing may be built as if it had one."""
    return claim.archive is not None or claim.archived_time is not None


async def advance(world: World, current: Pass) -> None:
    """Bring a stopped tenant whose contract is over into the archive, as far as it goes now.

    Raises Retry while its final backup is made, or it is not its turn; Blocked where a person must act.
    """
    claim, standing = current.claim, current.standing
    contract, facts = _contract(world, current), _facts(world, current)
    if claim is None or contract is None or facts is None or standing.phase is not Phase.ENDED:
        return
    if not current.course.stopped or standing.times.ended is None:
        return
    facts = await _notice(world, current, claim, contract, facts)
    wait = refuse_archive(contract, standing.phase, Proofs(noticed=facts.noticed_time), world.now())
    if wait is not None and wait.reason == "FinalBackup":
        name = final_backup.name_in_archive(claim, standing.times.ended)
        kept = f"Tenant {claim.tenant_name} is not archived"
        verified = await final_backup.proved(world, claim, name, current.cause, expires=None, kept=kept)
        proofs = Proofs(noticed=facts.noticed_time, verified=verified)
        wait = refuse_archive(contract, standing.phase, proofs, world.now())
        if wait is None:
            await _archive(world, current, claim, name, archive_due(contract))
    if wait is not None and wait.reason == "NoticeNotGiven":
        raise _unnoticed(world, claim)


def _unnoticed(world: World, claim: Claim) -> Blocked | Retry:
    """Why nobody was told that the data will be archived, where its Cell takes only a message for notice."""
    said = f"Tenant {claim.tenant_name} is not archived: Cell {claim.cell} takes only a message for notice"
    if world.announcing.endpoint is None:
        return Blocked(
            "NoticeNotGiven",
            f"{said} (spec.notices Outbox), and nobody is told anything: set PAYBILL_EVENTS_URL, or EventsOnly",
        )
    return Retry(
        "NoticeNotGiven", f"{said}, and it was not taken yet: `paybill outbox list` shows why", after=NOTICE_AGAIN
    )


def wake(world: World, current: Pass) -> datetime | None:
    """When time alone lets the next act of retention go on."""
    wait = _wait(world, current)
    return wait.until if wait is not None else None


def _wait(world: World, current: Pass) -> Wait | None:
    contract, phase, facts = _contract(world, current), current.standing.phase, _facts(world, current)
    if contract is None or phase is None or facts is None:
        return None
    if phase is Phase.ARCHIVED:
        return refuse_delete(contract, phase, world.now())
    return refuse_archive(contract, phase, Proofs(noticed=facts.noticed_time), world.now())


def _contract(world: World, current: Pass) -> Contract | None:
    """What retention depends on; of a Subscription that was deleted too, but not of one that vanished."""
    standing, facts = current.standing, _facts(world, current)
    if standing.plan is None or standing.missing or facts is None:
        return None
    return Contract(
        start=current.tenant.metadata.creation_timestamp or standing.times.ended or FOREVER,
        trial_days=0,
        policy=standing.plan.payment,
        snapshot=None,
        times=standing.times,
        holds=(*holds_of(current.tenant), *map(operator_hold, facts.holds)),
    )


def _facts(world: World, current: Pass) -> Facts | None:
    claim = current.claim
    return world.facts.get(claim.subscription_uid) if claim is not None and claim.subscription_uid else None


def _telling(world: World, claim: Claim, because: str) -> Tell | None:
    return telling(
        world,
        subscription=claim.subscription_name or "",
        tenant=claim.tenant_name,
        plan=claim.plan_name or "",
        because=because,
    )


def _scope(claim: Claim, cause: str) -> Scope:
    return Scope(cause=cause, tenant_id=claim.id, cell=claim.cell)


async def _notice(world: World, current: Pass, claim: Claim, contract: Contract, facts: Facts) -> Facts:
    """Tell, once for each end, when the data will be archived, in the way that its Cell takes for notice."""
    ended, due, cell = contract.times.ended, archive_due(contract), world.declared.cells.get(claim.cell)
    if ended is None or due is None or cell is None:
        return facts
    if facts.noticed_time is not None and facts.noticed_time >= ended:
        return facts
    if cell.spec.notices == "EventsOnly":
        return await _event(world, current, claim, contract, facts)
    return await _message(world, current, claim, contract, facts)


async def _event(world: World, current: Pass, claim: Claim, contract: Contract, facts: Facts) -> Facts:
    message = (
        f"its contract is over: on {day(archive_due(contract) or FOREVER)} at the earliest its data is backed up for "
        f"the last time and its database deleted; the backup is kept for {contract.policy.archive_days} days. Paying "
        "until then brings all back"
    )

    async def act() -> Facts:
        kept = await _noticed(world, facts, world.now())
        world.events.post(News(about=current.tenant, reason="ArchiveScheduled", message=message, warning=True))
        return kept

    step = Step(action="subscription.notice", target=f"Tenant/{claim.tenant_name}", act=act, inputs=message)
    kept: Facts = (await take(world, _scope(claim, current.cause), [step]))[0]
    return kept


async def _message(world: World, current: Pass, claim: Claim, contract: Contract, facts: Facts) -> Facts:
    """Notice by a message counts from when it was taken, not from when it was written."""
    outbox, ended, due = world.announcing.outbox, contract.times.ended, archive_due(contract)
    if world.announcing.endpoint is None or ended is None or due is None:
        return facts
    parties = Parties(
        subscription=claim.subscription_name or "",
        subscription_uid=facts.subscription_uid,
        tenant=claim.tenant_name,
        plan=claim.plan_name or "",
    )
    message = archive_scheduled(parties, ended, due, contract.policy.archive_days, world.now())
    known = await outbox.settled(message.id)
    if known is None:
        step = Step(
            action="subscription.notice",
            target=f"Tenant/{claim.tenant_name}",
            act=lambda: outbox.write(message, epoch=world.epoch),
            inputs=message.data,
        )
        await take(world, _scope(claim, current.cause), [step])
        return facts
    state, taken = known
    return await _noticed(world, facts, taken) if state == "Acknowledged" and taken is not None else facts


async def _noticed(world: World, facts: Facts, time: datetime) -> Facts:
    """Note since when its people know; what was told of another end is cleared first: a time that is set stays."""
    await world.facts.put(replace(facts, noticed_time=None), epoch=world.epoch)
    return await world.facts.put(replace(facts, noticed_time=time), epoch=world.epoch)


async def _archive(world: World, current: Pass, claim: Claim, backup: str, due: datetime | None) -> None:
    """Drop all but the backup; from ``begin`` on it is gone on with by whoever looks next."""
    end = End(
        begin=lambda: world.registry.update(claim.id, epoch=world.epoch, archive=backup),
        due=due,
        begun=claim.archive is not None,
    )
    await dropping.drop(world, claim, _scope(claim, current.cause), end)
    current.claim = await _gone(world, current, claim)
    away = f"its data is in TenantBackup {backup} only"
    current.course = replace(current.course, build=False, reason=str(Phase.ARCHIVED), message=away)


async def _finish(world: World, current: Pass, claim: Claim) -> Claim:
    """Go on with an archiving that was begun."""
    backup, contract = claim.archive, _contract(world, current)
    due = archive_due(contract) if contract is not None else None
    assert backup is not None  # noqa: S101 - it was begun
    await _archive(world, current, claim, backup, due)
    assert current.claim is not None  # noqa: S101 - it is what _archive made of it
    return current.claim


async def _gone(world: World, current: Pass, claim: Claim) -> Claim:
    """Everything but the backup is gone: what comes next comes as to a tenant that was never ready."""
    now, facts = world.now(), _facts(world, current)
    if facts is not None:
        await world.facts.put(
            replace(facts, phase=str(Phase.ARCHIVED), archived_time=facts.archived_time or now),
            epoch=world.epoch,
            tell=_telling(world, claim, "retention is over"),
        )
    written = await world.registry.update(
        claim.id, epoch=world.epoch, archived_time=now, ready_time=None, binding_uid=None, binding_version=None,
        credentials={},
    )  # fmt: skip
    world.ready.pop(claim.id, None)
    world.verifiers.pop(claim.id, None)
    world.queue.add(Work("Tenant", claim.tenant_name), "it is archived")
    return written


async def _delete(world: World, current: Pass, claim: Claim) -> None:
    """Delete the last backup when its days are over; what is left is the tombstone in registry and log."""
    contract, phase, facts, backup = (
        _contract(world, current),
        current.standing.phase,
        _facts(world, current),
        claim.archive,
    )
    if contract is None or phase is None or facts is None or backup is None:
        return
    if phase is Phase.DELETED:  # kept so before, and the registry had no answer: there is nothing to come back to
        current.claim = await world.registry.update(claim.id, epoch=world.epoch, archive=None)
        return
    if refuse_delete(contract, phase, world.now()) is not None:
        return

    async def act() -> None:
        found = world.declared.backups.get(backup)
        if found is not None and found.metadata.deletion_timestamp is None:
            key, metadata = Key("TenantBackup", "", backup), found.metadata
            await world.cluster.delete(key, uid=metadata.uid, resource_version=metadata.resource_version)
        deleted = replace(facts, phase=str(Phase.DELETED), deleted_time=world.now())
        tell = _telling(world, claim, "its days in the archive are over")
        await world.facts.put(deleted, epoch=world.epoch, tell=tell)
        current.claim = await world.registry.update(claim.id, epoch=world.epoch, archive=None)

    step = Step(
        action=DELETIONS.action,
        target=f"Tenant/{claim.tenant_name}",
        act=act,
        inputs={"id": claim.id, "backup": backup},
        budget=DELETIONS,
        due=delete_due(contract),
    )
    await take(world, _scope(claim, current.cause), [step])
    world.queue.add(Work("Tenant", claim.tenant_name), "its last backup is deleted")


async def _ask_for_restore(world: World, claim: Claim, backup: str, cause: str) -> None:
    """Write the TenantRestore that fills the tenant before anybody is let in, unless there is one."""
    found = world.declared.restores_into(claim.tenant_name, claim.id)
    if any(not one.dry_run and not one.deleting and one.created >= _since(claim) for one in found):
        return
    obj: dict[str, Any] = {
        "apiVersion": TenantRestore.api_version,
        "kind": "TenantRestore",
        "metadata": {"name": f"{backup}-back", "labels": {names.TENANT_LABEL: claim.id}},
        "spec": {"backupRef": {"name": backup}, "tenantRef": {"name": claim.tenant_name}},
    }
    step = Step(
        action="tenantRestore.create",
        target=f"TenantRestore/{backup}-back",
        act=lambda: world.cluster.apply(obj, manager=MANAGER),
        inputs=obj,
    )
    answer = (await take(world, _scope(claim, cause), [step]))[0]
    # Our own write is no news when its event comes, so it is begun from here.
    world.declared.put("TenantRestore", answer)
    world.queue.add(Work("TenantRestore", f"{backup}-back"), cause)


def _since(claim: Claim) -> datetime:
    """From when on a restore is of what is archived now."""
    assert claim.archived_time is not None  # noqa: S101 - asked for where it is archived
    return claim.archived_time.replace(microsecond=0)
