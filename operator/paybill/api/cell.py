"""Cell: a place tenants are put. A cloud region or cluster with its credentials, shared servers and capacity.

Ambient credentials are never used, and every Secret a Cell names lives in the operator's own namespace: whoever may
write a Cell must not be able to point the operator at someone else's Secret.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from paybill.api.base import AGE, READY, REASON, ApiModel, Column, Resource, SecretKeyReference
from paybill.api.cell_backup import CellBackup
from paybill.api.conditions import Conditions
from paybill.api.engine import Credentials, Engine
from paybill.api.fields import Duration, Name, Quantity, Time
from paybill.api.limits import IsolationModel
from paybill.api.migrations import Migrations, MigrationsStatus
from paybill.api.rules import list_map, rule, ruled

CellProvider = Literal["Embedded", "Kubernetes", "AWS", "Azure", "GCP", "OCI", "IBM"]
ServerHolds = Literal["Rows", "Schemas", "Databases"]


class Capacity(ApiModel):
    """How much a server takes: tenants, by what they get of it, and what they use of it together."""

    rows: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    """Tenants that share tables."""
    schemas: Annotated[int, Field(ge=0, le=1_000_000)] = 500
    """Tenants with a schema of their own."""
    databases: Annotated[int, Field(ge=0, le=1_000_000)] = 500
    """Tenants with a database of their own."""
    storage: Quantity | None = None
    """Data that its tenants may keep together before moves away from it are proposed; absent: it is not looked at."""
    connections: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Sessions that its tenants may have at once before moves away from it are proposed; absent: not looked at."""


class Server(ApiModel):
    """A shared Postgres server."""

    name: Name
    """Tells servers of one cell apart."""
    admin_secret_ref: SecretKeyReference
    """The connection URI of the server's administrator, in the operator's own namespace."""
    holds: ServerHolds
    """What its pool database holds: Rows or Schemas, never both; Databases: no pool, only databases of their own."""
    capacity: Capacity = Field(default_factory=Capacity)
    """How many tenants it takes."""


class Pooler(ApiModel):
    """A PgBouncer in front of the cell's shared servers, whose aliases and logins Paybill keeps."""

    host: Annotated[str, Field(min_length=1, max_length=253, pattern="^[A-Za-z0-9]([-.:A-Za-z0-9]*[A-Za-z0-9])?$")]
    """Where the tenants' apps reach it: a host name or an address."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 6432
    """Its port."""
    tls: Literal["Disabled", "Preferred", "Required"] = "Preferred"
    """What the apps are told of TLS towards it."""
    admin_secret_ref: SecretKeyReference
    """The URI of its console (database pgbouncer), in the operator's own namespace."""
    pool_mode: Literal["Session", "Transaction"] = "Session"
    """Transaction: a server's session serves whoever's transaction is next. A move pauses the tenant only then."""


class Approval(ApiModel):
    """Whether changes of infrastructure need a person."""

    model: IsolationModel
    """The isolation model this is about."""
    policy: Literal["Required", "NotRequired"]
    """Required: an Approval must name the change."""


class CellLimits(ApiModel):
    """How much may happen in this cell at once."""

    operations: Annotated[int, Field(ge=1, le=1_000)] = 4
    """Operations of the engine at the same time."""
    suspensions_per_hour: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """Suspensions in any hour; absent: the greater of 10 and 1 % of the cell's tenants; 0: none."""
    deletions_per_hour: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """Deletions in any hour; absent: the greater of 5 and 1 % of the cell's tenants; 0: none."""
    mass_change_floor: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """So many tenants at once are never taken for a mass change, however small the cell; absent: 5."""


class Drift(ApiModel):
    """What is done about infrastructure that is no longer as declared."""

    policy: Literal["Ignore", "Report", "Remediate"] = "Report"
    """Ignore, Report, or Remediate."""
    every: Duration = "6h"
    """How often is looked."""


class Rotation(ApiModel):
    """When tenants' logins get new passwords, and how long the old ones stay open beside them."""

    model_config = ruled(
        rule(
            "!has(self.every) || duration(self.every) >= duration('1h')",
            'every must be at least "1h": each time the apps have to take up new passwords',
        ),
        rule(
            "duration(self.maxOverlap) >= duration(self.minOverlap)",
            "maxOverlap must not be shorter than minOverlap",
        ),
    )

    every: Duration | None = None
    """How often; absent: only when a person asks."""
    min_overlap: Duration = "1h"
    """So long the old login stays open in any case, for apps to take up the new Secret."""
    max_overlap: Duration = "168h"
    """After that it is closed even if somebody is still logged in with it."""


class Isolation(ApiModel):
    """How it is proved that tenants of this cell's servers cannot reach each other."""

    checks: Literal["Scheduled", "Never"] = "Scheduled"
    """Scheduled: two tenants of Paybill's own attack each other on every server; Never: only the catalogs are read."""
    every: Duration = "24h"
    """How often, spread by a tenth; a server that is new, or has another version, is checked at once."""
    grants: Literal["Enforce", "Report"] = "Enforce"
    """What is done about privileges that a tenant has beyond what is declared: taken back, or only reported."""


class Watchdog(ApiModel):
    """What is done about tenants' sessions that go beyond their limits, which a login may lift by itself."""

    model_config = ruled(
        rule("duration(self.every) >= duration('1s')", 'every must be at least "1s": each time every server is asked'),
        rule("duration(self.grace) >= duration('1s')", 'grace must be at least "1s": a cancel needs a moment'),
    )

    mode: Literal["Enforce", "Report", "Off"] = "Enforce"
    """Enforce: what runs is cancelled, then the session ended; Report: it is only told; Off: nobody looks."""
    every: Duration = "10s"
    """How often each shared server is asked, by one query."""
    grace: Duration = "10s"
    """How long a cancel has to help before the session is ended."""
    lock_wait: Duration = "5s"
    """How long others may have to wait for a lock that a tenant has on a whole table that it shares with them."""


class CellSpec(ApiModel):
    """A place tenants are put."""

    provider: CellProvider
    """Whose machines these are; Embedded: this one."""
    region: Annotated[str, Field(max_length=63, pattern="^[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?$")] | None = None
    """The provider's name of the region."""
    default: bool = False
    """Whether tenants that name no cell may be put here."""
    engine: Engine | None = None
    """What creates infrastructure for single tenants; absent: none can be made here."""
    credentials: Credentials | None = None
    """What the engine logs in with; absent: nothing. Ambient credentials are never used."""
    servers: tuple[Server, ...] = Field(default=(), max_length=256, json_schema_extra=list_map("name"))
    """Shared Postgres servers."""
    pooler: Pooler | None = None
    """A PgBouncer in front of the shared servers; absent: apps connect to the servers themselves."""
    approval: tuple[Approval, ...] = Field(default=(), max_length=3, json_schema_extra=list_map("model"))
    """Which changes of infrastructure need a person, by isolation model."""
    limits: CellLimits = Field(default_factory=CellLimits)
    """How much may happen at once."""
    drift: Drift = Field(default_factory=Drift)
    """What is done about drift."""
    rotation: Rotation = Field(default_factory=Rotation)
    """When tenants' logins are rotated."""
    migrations: Migrations | None = None
    """The provider's SQL files that make the tenants' tables; absent: none."""
    isolation: Isolation = Field(default_factory=Isolation)
    """How it is proved that tenants cannot reach each other."""
    watchdog: Watchdog = Field(default_factory=Watchdog)
    """What is done about tenants' sessions that go beyond their limits."""
    rollback_window: Duration = "24h"
    """How long what a moved tenant left behind is kept, closed, before it is dropped."""
    backup: CellBackup | None = None
    """Where backups go; absent: none can be made here, and a Tenant whose deletion needs one stays."""
    notices: Literal["Outbox", "EventsOnly"] = "Outbox"
    """What counts as notice given: a message that was acknowledged, or a Kubernetes Event."""


class ServerIsolation(ApiModel):
    """What the last check of a server's isolation found."""

    checked_time: Time
    """When it ended."""
    version: str
    """The server's version then."""
    profile: Literal["Superuser", "Managed"]
    """What the administrator's login could do then."""
    denied: int
    """Attacks that were refused, or reached nothing."""
    detected: int
    """Attacks that go through where nobody can close the way, and reach no tenant."""
    succeeded: tuple[str, ...] = Field(default=(), max_length=64)
    """Attacks that reached a neighbour, by number and name."""


class ServerStatus(ApiModel):
    """How one shared server is."""

    name: str
    """The server's name in spec.servers."""
    tenants: int | None = None
    """Tenants placed on it."""
    capacity: int | None = None
    """Tenants it takes, over all levels it holds."""
    reachable: bool | None = None
    """Whether it answered when last asked."""
    profile: Literal["Superuser", "Managed"] | None = None
    """What the administrator's login may do: all, or what a managed service leaves."""
    version: str | None = None
    """The server's version, such as 18.6."""
    isolation: ServerIsolation | None = None
    """What the last check of its isolation found; absent before the first."""


class MassChange(ApiModel):
    """What the cell's breaker holds back, while it does."""

    id: str
    """The name of this very trip, which a person names to let it happen."""
    cause: Literal["Suspensions", "Deletions", "Plans"]
    """What happened to many tenants at once."""
    since_time: Time
    """When it was noticed."""
    counted: int
    """How many tenants it was when it was noticed."""
    tenants: int
    """How many tenants the cell had then."""
    waiting: int
    """How many tenants wait for a suspension or deletion now."""
    first: tuple[str, ...] = Field(default=(), max_length=16)
    """The first of them by name."""


class ProposedMove(ApiModel):
    """A move that would make room on a server that is nearly full; nobody makes it until somebody asks for it."""

    tenant: str
    """The Tenant to be moved."""
    source: str
    """The server that it is on."""
    target: str
    """The server that it should be on."""
    because: str
    """What the source has too much of."""


class CellStatus(ApiModel):
    """How the cell is."""

    observed_generation: int | None = None
    """The metadata.generation that this status is of."""
    tenants: int | None = None
    """Tenants placed in the cell."""
    servers: tuple[ServerStatus, ...] = Field(default=(), max_length=256, json_schema_extra=list_map("name"))
    """How each shared server is."""
    mass_change: MassChange | None = None
    """What is held back because so much is to be stopped or deleted at once; absent: nothing."""
    rebalance: tuple[ProposedMove, ...] = Field(default=(), max_length=16)
    """Moves that are proposed, the most useful first; ``paybill cell rebalance`` asks for them."""
    migrations: MigrationsStatus | None = None
    """How far the provider's SQL files have come."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled and others."""


class Cell(Resource):
    """A place tenants are put: a cloud region or cluster with its credentials, shared servers and capacity."""

    kind: ClassVar[str] = "Cell"
    plural: ClassVar[str] = "cells"
    singular: ClassVar[str] = "cell"
    selectable_fields: ClassVar[tuple[str, ...]] = (".spec.provider", ".spec.region")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Provider", path=".spec.provider"),
        Column(name="Region", path=".spec.region"),
        Column(name="Default", path=".spec.default", type="boolean"),
        Column(name="Tenants", path=".status.tenants", type="integer"),
        READY,
        REASON,
        AGE,
    )

    spec: CellSpec
    """A place tenants are put."""
    status: CellStatus = Field(default_factory=CellStatus)
    """How the cell is."""
