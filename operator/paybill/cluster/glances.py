"""What is asked of all Tenants, or of all Subscriptions of a Plan, at once: a few fields of each, kept beside its text.

A glance is made when its object comes in and never changes; another one in its place means that the object changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from paybill.api.agent_policy import AgentPolicy
from paybill.api.conditions import STALLED, TRUE, find_condition
from paybill.api.plan import Plan
from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.api.tenant_backup import TenantBackup
from paybill.api.tenant_restore import TenantRestore
from paybill.desired.names import PAUSED_ANNOTATION
from paybill.lifecycle.sale import Listed
from paybill.lifecycle.subscription import Hold
from paybill.lifecycle.terms import holds_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantGlance:
    """A Tenant at a glance. ``true`` are the types of its conditions that are True."""

    name: str
    uid: str
    asked_id: str | None
    phase: str
    compute: str
    database: str
    true: frozenset[str]
    deleting: bool
    paused: bool
    holds: tuple[Hold, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionGlance:
    """A Subscription at a glance: which Tenant and Plans it names, and the revision it is pinned to."""

    name: str
    tenant: str
    plans: frozenset[str]
    pinned: str | None
    payers: frozenset[str]
    """The ids by which a payment provider knows it."""
    unclear: bool = False
    """Whether what is billed for it means nothing as yet, and so may mean something with another Plan."""


_SHARED: dict[frozenset[str], frozenset[str]] = {}
"""Ten thousand tenants have the same few sets of conditions and Plans: each is kept once."""
_SHARED_AT_MOST = 4096


def glance_at_tenant(tenant: Tenant) -> TenantGlance:
    """The glance of a Tenant as it is now."""
    status, isolation = tenant.status, tenant.status.isolation
    return TenantGlance(
        name=tenant.metadata.name,
        uid=tenant.metadata.uid,
        asked_id=tenant.spec.id,
        phase=status.phase or "Pending",
        compute=isolation.compute if isolation else "",
        database=isolation.database if isolation else "",
        true=_shared(frozenset(one.type for one in status.conditions if one.status == TRUE)),
        deleting=tenant.metadata.deletion_timestamp is not None,
        paused=tenant.metadata.annotations.get(PAUSED_ANNOTATION) == "true",
        holds=holds_of(tenant),
    )


def glance_at_subscription(subscription: Subscription) -> SubscriptionGlance:
    """The glance of a Subscription as it is now."""
    spec, sold = subscription.spec, subscription.status.sold
    named = {spec.plan_ref.name, *(add_on.plan_ref.name for add_on in spec.add_ons)}
    named |= {sold.plan, *(add_on.name for add_on in sold.add_ons or ())} if sold is not None else set()
    billed = find_condition(subscription.status.conditions, "BilledAsDeclared")
    return SubscriptionGlance(
        name=subscription.metadata.name,
        tenant=spec.tenant_ref.name,
        plans=_shared(frozenset(named)),
        pinned=spec.plan_ref.revision,
        payers=frozenset(one for one in (spec.payment.subscription, spec.payment.customer) if one is not None),
        unclear=billed is not None and billed.reason == "BilledUnclear",
    )


def _shared(values: frozenset[str]) -> frozenset[str]:
    if len(_SHARED) >= _SHARED_AT_MOST:
        _SHARED.clear()
    return _SHARED.setdefault(values, values)


def glance_at_plan(plan: Plan) -> Listed:
    """A Plan as a payment provider bills it."""
    prices = frozenset(price.id for price in plan.spec.prices if price.provider == "Stripe")
    return Listed(plan=plan.metadata.name, base=plan.spec.type == "Base", prices=prices)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupGlance:
    """A TenantBackup at a glance: whose it is by id, and whether it is proved."""

    name: str
    uid: str
    tenant: str
    tenant_id: str | None
    reason: str
    created: datetime
    started: datetime | None
    verified: datetime | None
    stalled: str
    """Why it cannot go on, as its condition says it; empty when it can."""
    failed: str
    """The same, when it has failed for good (a final one: for now)."""
    deleting: bool


def glance_at_backup(backup: TenantBackup) -> BackupGlance:
    """The glance of a TenantBackup as it is now."""
    status, found = backup.status, find_condition(backup.status.conditions, STALLED)
    stalled = found.reason if found is not None and found.status == TRUE else ""
    return BackupGlance(
        name=backup.metadata.name,
        uid=backup.metadata.uid,
        tenant=backup.spec.tenant_ref.name,
        tenant_id=status.tenant_id,
        reason=backup.spec.reason,
        created=backup.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC),
        started=status.started_time,
        verified=status.verified_time,
        stalled=stalled,
        failed=stalled if status.failed_time is not None else "",
        deleting=backup.metadata.deletion_timestamp is not None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreGlance:
    """A TenantRestore at a glance: whose data it replaces, and how far it is."""

    name: str
    uid: str
    tenant: str | None
    """The Tenant that it names; None: the one that the backup was taken of."""
    tenant_id: str | None
    """The id of the one that it was begun for."""
    created: datetime
    stage: str
    restored: datetime | None
    failed: str
    """Why it failed for good; empty when it did not."""
    dry_run: bool
    deleting: bool

    @property
    def open(self) -> bool:
        """Whether it will still do something."""
        return self.restored is None and not self.failed and not self.dry_run

    def goes_into(self, tenant: str, tenant_id: str | None) -> bool:
        """Whether it is this Tenant's data that it replaces."""
        if self.tenant_id is not None:
            return self.tenant_id == tenant_id
        return self.tenant == tenant


def glance_at_restore(restore: TenantRestore) -> RestoreGlance:
    """The glance of a TenantRestore as it is now."""
    spec, status = restore.spec, restore.status
    found = find_condition(status.conditions, STALLED)
    return RestoreGlance(
        name=restore.metadata.name,
        uid=restore.metadata.uid,
        tenant=spec.tenant_ref.name if spec.tenant_ref is not None else None,
        tenant_id=status.tenant_id,
        created=restore.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC),
        stage=status.stage or "",
        restored=status.restored_time,
        failed=(found.reason if found is not None else "Failed") if status.failed_time is not None else "",
        dry_run=spec.dry_run,
        deleting=restore.metadata.deletion_timestamp is not None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyGlance:
    """An AgentPolicy at a glance: which agent of which Tenant it is about."""

    key: str
    uid: str
    tenant: str
    agent: str
    namespace: str
    created: datetime
    let_in: bool
    """Whether its agent was ever let in."""
    deleting: bool


def glance_at_policy(policy: AgentPolicy) -> PolicyGlance:
    """The glance of an AgentPolicy as it is now."""
    return PolicyGlance(
        key=policy.metadata.key,
        uid=policy.metadata.uid,
        tenant=policy.spec.tenant_ref.name,
        agent=policy.spec.agent,
        namespace=policy.metadata.namespace,
        created=policy.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC),
        let_in=policy.status.login is not None,
        deleting=policy.metadata.deletion_timestamp is not None,
    )
