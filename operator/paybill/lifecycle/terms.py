"""The contract as the phase depends on it, from what the objects say and what was remembered.

The operator and the command line build it here alike: what ``paybill forecast`` says of the future is then what the
operator will find when it comes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from paybill.api.plan import PlanSpec
from paybill.api.subscription import Anchors, Subscription
from paybill.api.tenant import Tenant
from paybill.lifecycle.provider import Snapshot
from paybill.lifecycle.subscription import Contract, EffectTimes, Hold


def holds_of(tenant: Tenant) -> tuple[Hold, ...]:
    """The holds that people put on a Tenant."""
    return tuple(Hold(name=one.name, blocks=one.blocks, reason=one.reason or "") for one in tenant.spec.holds)


def terms(
    subscription: Subscription,
    plan: PlanSpec,
    tenant: Tenant,
    *,
    snapshot: Snapshot | None,
    times: EffectTimes,
    now: datetime,
    began: datetime | None = None,
) -> Contract:
    """Everything the phase of a Subscription depends on, as plain values.

    ``began`` is the start as it was remembered: the object may be younger than its contract. ``now`` counts where
    nothing says a start.
    """
    spec = subscription.spec
    return Contract(
        start=spec.start_time or began or subscription.metadata.creation_timestamp or now,
        trial_days=plan.trial_days,
        policy=plan.payment,
        snapshot=snapshot,
        times=times,
        holds=holds_of(tenant),
        cancel_time=spec.cancel_time,
        cancel_at_period_end=spec.cancel_at_period_end,
    )


def reported_times(subscription: Subscription, plan: PlanSpec) -> EffectTimes:
    """The effect times as the Subscription's status reports them, for who cannot read the control database."""
    anchors = subscription.status.anchors or Anchors()
    trial_end = anchors.trial_end_time
    return EffectTimes(
        ready=_days_before(trial_end, plan.trial_days) if trial_end is not None and plan.trial_days else None,
        past_due=anchors.past_due_seen_time,
        suspended=anchors.suspended_time,
        ended=anchors.ended_time,
        archived=anchors.archived_time,
        requested_end=subscription.metadata.deletion_timestamp,
    )


def _days_before(moment: datetime, days: int) -> datetime:
    """So many days earlier; where the calendar begins after that, its first moment: a status can be edited by hand."""
    try:
        return moment - timedelta(days=days)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)
