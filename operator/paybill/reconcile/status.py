"""What a reconcile established, as the status of a Tenant and of its Subscription. Pure: values in, values out.

The same words go into the condition, the Event and the log, so that a person who finds one finds the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from paybill.api import conditions as c
from paybill.api.base import ClaimReference
from paybill.api.conditions import Condition, ConditionStatus
from paybill.api.failures import Failure, Retry
from paybill.api.limits import Feature
from paybill.api.subscription import (
    Anchors,
    LastKnown,
    Next,
    ProviderStatus,
    Subscription,
    SubscriptionHold,
    SubscriptionStatus,
)
from paybill.api.tenant import (
    BindingReference,
    CredentialsStatus,
    Infrastructure,
    Move,
    Placement,
    ResolvedIsolation,
    Tenant,
    TenantPhase,
    TenantPlan,
    TenantStatus,
)
from paybill.billing.stripe_words import STATUSES
from paybill.control.claims import Claim
from paybill.desired import names
from paybill.lifecycle.change import Change
from paybill.lifecycle.collection import Collection
from paybill.lifecycle.contract import day
from paybill.lifecycle.known import Known
from paybill.lifecycle.phases import OVER, Access, Phase
from paybill.lifecycle.tenant import Course
from paybill.reconcile import pending_change, selling
from paybill.reconcile.contract import Standing

GUARDED = "Guarded"
DATABASE_READY = "DatabaseReady"
CREDENTIALS_FRESH = "CredentialsFresh"
SUSPENDED = "Suspended"
RESTRICTED = "Restricted"
BACKUP_FRESH = "BackupFresh"
DEGRADED = "Degraded"
ISOLATED = "Isolated"
LIMITS_EXCEEDED = "LimitsExceeded"
SUBSCRIPTION_MISSING = "SubscriptionMissing"
PLAN_MISSING = "PlanMissing"
UNKNOWN_TENANTS = "UnknownTenants"
PLAN_CURRENT = "PlanCurrent"
PAYMENT_CURRENT = "PaymentCurrent"
PROVIDER_REACHABLE = "ProviderReachable"
BILLED_AS_DECLARED = "BilledAsDeclared"
ANNOUNCED = "Announced"
COLLECTION_PAUSED = "CollectionPaused"
USAGE_TOLD = "UsageTold"
MASS_CHANGE = "MassChange"
MIGRATIONS_CURRENT = "MigrationsCurrent"
STORAGE_WITHIN_LIMIT = "StorageWithinLimit"
POOLER_READY = "PoolerReady"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One condition to set; ``status`` None removes it."""

    type: str
    status: ConditionStatus | None
    reason: str = ""
    message: str = ""


def outcome(failure: Failure | None, done: Fact) -> tuple[Fact, Fact, Fact]:
    """Ready, Reconciling and Stalled (kstatus) for a reconcile that ended with ``failure``, or with ``done``."""
    match failure:
        case None:
            idle = Fact(type=c.RECONCILING, status=c.FALSE, reason=done.reason)
            return done, idle, Fact(type=c.STALLED, status=c.FALSE, reason=done.reason)
        case Retry():
            return (
                Fact(type=c.READY, status=c.FALSE, reason=failure.reason, message=failure.message),
                Fact(type=c.RECONCILING, status=c.TRUE, reason=failure.reason, message=failure.message),
                Fact(type=c.STALLED, status=c.FALSE, reason="Progressing"),
            )
        case _:
            return (
                Fact(type=c.READY, status=c.FALSE, reason=failure.reason, message=failure.message),
                Fact(type=c.RECONCILING, status=c.FALSE, reason=failure.reason),
                Fact(type=c.STALLED, status=c.TRUE, reason=failure.reason, message=failure.message),
            )


def apply_facts(
    before: Iterable[Condition], facts: Iterable[Fact], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The conditions with every fact set or removed; those of others give way when there is no room for ours."""
    facts = tuple(facts)
    ours = {fact.type for fact in facts}
    after = tuple(before)
    if len(ours | {one.type for one in after}) > c.MOST_CONDITIONS:
        after = tuple(one for one in after if one.type in ours)
    for fact in facts:
        if fact.status is None:
            after = c.remove_condition(after, fact.type)
        else:
            after = c.set_condition(after, fact.type, fact.status, fact.reason, fact.message, generation, now)
    return after


def tenant_phase(
    course: Course, before: TenantPhase | None, *, complete: bool, deleting: bool, provisioned: bool
) -> TenantPhase:
    """How far a Tenant's infrastructure is; everything else is a condition.

    A reconcile that did not get through changes nothing: what was provisioned is still as ``before`` it.
    """
    if deleting:
        return "Deleting"
    if complete:
        return "Suspended" if course.stopped else "Active"
    if provisioned:
        return "Suspended" if before == "Suspended" else "Active"
    return "Provisioning" if course.build else "Pending"


def tenant_status(
    tenant: Tenant,
    claim: Claim | None,
    standing: Standing,
    course: Course,
    change: Change | None,
    failure: Failure | None,
    degraded: tuple[str, ...],
    now: datetime,
    *,
    infrastructure: Infrastructure | None = None,
    move: Move | None = None,
    beside: tuple[Fact, ...] = (),
    logins: CredentialsStatus | None = None,
    credentials: Fact | None = None,
) -> TenantStatus:
    """The status of a Tenant after a reconcile; ``beside``: conditions of its own infrastructure, which it may have.

    ``credentials``: how its ``logins`` are, where that is anything but handed out.
    """
    generation = tenant.metadata.generation
    complete = failure is None and course.build
    provisioned = claim is not None and claim.ready_time is not None
    if failure is None and not course.build:
        done = Fact(type=c.READY, status=c.FALSE, reason=course.reason, message=course.message)
    else:
        reason = "Suspended" if course.stopped else "Provisioned"
        done = Fact(type=c.READY, status=c.TRUE, reason=reason, message=course.message)
    aspects = _aspects(claim, standing, course, change, credentials, complete=complete)
    facts = [*outcome(failure, done), *aspects, *beside]
    if degraded:
        facts.append(Fact(type=DEGRADED, status=c.TRUE, reason="ManagedServer", message="; ".join(degraded)))
    elif failure is None:
        facts.append(Fact(type=DEGRADED, status=None))
    deleting = tenant.metadata.deletion_timestamp is not None
    away = claim is not None and claim.archived_time is not None and not course.build
    return TenantStatus(
        observed_generation=generation,
        phase="Archived"
        if away and not deleting
        else tenant_phase(course, tenant.status.phase, complete=complete, deleting=deleting, provisioned=provisioned),
        conditions=apply_facts(tenant.status.conditions, facts, generation, now),
        infrastructure=infrastructure,
        credentials=logins,
        move=move,
        **_place(claim, standing),
    )


def _place(claim: Claim | None, standing: Standing) -> dict[str, Any]:
    """The part of the status that mirrors the registry."""
    if claim is None:
        return {}
    shared = claim.compute == "Shared"
    bound = claim.subscription_uid and claim.subscription_name
    return {
        "id": claim.id,
        "subscription_ref": ClaimReference(name=claim.subscription_name, uid=claim.subscription_uid) if bound else None,
        "plan": TenantPlan(name=claim.plan_name, revision=claim.plan_revision) if claim.plan_name else None,
        "isolation": ResolvedIsolation(compute=claim.compute, database=claim.level),
        "placement": Placement(cell=claim.cell, server=claim.server, database=claim.pool_database),
        "namespace": names.pool_namespace(claim.cell) if shared else names.namespace(claim.id),
        "binding": BindingReference(name=names.binding(claim.id)) if claim.binding_uid else None,
        "deletion_scheduled_time": claim.drop_after or _archive_time(standing),
    }


def _archive_time(standing: Standing) -> datetime | None:
    """When the database of a contract that is over goes."""
    coming = standing.verdict.next if standing.verdict is not None else None
    return coming.time if coming is not None and coming.phase is Phase.ARCHIVED else None


def _aspects(
    claim: Claim | None,
    standing: Standing,
    course: Course,
    change: Change | None,
    credentials: Fact | None,
    *,
    complete: bool,
) -> Iterable[Fact]:
    """The conditions beside the three of kstatus."""
    if complete and claim is not None:
        shared = claim.compute == "Shared"
        guarded = "its compute is the provider's pool namespace" if shared else "the quota is enforced"
        yield Fact(type=GUARDED, status=c.TRUE, reason="SharedCompute" if shared else "Enforced", message=guarded)
        yield Fact(type=DATABASE_READY, status=c.TRUE, reason="Provisioned", message=f"level {claim.level}")
        yield credentials or Fact(type=CREDENTIALS_FRESH, status=c.TRUE, reason="Issued")
        stopped, read_only = course.stopped, course.effect.access is Access.READ_ONLY
        yield _held(SUSPENDED, stopped, course)
        yield _held(RESTRICTED, read_only, course)
    if claim is not None and claim.archived_time is not None:
        where = f"its data is in TenantBackup {claim.archive} only" if claim.archive else "its data is deleted"
        yield Fact(type=DATABASE_READY, status=c.FALSE, reason="Archived", message=where)
        yield Fact(type=GUARDED, status=None)
        yield Fact(type=CREDENTIALS_FRESH, status=None)
    missing = "the Subscription it was bound to is gone without a request: the last phase is held; apply it again"
    gone = c.TRUE if standing.missing else None
    yield Fact(type=SUBSCRIPTION_MISSING, status=gone, reason="Missing", message=missing)
    held = f"Plan {standing.plan_name} is gone; its kept revision is held"
    yield Fact(type=PLAN_MISSING, status=c.TRUE if standing.plan_missing else None, reason="Missing", message=held)
    if change is not None:
        waits = change.reason is not None
        yield Fact(
            type=PLAN_CURRENT,
            status=c.FALSE if waits else c.TRUE,
            reason=change.reason or "Current",
            message=change.message,
        )


def _held(kind: str, on: bool, course: Course) -> Fact:
    return Fact(type=kind, status=c.TRUE if on else None, reason=course.reason, message=course.message)


def subscription_status(
    subscription: Subscription, standing: Standing, tenant_uid: str | None, failure: Failure | None, now: datetime
) -> SubscriptionStatus:
    """The status of the bound Subscription, or of one that could not be bound (``failure`` says why)."""
    generation = subscription.metadata.generation
    verdict = standing.verdict
    phase = str(standing.phase or Phase.PENDING)
    done = Fact(type=c.READY, status=c.TRUE, reason=phase, message=standing.because)
    facts = list(outcome(failure, done))
    if verdict is not None:
        unpaid = verdict.outstanding or verdict.phase in OVER
        facts.append(
            Fact(
                type=PAYMENT_CURRENT,
                status=c.FALSE if unpaid else c.TRUE,
                reason=str(verdict.phase),
                message=verdict.because,
            )
        )
        facts.extend(_provider_facts(standing))
        facts.append(_announced(standing))
        facts.append(_usage_told(standing))
        facts.append(_collection(standing))
    return SubscriptionStatus(
        observed_generation=generation,
        phase=phase,
        tenant_uid=tenant_uid,
        provider=_provider(subscription, standing),
        holds=tuple(
            SubscriptionHold(
                source=one["source"],
                id=one["id"],
                blocks=one["blocks"],
                reason=one.get("reason"),
                since_time=one.get("since"),
            )
            for one in standing.said
        ),
        anchors=_anchors(standing),
        next=_next(standing),
        pending_change=pending_change.shown(subscription, standing),
        sold=selling.shown(standing.agreed),
        entitlements=_features(subscription, standing),
        conditions=apply_facts(subscription.status.conditions, facts, generation, now),
    )


def _provider_facts(standing: Standing) -> Iterable[Fact]:
    """Whether the payment provider's word is heard, and whether it bills what is sold; nothing if nobody is asked."""
    known, unheard = standing.known, standing.unheard
    if unheard is not None:
        yield Fact(type=PROVIDER_REACHABLE, status=c.FALSE, reason=unheard.reason, message=unheard.message)
    else:
        heard = c.TRUE if known is not None else None
        yield Fact(type=PROVIDER_REACHABLE, status=heard, reason="Answered", message=_heard(known))
    unbilled, agreed = standing.unbilled, standing.agreed
    if standing.unclear is not None:
        said = f"{standing.unclear.message}; what is sold stays as it is"
        yield Fact(type=BILLED_AS_DECLARED, status=c.FALSE, reason="BilledUnclear", message=said)
    elif agreed is not None:
        later = f"less is billed, and sold from {day(agreed.until)} on" if agreed.until is not None else ""
        yield Fact(type=BILLED_AS_DECLARED, status=c.TRUE, reason="BilledAsSold", message=later)
    elif unbilled is None:
        yield Fact(type=BILLED_AS_DECLARED, status=None)
    elif unbilled:
        yield Fact(type=BILLED_AS_DECLARED, status=c.FALSE, reason="BilledDifferently", message="; ".join(unbilled))
    else:
        yield Fact(type=BILLED_AS_DECLARED, status=c.TRUE, reason="BilledAsSold")


def _announced(standing: Standing) -> Fact:
    letters = f"{standing.untold} messages on it were not taken for days: paybill outbox list, paybill outbox retry"
    return Fact(type=ANNOUNCED, status=c.FALSE if standing.untold else None, reason="DeadLetters", message=letters)


def _usage_told(standing: Standing) -> Fact:
    found = standing.unreported
    if found is None:
        return Fact(type=USAGE_TOLD, status=None)
    if found.refused:
        said = f"Stripe refuses {found.refused} hours of its use, and is asked again: {found.words}"
        return Fact(type=USAGE_TOLD, status=c.FALSE, reason="UsageRefused", message=said)
    said = f"{found.lost} hours of its use were not told to Stripe in time, and are not billed"
    return Fact(type=USAGE_TOLD, status=c.FALSE, reason="UsageLost", message=said)


def _collection(standing: Standing) -> Fact:
    """Whether the payment provider collects nothing, why, and whose doing that is."""
    pause, due = standing.pause, standing.pause_due
    if pause is not None and pause.answer:
        on = pause.state in ("Paused", "Lifting")
        said = f"Stripe was to {'resume' if on else 'pause'} collecting, and is asked again: {pause.answer}"
        return Fact(type=COLLECTION_PAUSED, status=c.TRUE if on else c.FALSE, reason="PauseRefused", message=said)
    if pause is not None and pause.state in ("Paused", "Lifting"):
        said = f"the tenant cannot be made since {day(pause.since)}: Stripe collects nothing until it is Ready"
        return Fact(type=COLLECTION_PAUSED, status=c.TRUE, reason="ProvisioningFailed", message=said)
    if pause is not None and pause.state == "Lifted":
        said = "the tenant cannot be made, and somebody resumed collecting at Stripe: it stays so"
        return Fact(type=COLLECTION_PAUSED, status=c.FALSE, reason="ResumedAtStripe", message=said)
    if standing.collection is Collection.FOREIGN:
        said = "somebody paused collecting at Stripe: it is left as it is"
        return Fact(type=COLLECTION_PAUSED, status=c.TRUE, reason="PausedAtStripe", message=said)
    if due is not None:
        said = f"the tenant cannot be made: from {day(due)} on Stripe collects nothing until it is Ready"
        return Fact(type=COLLECTION_PAUSED, status=c.FALSE, reason="PauseComing", message=said)
    return Fact(type=COLLECTION_PAUSED, status=None)


def _heard(known: Known | None) -> str:
    if known is not None and known.raw not in STATUSES:
        return f"the provider says {known.raw}, which this version does not know: the last that is known holds"
    return ""


def _provider(subscription: Subscription, standing: Standing) -> ProviderStatus:
    """What the payment provider says; ``observed_time`` is of the answer that changed something, so it stays put."""
    known, name = standing.known, subscription.spec.payment.provider
    if known is None:
        return ProviderStatus(name=name)
    time = known.snapshot.provider_time
    end = known.snapshot.cancel_time
    last = LastKnown(status=str(known.snapshot.status), provider_time=time, cancel_time=end)
    return ProviderStatus(name=name, id=known.id, status=known.raw, observed_time=time, last_known=last)


def _anchors(standing: Standing) -> Anchors | None:
    if standing.verdict is None:
        return None
    return Anchors(
        trial_end_time=standing.verdict.trial_end,
        period_end_time=standing.verdict.period_end,
        past_due_since_time=standing.verdict.past_due_since,
        past_due_seen_time=standing.times.past_due,
        suspended_time=standing.times.suspended,
        ended_time=standing.times.ended,
        archived_time=standing.times.archived,
    )


def _next(standing: Standing) -> Next | None:
    coming = standing.verdict.next if standing.verdict else None
    if coming is None:
        return None
    return Next(phase=str(coming.phase), time=coming.time, because=coming.because)


def _features(subscription: Subscription, standing: Standing) -> tuple[Feature, ...]:
    """The entitlements as resolved; as they were while they cannot be."""
    if standing.entitlements is None:
        return subscription.status.entitlements
    return tuple(_feature(one.name, one.value) for one in standing.entitlements)


def _feature(name: str, value: bool | int | str) -> Feature:
    match value:
        case bool():
            return Feature(name=name, boolean=value)
        case int():
            return Feature(name=name, integer=value)
        case _:
            return Feature(name=name, string=value)
