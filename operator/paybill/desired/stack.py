"""What a tenant's infrastructure is described by, and what comes back of it: the same two values for every engine.

A program (Pulumi), a module (Terraform) or the embedded engine gets one ``StackInputs`` and gives one ``StackOutputs``.
Both are plain values, so what an operation would do can be decided, compared and hashed without any engine. Names and
tags come from the tenant's identity: what a crashed operation left behind is found again by them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from paybill.api.cell import CellProvider
from paybill.api.limits import Compute, DatabaseLevel, IsolationModel
from paybill.lifecycle.changes import DESTRUCTIVE, Action, Change, StackModel, changes_digest, digest_of

__all__ = [
    "DESTRUCTIVE",
    "Action",
    "Change",
    "DatabaseInputs",
    "DatabaseOutput",
    "FoundationMissing",
    "StackInputs",
    "StackModel",
    "StackOutputs",
    "changes_digest",
    "digest_of",
]

PROGRAM_VERSION = "1"
"""The version of the built-in programs and modules: another one is a rollout, like another revision of a Plan."""


class DatabaseInputs(StackModel):
    """The tenant's own database server; only where the level is Server."""

    connections: int = Field(default=20, ge=1)
    """Connections at the same time."""
    storage_gib: int = Field(default=20, ge=1)
    """Storage of the server, in GiB."""
    version: str = "18"
    """The major version of Postgres."""
    backup_days: int = Field(default=7, ge=7)
    """Days that the cloud's own backups are kept; never less than 7."""
    high_availability: bool = True
    """A standby in another zone."""


class StackInputs(StackModel):
    """Everything a tenant's infrastructure follows from. The same inputs give the same resources."""

    provider: CellProvider
    """Whose machines these are."""
    model: IsolationModel
    """Pooled: only what is the tenant's alone (identity, secret, a prefix); Bridge and Silo: more of it."""
    compute: Compute
    """Where workloads run."""
    level: DatabaseLevel
    """What the tenant gets of a database; a server of its own is made only for Server."""
    tenant_id: str = Field(pattern="^[0-9a-z]{8}$")
    """The registry's opaque id."""
    tenant_uid: str
    """The UID that the tenant's marks are made of; it outlives a change of cluster."""
    installation: str
    """The installation that makes it."""
    cell: str
    """The cell's name."""
    plan: str = ""
    """The Plan's name, as a tag only."""
    tier: str = ""
    """The Plan's tier, as a tag only."""
    region: str = ""
    """The provider's name of the region."""
    namespace: str
    """The Kubernetes namespace whose pods get the tenant's cloud identity."""
    service_account: str = "tenant"
    """The ServiceAccount in that namespace."""
    database: DatabaseInputs | None = None
    """The database server; None: the tenant gets none of its own."""
    retain: bool = True
    """Whether data resources outlive the stack's destruction (deletion policies Retain and Snapshot)."""
    foundation: dict[str, str] = Field(default_factory=dict)
    """What the tenants of the cell share, by name: networks, clusters, key rings. From the Cell."""

    @property
    def name(self) -> str:
        """The stem of every physical name: unique, short, and nothing that a user typed."""
        return f"pb-{self.tenant_id}"

    @property
    def suffixed(self) -> str:
        """The stem of names that stay taken for days after a deletion: what has one is undeleted, never made anew."""
        return f"{self.name}-g1"

    @property
    def stack(self) -> str:
        """The stack's name: by identity, never by what a user typed."""
        return f"{self.tenant_id}-{self.region or 'local'}"

    @property
    def project(self) -> str:
        """The project that stacks of this cloud and model belong to."""
        return f"paybill-{self.provider.lower()}-{self.model.lower()}"

    def tags(self) -> dict[str, str]:
        """The marks of every resource; orphans are found by them."""
        marks = {
            "paybill-installation": self.installation,
            "paybill-tenant": self.tenant_id,
            "paybill-tenant-uid": self.tenant_uid,
            "paybill-cell": self.cell,
            "paybill-program": PROGRAM_VERSION,
        }
        return marks | {f"paybill-{name}": value for name in ("plan", "tier") if (value := getattr(self, name))}

    def required(self, name: str) -> str:
        """One value of the foundation; raises KeyError with a sentence for people when the Cell does not give it."""
        value = self.foundation.get(name)
        if not value:
            raise FoundationMissing(name, self)
        return value

    def digest(self, program: str = PROGRAM_VERSION) -> str:
        """A hash of all this and of the program's version: an operation is due only when it is another one.

        What only labels (plan, tier) is left out: renaming a Plan changes no infrastructure.
        """
        content = self.model_dump(mode="json", exclude={"plan", "tier"})
        return digest_of({"program": program, "inputs": content})


class FoundationMissing(LookupError):  # noqa: N818 - what happened
    """The Cell does not say something that its tenants' infrastructure is built on."""

    def __init__(self, name: str, inputs: StackInputs) -> None:
        super().__init__(
            f"Cell {inputs.cell} does not give {name}, which the {inputs.provider} {inputs.model} infrastructure of a "
            f"tenant is built on: add it to spec.engine.foundation"
        )
        self.name = name


class DatabaseOutput(StackModel):
    """Where the tenant's own database server is, and as whom the operator administers it."""

    host: str
    """Host name or address."""
    port: int = 5432
    """TCP port."""
    admin_user: str
    """The administrator's login."""
    admin_password: str | None = None
    """Its password, where the engine knows it; a secret."""
    admin_secret: str | None = None
    """Where the cloud keeps the password, where it does (such as the ARN of an AWS secret)."""
    sslmode: Literal["disable", "require", "verify-ca", "verify-full"] = "verify-full"
    """How logins must connect."""
    ca: str | None = None
    """The certificate authority's certificate, PEM."""


class StackOutputs(StackModel):
    """What a tenant's infrastructure hands over."""

    database: DatabaseOutput | None = None
    """The database server of the tenant's own."""
    bucket: str | None = None
    """The name of the object store's bucket (or container)."""
    prefix: str | None = None
    """The tenant's prefix, where the bucket is shared."""
    key: str | None = None
    """The id of the encryption key."""
    identity: str | None = None
    """The cloud identity of the tenant's pods (a role's ARN, an account's address)."""
    secret: str | None = None
    """The id of the tenant's secret in the cloud's store."""
    network: str | None = None
    """The id of the tenant's own network."""
