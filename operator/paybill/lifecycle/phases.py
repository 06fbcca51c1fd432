"""The phases of a Subscription and what each of them means for its Tenant.

A phase is computed at every reconcile, never set by hand. The table below is the whole of ``g(phase)``; the
meanings are those of docs/concepts/subscriptions.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """Where a Subscription stands."""

    PENDING = "Pending"
    AWAITING_PAYMENT = "AwaitingPayment"
    TRIALING = "Trialing"
    ACTIVE = "Active"
    PAST_DUE = "PastDue"
    RESTRICTED = "Restricted"
    SUSPENDED = "Suspended"
    ENDED = "Ended"
    ARCHIVED = "Archived"
    DELETED = "Deleted"
    ABANDONED = "Abandoned"


class Access(StrEnum):
    """What the tenant's logins may do in its database."""

    FULL = "Full"
    READ_ONLY = "ReadOnly"
    NONE = "None"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a phase calls for.

    ``provision``: a tenant that has nothing yet gets its infrastructure. ``pods``: its workloads may run.
    ``access``: its logins' rights. ``cost_raising``: a plan change that costs more may go ahead.
    """

    provision: bool
    pods: bool
    access: Access
    cost_raising: bool

    @property
    def app_access(self) -> str:
        """The word the tenant's app reads in its entitlements ConfigMap."""
        return {Access.FULL: "full", Access.READ_ONLY: "readonly", Access.NONE: "suspended"}[self.access]


# Nothing is built only to be stopped; what exists already is kept, without pods and without access.
_STOPPED = Effect(provision=False, pods=False, access=Access.NONE, cost_raising=False)
_FULL = Effect(provision=True, pods=True, access=Access.FULL, cost_raising=True)

EFFECTS: dict[Phase, Effect] = {
    Phase.PENDING: _STOPPED,
    Phase.AWAITING_PAYMENT: _STOPPED,
    Phase.TRIALING: _FULL,
    Phase.ACTIVE: _FULL,
    Phase.PAST_DUE: Effect(provision=True, pods=True, access=Access.FULL, cost_raising=False),
    Phase.RESTRICTED: Effect(provision=True, pods=True, access=Access.READ_ONLY, cost_raising=False),
    Phase.SUSPENDED: _STOPPED,
    Phase.ENDED: _STOPPED,
    Phase.ARCHIVED: _STOPPED,
    Phase.DELETED: _STOPPED,
    Phase.ABANDONED: _STOPPED,
}

OVER = frozenset({Phase.ENDED, Phase.ARCHIVED, Phase.DELETED, Phase.ABANDONED})
"""Phases of a contract that no longer runs: its claim on the Tenant may move to another Subscription. Until it does,
paying inside retention still brings it back."""
