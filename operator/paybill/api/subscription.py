"""Subscription: the contract of one Tenant to one Plan, with its payment state.

The phase is computed at every reconcile and never set by hand; ``status.anchors`` holds the moments it is computed
from. ``status.holds`` is the operator's, ``Tenant.spec.holds`` are people's: a spec owned by Git is never written.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from paybill.api.base import AGE, READY, REASON, ApiModel, Column, NameReference, PlanReference, Resource
from paybill.api.conditions import Conditions
from paybill.api.fields import Time
from paybill.api.limits import Feature, FeatureName
from paybill.api.rules import checks, list_map, list_set, rule, ruled
from paybill.api.tenant import HoldBlocks

SubscriptionPhase = Literal[
    "Pending", "AwaitingPayment", "Trialing", "Active", "PastDue", "Restricted", "Suspended", "Ended", "Archived",
    "Deleted", "Abandoned",
]  # fmt: skip
PlanChange = Literal["Immediately", "AfterPayment", "AtPeriodEnd"]
PaymentProvider = Literal["Manual", "Stripe"]
SoldAs = Literal["AsDeclared", "AsBilled"]

ProviderId = Annotated[str, Field(min_length=1, max_length=255, pattern="^[-_.A-Za-z0-9]+$")]
"""An id that a payment provider gave."""

MOST_UNITS = 1_000_000
MOST_ADD_ONS = 32
Quantity = Annotated[int, Field(ge=1, le=MOST_UNITS)]


class AddOn(ApiModel):
    """One add-on of the contract."""

    plan_ref: PlanReference
    """The Plan of type AddOn."""
    quantity: Quantity = 1
    """How many times its features and limits are added."""


class Entitlements(ApiModel):
    """How this contract differs from its Plan's features."""

    set: tuple[Feature, ...] = Field(default=(), max_length=128, json_schema_extra=list_map("name"))
    """Features added, or given another value."""
    remove: tuple[FeatureName, ...] = Field(default=(), max_length=128, json_schema_extra=list_set())
    """Names of features taken away."""


class Payment(ApiModel):
    """Who says whether the contract is paid."""

    model_config = ruled(
        rule(
            "self.provider != 'Manual' || (!has(self.subscription) && !has(self.customer))",
            "provider Manual has no subscription or customer: remove them, or choose provider Stripe",
        ),
        rule(
            "self.provider != 'Stripe' || (has(self.subscription) || has(self.customer))",
            "provider Stripe needs subscription (sub_...) or customer (cus_...)",
        ),
        rule(
            "self.provider == 'Manual' || !has(self.paidUntilTime)",
            "paidUntilTime belongs to provider Manual: Stripe says itself until when is paid; remove it",
        ),
        rule(
            "self.provider == 'Stripe' || self.sold != 'AsBilled'",
            "sold AsBilled needs a provider that says what is billed: choose provider Stripe, or sold AsDeclared",
        ),
    )

    provider: PaymentProvider = "Manual"
    """Manual: paidUntilTime says it. Stripe: Stripe says it."""
    paid_until_time: Time | None = None
    """Manual: paid until this moment, which itself is no longer paid."""
    subscription: ProviderId | None = None
    """Stripe: the subscription's id, sub_..."""
    customer: ProviderId | None = None
    """Stripe: the customer's id, cus_..."""
    sold: SoldAs = "AsDeclared"
    """AsDeclared: planRef, quantity and addOns say what is sold, and are compared with what is billed. AsBilled: what
    Stripe bills says it, by the prices of Plans; they count until it has."""


class SubscriptionSpec(ApiModel):
    """The contract of one Tenant to one Plan."""

    model_config = ruled(
        rule(
            "self.tenantRef == oldSelf.tenantRef",
            "tenantRef cannot be changed: a contract is with one tenant; make another Subscription instead",
        ),
        rule(
            "!has(self.cancelTime) || !self.cancelAtPeriodEnd",
            "cancelTime and cancelAtPeriodEnd exclude each other: write one of the two",
        ),
        rule(
            "!has(self.startTime) || !has(self.cancelTime) || self.startTime <= self.cancelTime",
            "cancelTime must not be before startTime",
        ),
        rule(
            "!has(self.planRef.revision) || !has(self.payment) || self.payment.sold != 'AsBilled'",
            "sold AsBilled follows a Plan and not a revision of it: remove planRef.revision",
        ),
    )

    tenant_ref: NameReference
    """The Tenant. Cannot be changed."""
    plan_ref: PlanReference
    """The Plan of type Base, and one revision of it if it is to be pinned."""
    plan_change: PlanChange = "Immediately"
    """When another Plan in planRef takes effect: at once, when more was paid than when it was written, or with the end
    of the period that was paid then. What is owed blocks a change in any case."""
    quantity: Quantity = 1
    """How many units are sold, such as seats; multiplies the features that are perUnit."""
    add_ons: tuple[AddOn, ...] = Field(
        default=(),
        max_length=MOST_ADD_ONS,
        json_schema_extra=checks(
            rule(
                "self.all(each, self.exists_one(other, other.planRef.name == each.planRef.name))",
                "each add-on may be named once: raise its quantity instead",
            )
        ),
    )
    """Add-ons, each named once."""
    start_time: Time | None = None
    """When the contract starts; absent: when it is made."""
    cancel_time: Time | None = None
    """When the contract ends."""
    cancel_at_period_end: bool = False
    """Whether the contract ends with the period that is paid."""
    entitlements: Entitlements = Field(default_factory=Entitlements)
    """How this contract differs from its Plan's features."""
    payment: Payment = Field(default_factory=Payment)
    """Who says whether the contract is paid."""


class LastKnown(ApiModel):
    """The newest answer of the provider that Paybill understood, by the provider's own time."""

    status: str
    """The provider's status, as it writes it."""
    provider_time: Time | None = None
    """The provider's own time of that status."""
    cancel_time: Time | None = None
    """As of when the provider is to cancel it."""


class ProviderStatus(ApiModel):
    """What the payment provider says."""

    name: PaymentProvider
    """The payment provider."""
    id: str | None = None
    """The provider's id of the subscription."""
    status: str | None = None
    """The provider's status, raw; an unknown one changes nothing."""
    observed_time: Time | None = None
    """When the provider was last asked."""
    last_known: LastKnown | None = None
    """The newest answer that was understood; the phase is computed from it."""


class Anchors(ApiModel):
    """The moments that deadlines are counted from."""

    trial_end_time: Time | None = None
    """When the trial ends."""
    period_end_time: Time | None = None
    """Until when is paid."""
    past_due_since_time: Time | None = None
    """Since when payment is late: the earliest due date that is still unpaid."""
    past_due_seen_time: Time | None = None
    """When Paybill first saw that payment is late."""
    suspended_time: Time | None = None
    """When the tenant was suspended."""
    ended_time: Time | None = None
    """When the contract ended."""
    archived_time: Time | None = None
    """When compute and database were deleted."""


class SubscriptionHold(ApiModel):
    """A hold that the operator set, such as a dispute at the payment provider."""

    source: Annotated[str, Field(max_length=63)]
    """Who set it, such as Dispute."""
    id: Annotated[str, Field(max_length=255)]
    """Tells holds of one source apart."""
    blocks: HoldBlocks
    """What it blocks."""
    reason: str | None = None
    """Why."""
    since_time: Time | None = None
    """Since when."""


class Next(ApiModel):
    """The next transition, if nothing changes before."""

    phase: SubscriptionPhase
    """The phase it leads to."""
    time: Time
    """When."""
    because: str | None = None
    """Why."""


class PendingChange(ApiModel):
    """Another Plan that was asked for and has not taken effect."""

    plan: str
    """The Plan."""
    since_time: Time
    """When it was asked for."""
    time: Time | None = None
    """When it takes effect; absent where that is not a matter of time."""


class SoldAddOn(ApiModel):
    """An add-on that is sold."""

    name: str
    """The Plan of type AddOn."""
    quantity: int
    """How many of it."""


class Sold(ApiModel):
    """What is sold, where what is billed says it."""

    plan: str
    """The Plan of type Base that is billed; the Tenant says which one it is on."""
    quantity: int
    """How many units; of the Plan that the Tenant is on, until it is on this one."""
    add_ons: tuple[SoldAddOn, ...] | None = Field(
        default=None, max_length=2 * MOST_ADD_ONS, json_schema_extra=list_map("name")
    )
    """Add-ons; absent where there are none."""
    until_time: Time | None = None
    """Less is billed by now, and this is sold until then."""


class SubscriptionStatus(ApiModel):
    """Where the contract stands."""

    observed_generation: int | None = None
    """The metadata.generation that this status is of."""
    phase: SubscriptionPhase | None = None
    """Where the contract stands: computed, never set by hand."""
    tenant_uid: str | None = Field(default=None, alias="tenantUID")
    """The metadata.uid of the Tenant this contract holds."""
    provider: ProviderStatus | None = None
    """What the payment provider says."""
    anchors: Anchors | None = None
    """The moments that deadlines are counted from."""
    holds: tuple[SubscriptionHold, ...] = Field(default=(), max_length=32, json_schema_extra=list_map("source", "id"))
    """Holds that the operator set."""
    next: Next | None = None
    """The next transition, if nothing changes before."""
    pending_change: PendingChange | None = None
    """Another Plan that was asked for and has not taken effect."""
    sold: Sold | None = None
    """What is sold, where payment.sold is AsBilled and Stripe has said it."""
    entitlements: tuple[Feature, ...] = Field(default=(), max_length=256, json_schema_extra=list_map("name"))
    """What the tenant is entitled to, resolved."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled, PaymentCurrent, ProviderReachable and others."""


class Subscription(Resource):
    """The contract of one Tenant to one Plan, with its payment state."""

    kind: ClassVar[str] = "Subscription"
    plural: ClassVar[str] = "subscriptions"
    singular: ClassVar[str] = "subscription"
    short_names: ClassVar[tuple[str, ...]] = ("sub",)
    selectable_fields: ClassVar[tuple[str, ...]] = (
        ".spec.tenantRef.name",
        ".spec.planRef.name",
        ".spec.payment.provider",
        ".status.phase",
    )
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Tenant", path=".spec.tenantRef.name"),
        Column(name="Plan", path=".spec.planRef.name"),
        Column(name="Phase", path=".status.phase"),
        READY,
        Column(name="Next", path=".status.next.phase", description="The phase that comes next"),
        Column(name="When", path=".status.next.time", description="When it comes"),
        REASON,
        Column(name="Provider", path=".spec.payment.provider", priority=1),
        AGE,
    )

    spec: SubscriptionSpec
    """The contract of one Tenant to one Plan."""
    status: SubscriptionStatus = Field(default_factory=SubscriptionStatus)
    """Where the contract stands."""
