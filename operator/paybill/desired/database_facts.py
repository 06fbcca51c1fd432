"""What Postgres' catalogs say about one tenant, as plain facts in sets.

What is wanted and what was seen have the same shape, so comparing them is set arithmetic and every difference has
exactly one repair. The catalogs are read in ``databases/observation.py``; what is wanted is built in ``database.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SUPERUSER_SETTINGS = ("temp_file_limit", "log_statement")
"""Settings a tenant cannot override because only a superuser, or one granted them, may set them."""


EVERYWHERE = "all"
"""Stands for the database of what belongs to the whole server; no database of ours has that name."""


@dataclass(frozen=True)
class ServerTraits:
    """What of a server decides how tenants are made on it, probed once per connection.

    ``version`` is ``server_version_num`` (180006 is 18.6), ``admin`` the operator's login, ``settable`` those of
    ``SUPERUSER_SETTINGS`` that it may set.
    """

    version: int
    admin: str
    superuser: bool
    settable: frozenset[str]

    @property
    def profile(self) -> Literal["Superuser", "Managed"]:
        """``Managed`` is an administrator with CREATEROLE and CREATEDB only, as cloud services give out."""
        return "Superuser" if self.superuser else "Managed"

    @property
    def release(self) -> str:
        """The version as people write it: 18.6."""
        return f"{self.version // 10_000}.{self.version % 10_000}"

    @property
    def grant_options(self) -> bool:
        """Whether memberships carry INHERIT and SET of their own (Postgres 16)."""
        return self.version >= 160000


@dataclass(frozen=True, order=True)
class Role:
    """A role as wanted or seen. ``attributes`` are those that are on, sorted; no limit is -1."""

    name: str
    attributes: tuple[str, ...]
    connections: int = -1
    expires: str = ""


@dataclass(frozen=True, order=True)
class Membership:
    """``member`` is in ``role``. Before Postgres 16 ``inherit`` and ``set_role`` are always true."""

    role: str
    member: str
    inherit: bool = True
    set_role: bool = True
    admin: bool = False
    grantor: str = field(default="", compare=False)


@dataclass(frozen=True, order=True)
class Setting:
    """A default of a role, in all databases when ``database`` is empty."""

    role: str
    database: str
    name: str
    value: str


@dataclass(frozen=True, order=True)
class Grant:
    """Privileges on a schema or database, without the owner's own."""

    kind: Literal["SCHEMA", "DATABASE"]
    name: str
    grantee: str
    privileges: tuple[str, ...]
    grantable: bool = False


@dataclass(frozen=True, order=True)
class DefaultGrant:
    """What ``grantee`` gets on each new object that ``role`` makes in ``schema`` (empty: in any schema)."""

    role: str
    schema: str
    objects: Literal["TABLES", "SEQUENCES", "FUNCTIONS", "TYPES", "SCHEMAS", "LARGE OBJECTS"]
    grantee: str
    privileges: tuple[str, ...]


@dataclass(frozen=True, order=True)
class Schema:
    """A schema and who owns it."""

    name: str
    owner: str


@dataclass(frozen=True)
class Facts:
    """Everything that is compared, each kind as a set."""

    roles: frozenset[Role] = frozenset()
    memberships: frozenset[Membership] = frozenset()
    settings: frozenset[Setting] = frozenset()
    schemas: frozenset[Schema] = frozenset()
    grants: frozenset[Grant] = frozenset()
    default_grants: frozenset[DefaultGrant] = frozenset()


@dataclass(frozen=True, order=True)
class Stray:
    """A privilege that is not wanted whatever the level: on a tenant's own object for a stranger, or the reverse.

    ``kind`` and ``identity`` are as ``pg_identify_object`` writes them (identity is quoted where it must be),
    ``database`` is where the object is (or ``EVERYWHERE``), ``inside`` tells whether it is one of the tenant's own.
    """

    role: str
    kind: str
    identity: str
    database: str
    inside: bool
    owned: bool = False

    def __str__(self) -> str:
        verb = "owns" if self.owned else "has privileges on"
        return f"{self.role or 'PUBLIC'} {verb} {self.kind} {self.identity} in database {self.database}"


@dataclass(frozen=True)
class ObservedDatabase:
    """One tenant as a server shows it. Absent tenants have no roles and no schema.

    ``marks`` maps ``role <name>`` and ``schema <name>`` to their comment ("" without one), ``sessions`` a login to the
    number of its open sessions, ``passwords`` the logins to their SCRAM verifier where the server shows it (``None``:
    it does not).
    """

    id: str
    traits: ServerTraits
    facts: Facts = Facts()
    marks: Mapping[str, str] = field(default_factory=dict)
    strays: frozenset[Stray] = frozenset()
    sessions: Mapping[str, int] = field(default_factory=dict)
    passwords: Mapping[str, str] | None = field(default=None, repr=False)

    def opens(self, login: str) -> bool:
        """Whether a role is there that may log in."""
        return any(role.name == login and "LOGIN" in role.attributes for role in self.facts.roles)

    @property
    def absent(self) -> bool:
        """Whether nothing of the tenant is there."""
        return not self.facts.roles and not self.facts.schemas
