"""What a Plan gives and bounds: isolation, limits, features.

They are apart from plan.py because Tenant and Subscription use some of them too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from paybill.api.base import ApiModel
from paybill.api.fields import Duration, Quantity
from paybill.api.rules import SUBDOMAIN_PATTERN, among, checks, rule, ruled

IsolationModel = Literal["Pooled", "Bridge", "Silo"]
Compute = Literal["Shared", "Namespace"]
DatabaseLevel = Literal["Rows", "Schema", "Database", "Server"]

PRESETS: dict[IsolationModel, tuple[Compute, DatabaseLevel]] = {
    "Pooled": ("Shared", "Schema"),
    "Bridge": ("Namespace", "Database"),
    "Silo": ("Namespace", "Server"),
}
"""What an absent layer means, by isolation model."""

_AMOUNT = "cpu|memory|ephemeral-storage"
_DOMAIN = SUBDOMAIN_PATTERN[1:-1]
QUOTA_KEY_PATTERN = (
    "^("
    f"{_AMOUNT}|requests[.]({_AMOUNT}|storage)|limits[.]({_AMOUNT})"
    "|pods|services|services[.](loadbalancers|nodeports)|secrets|configmaps|persistentvolumeclaims"
    "|replicationcontrollers|resourcequotas"
    "|(requests[.])?hugepages-[1-9][0-9]{0,5}[KMG]i"
    "|count/[a-z]([-a-z0-9.]{0,61}[a-z0-9])?"
    f"|requests[.]{_DOMAIN}/[A-Za-z0-9]([-_.A-Za-z0-9]{{0,61}}[A-Za-z0-9])?"
    f"|{_DOMAIN}[.]storageclass[.]storage[.]k8s[.]io/(requests[.]storage|persistentvolumeclaims)"
    ")$"
)
# What ResourceQuota does not take in parts: counts, and whatever has a domain without "requests." before it.
_IN_PARTS = f"^((requests|limits)[.].*|{_AMOUNT}|hugepages-.*)$"
_WHOLE = "^[0-9]+([.][0-9]{1,3})?[kMGTPE]$|^[0-9]+([.](5|25|75))?[KMGTPE]i$|^[0-9]+([eE][+]?[0-9]{1,2})?$"
QUOTA_KEY_MESSAGE = (
    "every key must be a resource that ResourceQuota knows, verbatim: requests.cpu, limits.memory, requests.storage, "
    "pods, persistentvolumeclaims, count/deployments.apps, requests.nvidia.com/gpu and the like"
)


class Isolation(ApiModel):
    """How far a tenant is kept apart from the others, by layer."""

    model_config = ruled(
        rule(
            f"self.model != 'Pooled' || {among('self.database', 'Rows', 'Schema')}",
            "model Pooled shares the database: database must be Rows or Schema; choose model Bridge for a Database or "
            "Silo for a Server of the tenant's own",
        ),
        rule(
            f"self.model != 'Bridge' || ({among('self.compute', 'Namespace')} && {among('self.database', 'Database')})",
            "model Bridge means compute Namespace and database Database: remove the other values, or choose model "
            "Pooled or Silo",
        ),
        rule(
            f"self.model != 'Silo' || ({among('self.compute', 'Namespace')} && {among('self.database', 'Server')})",
            "model Silo means compute Namespace and database Server: remove the other values, or choose model Pooled "
            "or Bridge",
        ),
    )

    model: IsolationModel
    """Pooled: shared infrastructure, logical isolation. Bridge: some layers dedicated. Silo: all dedicated."""
    compute: Compute | None = None
    """Where workloads run; absent: Shared for Pooled, else Namespace."""
    database: DatabaseLevel | None = None
    """What a tenant gets of a database; absent: Schema for Pooled, Database for Bridge, Server for Silo."""

    def resolved(self) -> tuple[Compute, DatabaseLevel]:
        """Both layers, an absent one as the model presets it."""
        compute, database = PRESETS[self.model]
        return self.compute or compute, self.database or database


class DatabaseLimits(ApiModel):
    """What a tenant may use of a database."""

    connections: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Connections at the same time, over all of the tenant's logins; absent: the server's own limit."""
    storage: Quantity | None = None
    """Data kept: at 80 % a warning, at 100 % read-only; absent: no limit."""
    statement_timeout: Duration | None = None
    """How long one statement may run; absent: the server's own limit."""
    transaction_timeout: Duration | None = None
    """How long one transaction may be open, whatever the tenant sets; absent: an hour."""
    temp_files: Quantity | None = None
    """Temporary files one session may hold; absent: the server's own limit."""


class Limits(ApiModel):
    """What a tenant may use at most."""

    quota: dict[str, Quantity] = Field(
        default_factory=dict,
        max_length=64,
        json_schema_extra=checks(
            rule(
                f"self.all(key, key.size() <= 317 && key.indexOf('/') <= 253 && key.matches('{QUOTA_KEY_PATTERN}'))",
                QUOTA_KEY_MESSAGE,
            ),
            rule(
                f"self.all(key, string(self[key]).matches('{_WHOLE}') || key.matches('{_IN_PARTS}'))",
                "what is counted must be a whole number, such as 40: only cpu, memory, ephemeral-storage, hugepages "
                "and keys that begin with requests. or limits. may be given in parts",
            ),
        ),
    )
    """The ResourceQuota of the tenant's namespace, key by key verbatim."""
    database: DatabaseLimits = Field(default_factory=DatabaseLimits)
    """What a tenant may use of a database."""


FeatureName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        json_schema_extra=checks(
            rule(
                "self.matches('^[a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?$')",
                "must be letters, digits, '-', '_' and '.', starting and ending with a letter or digit: it becomes a "
                "key of the entitlements ConfigMap",
            ),
            rule("self != 'access'", "access is Paybill's own entry among the entitlements: choose another name"),
        ),
    ),
]

FeatureText = Annotated[
    str,
    Field(
        max_length=1024,
        json_schema_extra=checks(
            rule(
                r"!self.matches(r'[^\P{Cc}\n\t]')",
                "must be text without control characters other than line breaks and tabs",
            )
        ),
    ),
]

LARGEST_INTEGER = 2**53 - 1
"""The greatest whole number that every JSON reader gets right."""


class Feature(ApiModel):
    """One thing a tenant may do or have, with exactly one value."""

    model_config = ruled(
        rule(
            "[has(self.boolean), has(self.integer), has(self.string)].exists_one(given, given)",
            "a feature has exactly one value: write one of boolean, integer or string",
        ),
        rule(
            "!has(self.perUnit) || !self.perUnit || has(self.integer)",
            "perUnit multiplies a number: write integer, or remove perUnit",
        ),
    )

    name: FeatureName
    """What the application asks for."""
    boolean: bool | None = None
    """On or off."""
    integer: Annotated[int, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)] | None = None
    """A whole number; an AddOn's is multiplied by its quantity and added."""
    string: FeatureText | None = None
    """Text, handed on as it is."""
    per_unit: bool | None = None
    """Whether the integer is for each unit that is sold: it is multiplied by the Subscription's quantity."""
