"""Tenant: one customer organisation of the SaaS provider.

Its phase says only how far its infrastructure is; every other aspect is a condition. ``spec`` belongs to people and
their Git: the operator never writes it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from paybill.api.base import AGE, READY, REASON, ApiModel, ClaimReference, Column, NameReference, Resource
from paybill.api.conditions import Conditions
from paybill.api.fields import ONE_LINE, DisplayName, Line, Name, Time
from paybill.api.limits import Compute, DatabaseLevel
from paybill.api.rules import NAME_RULES, SUBDOMAIN_PATTERN, checks, list_map, rule, ruled

TenantPhase = Literal["Pending", "Provisioning", "Active", "Suspended", "Archived", "Deleting"]
DeletionPolicy = Literal["Retain", "Snapshot", "Delete"]
HoldBlocks = Literal["Changes", "Access", "Provisioning"]

ID_PATTERN = "^[0-9a-z]{8}$"

_PLACED = "has(oldSelf.status) && has(oldSelf.status.placement)"
_CELL_RULE = rule(
    "has(oldSelf.spec.cellRef) ? has(self.spec.cellRef) && self.spec.cellRef.name == oldSelf.spec.cellRef.name "
    f": !has(self.spec.cellRef) || !({_PLACED}) || self.spec.cellRef.name == oldSelf.status.placement.cell",
    "spec.cellRef cannot be changed or removed, and cannot be added once the tenant is placed elsewhere: moves across "
    "cells do not exist yet; make a new Tenant in the other cell",
)
_ID_RULE = rule(
    "has(oldSelf.spec.id) ? has(self.spec.id) && self.spec.id == oldSelf.spec.id "
    ": !has(self.spec.id) || (has(oldSelf.status) && has(oldSelf.status.id) && self.spec.id == oldSelf.status.id)",
    "spec.id cannot be changed or removed, and can be added later only as the id the tenant already has (status.id); "
    "to adopt another id make a new Tenant with it",
)


class Owner(ApiModel):
    """Who may act in the tenant's namespace, with Paybill's ClusterRole paybill-tenant-owner."""

    model_config = ruled(
        rule(
            "self.kind == 'ServiceAccount' ? has(self.__namespace__) : !has(self.__namespace__)",
            "namespace is required for a ServiceAccount, and only there",
        ),
        rule(
            "!self.name.startsWith('system:') "
            "|| (self.kind == 'User' && self.name.startsWith('system:serviceaccount:'))",
            "names that begin with system: are Kubernetes' own and may stand for everyone: name a person, a group of "
            "your identity provider, or a ServiceAccount",
        ),
        rule(
            f"self.kind != 'ServiceAccount' || self.name.matches('{SUBDOMAIN_PATTERN}')",
            "the name of a ServiceAccount must be lower-case letters, digits, '-' and '.', each part starting and "
            "ending with a letter or digit",
        ),
    )

    kind: Literal["User", "Group", "ServiceAccount"]
    """User, Group or ServiceAccount."""
    name: Annotated[str, Field(min_length=1, max_length=253, json_schema_extra=checks(ONE_LINE))]
    """The name as the API server knows it."""
    namespace: Name | None = None
    """The namespace of a ServiceAccount."""


class Hold(ApiModel):
    """A named reason to block, set by people; payment cannot lift it."""

    name: Name
    """Tells holds of one tenant apart."""
    blocks: HoldBlocks
    """Changes: no change of plan. Access: suspended. Provisioning: nothing new is made."""
    reason: Line | None = None
    """Why, for whoever has to lift it."""


class TenantSpec(ApiModel):
    """One customer organisation."""

    display_name: DisplayName | None = None
    """What people call the customer."""
    cell_ref: NameReference | None = None
    """Where the tenant lives; absent: the default cell that fits. Once set or placed it stays."""
    owners: tuple[Owner, ...] = Field(default=(), max_length=64, json_schema_extra=list_map("kind", "name"))
    """Who may act in the tenant's namespace; needs compute Namespace."""
    holds: tuple[Hold, ...] = Field(default=(), max_length=32, json_schema_extra=list_map("name"))
    """Named reasons to block, set by people; payment cannot lift them."""
    deletion_policy: DeletionPolicy = "Snapshot"
    """What a deletion leaves. Snapshot: a verified final backup, and the data until retention ends.
    Delete: nothing, at once. Retain: everything, as it is."""
    id: (
        Annotated[
            str,
            Field(
                max_length=8,
                json_schema_extra=checks(
                    rule(f"self.matches('{ID_PATTERN}')", "must be 8 characters of 0-9 and a-z, such as k3x9m2qd")
                ),
            ),
        ]
        | None
    ) = None
    """Adopts what carries this id; without effect until an Approval names it. Cannot be changed."""


class TenantPlan(ApiModel):
    """The Plan a tenant is on."""

    name: str
    """The Plan's name."""
    revision: str
    """The revision of the Plan's content that the tenant has."""


class ResolvedIsolation(ApiModel):
    """Isolation with every layer named."""

    compute: Compute
    """Where workloads run."""
    database: DatabaseLevel
    """What the tenant has of a database."""


class Placement(ApiModel):
    """Where the tenant is; mirrors the claim in the registry."""

    cell: str
    """The Cell's name."""
    server: str | None = None
    """The database server's name in that Cell."""
    database: str | None = None
    """The database on that server."""


class BindingReference(ApiModel):
    """The Secret handed to the application (https://servicebinding.io)."""

    name: str
    """The Secret's name, in the tenant's namespace."""


class Move(ApiModel):
    """A move of the tenant's data that is under way."""

    source: ResolvedIsolation | None = None
    """The isolation it leaves."""
    target: ResolvedIsolation | None = None
    """The isolation it goes to."""
    server: str | None = None
    """The server it goes to."""
    source_server: str | None = None
    """The server it leaves."""
    source_plan: TenantPlan | None = None
    """The Plan it was on when it began."""
    step: str | None = None
    """The step it is at: Prepare, Copy, Cutover or Keep."""
    mode: Literal["Online", "Offline"] | None = None
    """Online: copied while the tenant writes. Offline: copied while its logins are closed."""
    because: str | None = None
    """Why it is offline."""
    attempt: int | None = None
    """How often it was begun."""
    tables: int | None = None
    """Tables of the tenant."""
    tables_done: int | None = None
    """Tables whose rows are at the target, but for what changes."""
    rows: int | None = None
    """Rows that arrived; after the switch, rows that were compared."""
    rows_expected: int | None = None
    """About how many rows there are."""
    copied_bytes: int | None = None
    """Bytes of rows, as text, that the operator has copied; absent when the target's server copies them."""
    lag_bytes: int | None = None
    """Bytes of the source's log that the target has still to get."""
    estimated_time: Time | None = None
    """When the copy will be done if it goes on at this pace."""
    start_time: Time | None = None
    """When it began."""
    keep_until_time: Time | None = None
    """After the switch: when what the tenant left is dropped."""


class LoginStatus(ApiModel):
    """One of the tenant's logins."""

    slot: str
    """Which of its two slots is in use: a or b, the last letter of the login's name."""
    since_time: Time | None = None
    """When it was handed out."""
    previous_until_time: Time | None = None
    """When the slot before is closed at the latest; absent: it is closed."""


class CredentialsStatus(ApiModel):
    """The tenant's logins and their rotation."""

    app: LoginStatus | None = None
    """The app's."""
    ro: LoginStatus | None = None
    """The one that reads."""
    mig: LoginStatus | None = None
    """The one that makes tables; a tenant that shares tables has none."""
    acknowledged: Annotated[str, Field(max_length=256)] | None = None
    """The value of annotation paybill.dev/rotate that was taken up last."""


Verified = Literal["Render", "Emulator", "Cloud"]


class Infrastructure(ApiModel):
    """What an engine made for the tenant."""

    digest: str | None = None
    """Digest of the program and inputs that were applied."""
    stack: str | None = None
    """The engine's name for the tenant's stack."""
    operation: str | None = None
    """The operation that is running, or ran last."""
    verified: Verified | None = None
    """How far the program was verified."""


class TenantStatus(ApiModel):
    """How far the tenant is."""

    observed_generation: int | None = None
    """The metadata.generation that this status is of."""
    id: Annotated[str, Field(max_length=8)] | None = None
    """The tenant's opaque id; every physical name is made from it."""
    phase: TenantPhase | None = None
    """How far its infrastructure is; everything else is a condition."""
    subscription_ref: ClaimReference | None = None
    """The Subscription that holds this tenant."""
    plan: TenantPlan | None = None
    """The Plan the tenant is on."""
    isolation: ResolvedIsolation | None = None
    """The isolation the tenant has."""
    placement: Placement | None = None
    """Where the tenant is."""
    namespace: str | None = None
    """The tenant's namespace."""
    binding: BindingReference | None = None
    """The Secret handed to the application."""
    credentials: CredentialsStatus | None = None
    """Which logins are in use, and since when."""
    move: Move | None = None
    """A move of the tenant's data that is under way."""
    infrastructure: Infrastructure | None = None
    """What an engine made for the tenant."""
    deletion_scheduled_time: Time | None = None
    """When the tenant's data will be dropped."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled, Guarded, DatabaseReady, CredentialsFresh, Isolated, Suspended and others."""


class Tenant(Resource):
    """One customer organisation of the SaaS provider."""

    model_config = ruled(*NAME_RULES, _CELL_RULE, _ID_RULE)

    kind: ClassVar[str] = "Tenant"
    plural: ClassVar[str] = "tenants"
    singular: ClassVar[str] = "tenant"
    short_names: ClassVar[tuple[str, ...]] = ("tn",)
    selectable_fields: ClassVar[tuple[str, ...]] = (
        ".spec.cellRef.name",
        ".status.id",
        ".status.phase",
        ".status.namespace",
        ".status.plan.name",
    )
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Phase", path=".status.phase"),
        READY,
        Column(name="Plan", path=".status.plan.name"),
        Column(name="Compute", path=".status.isolation.compute"),
        Column(name="Database", path=".status.isolation.database"),
        Column(name="Namespace", path=".status.namespace"),
        REASON,
        Column(name="Cell", path=".status.placement.cell", priority=1),
        Column(name="Server", path=".status.placement.server", priority=1),
        AGE,
    )

    spec: TenantSpec
    """One customer organisation."""
    status: TenantStatus = Field(default_factory=TenantStatus)
    """How far the tenant is."""
