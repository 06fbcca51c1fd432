"""TenantRestore: one backup put into one tenant's place, as an object with its proof.

A run is an object, as a TenantBackup is: whoever wants a restore writes one, and it is carried out once. In place it
replaces all that the tenant has, so it has to name that tenant once more; a Tenant that was never ready is filled by
it, and nobody is let in before. Nothing is replaced by half, and nothing that was not proved.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from paybill.api.base import AGE, READY, REASON, ApiModel, Column, NameReference, Resource
from paybill.api.conditions import Conditions
from paybill.api.fields import KeyName, Name, Time
from paybill.api.rules import checks, rule, ruled
from paybill.api.tenant_backup import Count

MOST_SQL = 65_536
"""Characters of a scrub that is written into the object; a longer one is kept in a ConfigMap."""


class StoredBackup(ApiModel):
    """A backup whose TenantBackup is gone, found by where it lies in a Cell's store."""

    cell_ref: NameReference
    """The Cell in whose store it is."""
    tenant_id: Annotated[
        str,
        Field(
            max_length=8,
            json_schema_extra=checks(
                rule("self.matches('^[0-9a-z]{8}$')", "must be a tenant's id: 8 digits or lower-case letters")
            ),
        ),
    ]
    """The id of the tenant that it was taken of."""
    backup: Name | None = None
    """Its folder there, which is the UID that its TenantBackup had; absent: the newest one of that tenant."""


class ScrubKeyReference(ApiModel):
    """Names one key of a ConfigMap in the operator's own namespace; no other namespace can be named."""

    name: Name
    """The ConfigMap's metadata.name."""
    key: KeyName
    """The key inside the ConfigMap."""


class Scrub(ApiModel):
    """SQL that is run on what was restored before anybody is let in, by a login of the tenant's own."""

    model_config = ruled(
        rule(
            "has(self.sql) != has(self.configMapRef)",
            "give sql or configMapRef, and not both: it is one script",
        )
    )

    sql: Annotated[str, Field(min_length=1, max_length=MOST_SQL)] | None = None
    """The SQL itself; it runs in one transaction, so it may not begin or end one."""
    config_map_ref: ScrubKeyReference | None = None
    """Where the SQL is."""


class TenantRestoreSpec(ApiModel):
    """Which backup goes into which tenant's place."""

    model_config = ruled(
        rule("self == oldSelf", "spec cannot be changed: a restore is carried out once; make a new one"),
        rule(
            "has(self.backupRef) != has(self.stored)",
            "give backupRef or stored, and not both: one backup is restored",
        ),
    )

    backup_ref: NameReference | None = None
    """The TenantBackup; it must be verified."""
    stored: StoredBackup | None = None
    """A backup in a Cell's store whose TenantBackup is gone."""
    tenant_ref: NameReference | None = None
    """The Tenant that gets the data; absent: the one that it was taken of."""
    confirm: Name | None = None
    """The name of the Tenant whose data is replaced, once more; needed unless that one was never ready."""
    scrub: Scrub | None = None
    """SQL that is run on the data before anybody sees it."""
    dry_run: bool = False
    """Read the backup to its end, say what would be done, and do nothing."""


class TenantRestoreStatus(ApiModel):
    """How far it is, and what proves it."""

    observed_generation: int | None = None
    """The metadata.generation that this status is of."""
    backup: str | None = None
    """The backup's folder in the store, which is the UID of its TenantBackup."""
    source_id: str | None = None
    """The id of the tenant that it was taken of."""
    cell: str | None = None
    """The cell in whose store it is."""
    tenant: str | None = None
    """The Tenant that gets the data."""
    tenant_id: str | None = None
    """That tenant's id."""
    started_time: Time | None = None
    """When it began."""
    restored_time: Time | None = None
    """When the tenant had what the backup holds, and nothing else."""
    failed_time: Time | None = None
    """When it failed for good: the tenant has what it had before."""
    stage: str | None = None
    """Where it is: Preparing, Prepared, Switching (the tenant is shut out), Finishing."""
    step: str | None = None
    """What is being done: Restoring, Comparing, Copying, Scrubbing, Exchanging."""
    done: Count | None = None
    """Bytes done of that step."""
    content: Count | None = None
    """Bytes of the dump that is restored: so much Restoring and Copying do, about."""
    attempts: int | None = None
    """How often the stage was begun."""
    tables: int | None = None
    """Tables whose rows and checksums were the manifest's when they had been restored."""
    rows: Count | None = None
    """Rows of them."""
    checksum: str | None = None
    """A digest of all counts and checksums, which is the manifest's own."""
    conditions: Conditions = ()
    """Ready (it was restored), Reconciling and Stalled."""


class TenantRestore(Resource):
    """One backup put into one tenant's place."""

    kind: ClassVar[str] = "TenantRestore"
    plural: ClassVar[str] = "tenantrestores"
    singular: ClassVar[str] = "tenantrestore"
    short_names: ClassVar[tuple[str, ...]] = ("tr",)
    selectable_fields: ClassVar[tuple[str, ...]] = (".spec.backupRef.name", ".spec.tenantRef.name")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Backup", path=".spec.backupRef.name"),
        Column(name="Tenant", path=".status.tenant"),
        Column(name="Stage", path=".status.stage"),
        Column(name="Step", path=".status.step"),
        Column(name="Rows", path=".status.rows", type="integer"),
        Column(name="Restored", path=".status.restoredTime", type="date"),
        READY,
        REASON,
        Column(name="Id", path=".status.tenantId", priority=1),
        AGE,
    )

    spec: TenantRestoreSpec
    """Which backup goes into which tenant's place."""
    status: TenantRestoreStatus = Field(default_factory=TenantRestoreStatus)
    """How far it is, and what proves it."""
