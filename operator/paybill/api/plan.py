"""Plan: what is sold. Tier, isolation, limits, features, trial and payment policy.

A Plan is versioned by its content: the fields that change a tenant, as written, hashed. Names, prices and the way a
change rolls out are not part of it, and neither is any default, so that an operator upgrade rolls nobody.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from paybill.api.base import AGE, ApiModel, Column, Resource
from paybill.api.conditions import Conditions
from paybill.api.fields import DisplayName, Quantity, Time
from paybill.api.limits import Feature, Isolation, Limits
from paybill.api.network import Network, NetworkPeer
from paybill.api.policies import Backup, Payment, Rollout
from paybill.api.rules import list_map, rule, ruled

PlanType = Literal["Base", "AddOn"]
Measure = Literal["Storage", "Rows", "Connections"]

CONTENT = ("isolation", "limits", "network", "features", "trial_days", "payment", "backup")
"""The fields of a Plan that change a tenant; the revision covers these and nothing else."""

ADD_ON_FORBIDS = ("isolation", "network", "payment", "backup", "rollout", "meters")


class Price(ApiModel):
    """What a payment provider calls this Plan's price."""

    provider: Literal["Stripe"]
    """The payment provider."""
    id: Annotated[str, Field(min_length=1, max_length=255, pattern="^[-_.A-Za-z0-9]+$")]
    """The provider's id of the price, such as price_123."""


class Meter(ApiModel):
    """What of a tenant's use a payment provider is told, hour by hour."""

    model_config = ruled(
        rule(
            "!has(self.unit) || string(self.unit).matches('^[1-9][0-9]{0,14}(k|M|G|T|Ki|Mi|Gi|Ti)?$')",
            "unit must be a whole number from 1, with or without a suffix, such as 1000 or 1Gi",
        ),
    )

    provider: Literal["Stripe"]
    """The payment provider."""
    event: Annotated[str, Field(min_length=1, max_length=100, pattern="^[-_.A-Za-z0-9]+$")]
    """The event name of the provider's meter, such as tenant_storage."""
    usage: Measure
    """Storage: bytes of data. Rows: rows. Connections: the most sessions at a time. Each as measured in the hour."""
    unit: Quantity = "1"
    """How much of it counts as one, rounded up, such as 1Gi."""


class PlanSpec(ApiModel):
    """What is sold."""

    model_config = ruled(
        rule("self.type == 'AddOn' || has(self.isolation)", "isolation is required: write isolation.model"),
        rule(
            "self.type == 'Base' || (self.trialDays == 0 && "
            + " && ".join(f"!has(self.{field})" for field in ADD_ON_FORBIDS)
            + ")",
            "an AddOn carries only features and limits (and displayName, tier, prices): remove "
            + ", ".join(ADD_ON_FORBIDS)
            + " and trialDays, they belong to the Base plan",
        ),
        rule(
            "self.type == oldSelf.type",
            "type cannot be changed, Subscriptions rely on it: make another Plan instead",
        ),
    )

    type: PlanType = "Base"
    """Base: a Tenant can be put on it. AddOn: carries only features and limits, added times its quantity."""
    display_name: DisplayName | None = None
    """What people call the Plan."""
    tier: Annotated[str, Field(max_length=63, pattern="^([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)?$")] | None = None
    """A free label for metrics and reports."""
    isolation: Isolation | None = None
    """How far a tenant is kept apart from the others. Required for a Base plan."""
    limits: Limits = Field(default_factory=Limits)
    """What a tenant may use at most."""
    network: Network = Field(default_factory=Network)
    """What a tenant's pods may talk to, beside themselves, DNS and their database."""
    features: tuple[Feature, ...] = Field(default=(), max_length=128, json_schema_extra=list_map("name"))
    """What a tenant may do; handed to the application as its entitlements."""
    trial_days: Annotated[int, Field(ge=0, le=3_650)] = 0
    """Days of trial, counted from the moment the Tenant is Ready; 0: none."""
    payment: Payment = Field(default_factory=Payment)
    """What happens when payment is late, and when."""
    backup: Backup | None = None
    """When a tenant's data is backed up; absent: only before it is deleted."""
    rollout: Rollout = Field(default_factory=Rollout)
    """How a change of this Plan reaches its tenants."""
    prices: tuple[Price, ...] = Field(default=(), max_length=32, json_schema_extra=list_map("provider", "id"))
    """What payment providers call this Plan."""
    meters: tuple[Meter, ...] = Field(default=(), max_length=8, json_schema_extra=list_map("provider", "event"))
    """What payment providers are told of a tenant's use; absent: nothing. For Subscriptions with that provider."""


class PlanRollout(ApiModel):
    """A change of the Plan on its way to its tenants."""

    revision: str
    """The revision being rolled out."""
    start_time: Time | None = None
    """When the rollout began."""
    in_progress: int = 0
    """Tenants being changed now."""
    failed: int = 0
    """Tenants whose change failed."""
    paused: bool = False
    """Whether the rollout waits because a tenant's change failed."""


class PlanStatus(ApiModel):
    """What became of the Plan."""

    observed_generation: int | None = None
    """The metadata.generation that this status is of."""
    revision: str | None = None
    """The revision of the Plan's content: 10 hexadecimal digits."""
    tenants: int | None = None
    """Tenants on this Plan, at any revision."""
    updated: int | None = None
    """Tenants on this Plan at the current revision."""
    rollout: PlanRollout | None = None
    """The rollout that is under way."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled."""


class Plan(Resource):
    """What is sold: tier, isolation, limits, features, trial and payment policy."""

    kind: ClassVar[str] = "Plan"
    plural: ClassVar[str] = "plans"
    singular: ClassVar[str] = "plan"
    selectable_fields: ClassVar[tuple[str, ...]] = (".spec.type", ".spec.tier")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Type", path=".spec.type", priority=1),
        Column(name="Model", path=".spec.isolation.model", description="Pooled, Bridge or Silo"),
        Column(name="Revision", path=".status.revision", description="Revision of the Plan's content"),
        Column(name="Tenants", path=".status.tenants", type="integer"),
        Column(name="Updated", path=".status.updated", type="integer", description="Tenants at this revision"),
        AGE,
    )

    spec: PlanSpec
    """What is sold."""
    status: PlanStatus = Field(default_factory=PlanStatus)
    """What became of the Plan."""

    def content(self) -> dict[str, Any]:
        """What changes a tenant, as written: defaults are left out whoever filled them in, lists by name sorted."""
        written = self.spec.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude_defaults=True, include=set(CONTENT)
        )
        if "features" in written:
            written["features"].sort(key=lambda feature: feature["name"])
        return written

    def revision(self) -> str:
        """The first 10 hexadecimal digits of the SHA-256 of the content as canonical JSON."""
        canonical = json.dumps(self.content(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:10]


__all__ = [
    "Backup",
    "Feature",
    "Isolation",
    "Limits",
    "Network",
    "NetworkPeer",
    "Payment",
    "Plan",
    "PlanRollout",
    "PlanSpec",
    "PlanStatus",
    "PlanType",
    "Price",
    "Rollout",
]
