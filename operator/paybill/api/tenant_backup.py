"""TenantBackup: one backup of one tenant, as an object with its proof.

A run is an object: whoever wants a backup writes one, the schedule of a Plan writes them by itself, and the deletion of
a Tenant writes the last. It says nothing of where its files are, and it outlives its Tenant: the data goes when the
TenantBackup is deleted, and not before.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from paybill.api.base import AGE, READY, REASON, ApiModel, Column, NameReference, Resource
from paybill.api.conditions import Conditions
from paybill.api.fields import Time
from paybill.api.rules import rule, ruled

BackupReason = Literal["Manual", "Scheduled", "Final"]
BackupFormat = Literal["Dump", "Export"]
Count = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
"""A number of rows or bytes."""


class TenantBackupSpec(ApiModel):
    """Which tenant is backed up, and for how long that is kept."""

    model_config = ruled(
        rule(
            "has(oldSelf.expireTime) ? self == oldSelf : self.tenantRef == oldSelf.tenantRef "
            "&& self.reason == oldSelf.reason && self.format == oldSelf.format",
            "spec cannot be changed, but for an expireTime where there was none: a backup is of one moment; make a new "
            "one",
        )
    )

    tenant_ref: NameReference
    """The Tenant."""
    reason: BackupReason = "Manual"
    """Who asked for it: a person, the Plan's schedule (then the Plan's `keep` counts it), or the Tenant's deletion."""
    format: BackupFormat = "Dump"
    """Dump: what a restore needs. Export: that, and a zip file of CSV files that the customer can read without us."""
    expire_time: Time | None = None
    """When it is deleted with its data; absent: not by time. The last one of a tenant that came back from the archive
    is given one; while an archived tenant has nothing else, it is not deleted by time."""


class BackupPlan(ApiModel):
    """The Plan that the tenant was on."""

    name: str
    """The Plan's name."""
    revision: str | None = None
    """Its revision."""


class TenantBackupStatus(ApiModel):
    """How far it is, and what proves it."""

    observed_generation: int | None = None
    """The metadata.generation that this status is of."""
    tenant_id: str | None = None
    """The tenant's opaque id; a Tenant that adopts it is the same tenant."""
    tenant_uid: str | None = None
    """The UID of the Tenant that its database objects are marked with."""
    cell: str | None = None
    """The cell in whose store it is."""
    level: str | None = None
    """The database level that the data was on: Rows, Schema, Database or Server."""
    plan: BackupPlan | None = None
    """The Plan that the tenant was on."""
    started_time: Time | None = None
    """When it began."""
    completed_time: Time | None = None
    """When all of it was in the store."""
    verified_time: Time | None = None
    """When it had been restored to a scratch database and every count and checksum was the one taken before."""
    failed_time: Time | None = None
    """When it failed for good: nothing of it is kept."""
    step: str | None = None
    """What is being done: Counting, Dumping, Restoring, Comparing, Exporting."""
    done: Count | None = None
    """Bytes done of that step."""
    attempts: int | None = None
    """How often it was begun."""
    tables: int | None = None
    """Tables counted."""
    rows: Count | None = None
    """Rows counted."""
    size: Count | None = None
    """Bytes in the store."""
    server_version: str | None = None
    """The version of Postgres that it was taken of."""
    key: str | None = None
    """The id of the key that it is sealed with."""
    conditions: Conditions = ()
    """Ready (it is verified), Reconciling and Stalled."""


class TenantBackup(Resource):
    """One backup of one tenant."""

    kind: ClassVar[str] = "TenantBackup"
    plural: ClassVar[str] = "tenantbackups"
    singular: ClassVar[str] = "tenantbackup"
    short_names: ClassVar[tuple[str, ...]] = ("tb",)
    selectable_fields: ClassVar[tuple[str, ...]] = (".spec.tenantRef.name", ".spec.reason")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Tenant", path=".spec.tenantRef.name"),
        Column(name="For", path=".spec.reason"),
        Column(name="Step", path=".status.step"),
        Column(name="Rows", path=".status.rows", type="integer"),
        Column(name="Size", path=".status.size", type="integer"),
        Column(name="Verified", path=".status.verifiedTime", type="date"),
        READY,
        REASON,
        Column(name="Format", path=".spec.format", priority=1),
        Column(name="Id", path=".status.tenantId", priority=1),
        Column(name="Expires", path=".spec.expireTime", priority=1),
        AGE,
    )

    spec: TenantBackupSpec
    """Which tenant is backed up, and for how long that is kept."""
    status: TenantBackupStatus = Field(default_factory=TenantBackupStatus)
    """How far it is, and what proves it."""
