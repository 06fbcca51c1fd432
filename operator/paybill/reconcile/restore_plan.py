"""What one TenantRestore means: which backup, whose place, and whether anything forbids it; nothing is changed here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from paybill.api.failures import Blocked, Invalid, Retry
from paybill.api.tenant_restore import TenantRestore
from paybill.backups import backup as backups
from paybill.backups.manifest import Manifest
from paybill.backups.restore import refuse_unfit
from paybill.backups.restoring import Restore, Target
from paybill.backups.sealing import Keyring
from paybill.backups.store import Store
from paybill.control.claims import Claim
from paybill.desired.resource import Key
from paybill.migrations.syntax import SyntaxTrouble, statements
from paybill.reconcile import backup_store, own_place
from paybill.reconcile.servers import Attached
from paybill.reconcile.world import World

SOON = 5.0
"""Seconds until one looks again that waits for its Tenant, or for its turn."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a backup lies: in the store of which cell, of which tenant, under which name."""

    cell: str
    tenant_id: str
    backup: str | None
    """None: the newest."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One restore with all that it needs."""

    origin: Origin
    known: Manifest
    claim: Claim
    attached: Attached
    restore: Restore


async def wanted(world: World, asked: TenantRestore) -> Wanted:
    """What is asked for; raises Blocked or Invalid when it may not be, Retry when not yet."""
    origin = _origin(world, asked)
    claim = target_of(world, asked, origin)
    _refuse_unconfirmed(asked, claim)
    _refuse_busy(world, asked, claim)
    scrub = await _scrub(world, asked)
    store, keyring = await backup_store.opened(world, origin.cell)
    known = await _manifest(world, store, keyring, origin)
    if not await own_place.connected(world, claim):
        raise Retry("RestoreWaits", f"Tenant {claim.tenant_name} has no database yet", after=SOON)
    attached = world.servers.of(claim)
    observed = await attached.seen(claim.id)
    if observed is None or observed.absent:
        raise Retry("RestoreWaits", f"Tenant {claim.tenant_name} has nothing in its database yet", after=SOON)
    made = Restore(
        job=asked.metadata.uid,
        store=store,
        keyring=keyring,
        known=known,
        target=place_of(attached, claim),
        fence=partial(world.fence, attached.server),
        scrub=scrub,
    )
    refuse_unfit(made)
    return Wanted(origin=origin, known=known, claim=claim, attached=attached, restore=made)


def place_of(attached: Attached, claim: Claim) -> Target:
    """Where a tenant's data lies, as a restore takes it."""
    return Target(server=attached.server, pool=attached.pool, tenant=claim.id, uid=claim.origin_uid)


def _origin(world: World, asked: TenantRestore) -> Origin:
    stored, reference = asked.spec.stored, asked.spec.backup_ref
    if stored is not None:
        # What was the newest when it began is what is restored to the end.
        return Origin(
            cell=stored.cell_ref.name, tenant_id=stored.tenant_id, backup=stored.backup or asked.status.backup
        )
    name = reference.name if reference is not None else ""
    backup = world.declared.backups.get(name)
    if backup is None:
        raise Blocked(
            "NoBackup",
            f"there is no TenantBackup {name}: `paybill backups` lists them; if only its object is gone, name what is"
            " in the store with spec.stored",
        )
    status = backup.status
    if status.tenant_id is None or status.cell is None or status.verified_time is None:
        if status.failed_time is not None:
            raise Blocked("BackupNotVerified", f"TenantBackup {name} failed: there is nothing to restore from it")
        raise Retry("BackupNotVerified", f"TenantBackup {name} is not verified yet", after=SOON)
    if backup.metadata.deletion_timestamp is not None:
        raise Blocked("NoBackup", f"TenantBackup {name} is being deleted, and its data with it")
    return Origin(cell=status.cell, tenant_id=status.tenant_id, backup=backup.metadata.uid)


def target_of(world: World, asked: TenantRestore, origin: Origin) -> Claim:
    """The claim of the tenant that gets the data."""
    reference = asked.spec.tenant_ref
    if reference is None:
        claim = world.registry.by_id(origin.tenant_id)
        if claim is None or claim.state != "claimed":
            raise Blocked(
                "NoTenant",
                f"tenant {origin.tenant_id}, which the backup was taken of, has no Tenant: `paybill undelete` brings it"
                " back while its data is kept; else name another one, which may be new, in spec.tenantRef",
            )
        name = claim.tenant_name
    else:
        name = reference.name
    tenant = world.declared.tenants.get(name)
    if tenant is None:
        raise Retry("NoTenant", f"there is no Tenant {name}: apply it, with a Subscription", after=SOON)
    if tenant.metadata.deletion_timestamp is not None:
        raise Blocked("NoTenant", f"Tenant {name} is being deleted")
    found = world.registry.by_uid(tenant.metadata.uid)
    if found is None or found.plan_name is None:
        raise Retry("RestoreWaits", f"Tenant {name} has no place yet: it needs a Subscription", after=SOON)
    if asked.status.tenant_id not in (None, found.id):
        raise Blocked("TenantReplaced", f"Tenant {name} is another one ({found.id}) than when this restore began")
    return found


def _refuse_unconfirmed(asked: TenantRestore, claim: Claim) -> None:
    """A tenant that was ever ready has data, or an app that believes so: only its name, said again, replaces it."""
    if claim.ready_time is None or asked.spec.dry_run or asked.spec.confirm == claim.tenant_name:
        return
    said = asked.spec.confirm
    raise Blocked(
        "RestoreNotConfirmed",
        f"this replaces all that Tenant {claim.tenant_name} has, and spec.confirm "
        + (f"says {said}" if said is not None else "is missing")
        + f": write another TenantRestore with `confirm: {claim.tenant_name}`",
    )


def _refuse_busy(world: World, asked: TenantRestore, claim: Claim) -> None:
    """One thing at a time exchanges what a tenant has."""
    row = world.moves.of(claim.id)
    if row is not None and row.step != "Keep":
        raise Retry("RestoreWaits", f"Tenant {claim.tenant_name} is being moved", after=SOON)
    for other in world.declared.restores_into(claim.tenant_name, claim.id):
        if other.uid != asked.metadata.uid and other.open and other.stage and not other.deleting:
            raise Retry("RestoreWaits", f"TenantRestore {other.name} has Tenant {claim.tenant_name}", after=SOON)


async def _manifest(world: World, store: Store, keyring: Keyring, origin: Origin) -> Manifest:
    installation, tenant = world.settings.installation, origin.tenant_id
    if origin.backup is not None:
        return await backups.read_manifest(store, keyring, installation, tenant, origin.backup)
    return await backups.newest(store, keyring, installation, tenant)


async def _scrub(world: World, asked: TenantRestore) -> str:
    """The script; raises Invalid (``ScrubRefused``) when it is no SQL, or would end the transaction that it runs in."""
    declared = asked.spec.scrub
    if declared is None:
        return ""
    sql, reference = declared.sql, declared.config_map_ref
    if reference is not None:
        key = Key("ConfigMap", world.settings.namespace, reference.name)
        found = await world.cluster.get(key)
        sql = ((found or {}).get("data") or {}).get(reference.key)
        if sql is None:
            raise Invalid("ScrubRefused", f"{key} has no key {reference.key}: put the script there")
    try:
        parsed = statements(sql or "")
    except SyntaxTrouble as trouble:
        raise Invalid("ScrubRefused", f"the scrub is no SQL: {trouble}, in line {trouble.line}") from None
    ending = next((one for one in parsed if one.kind == "TransactionStmt"), None)
    if ending is not None:
        raise Invalid(
            "ScrubRefused", f"line {ending.line} of the scrub begins or ends a transaction: all of it is one already"
        )
    return sql or ""
