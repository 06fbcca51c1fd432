"""Every name Paybill uses inside a Postgres server, and the mark that says an object is ours.

All of them are made here and nowhere else, because three things rest on their exact form: the function that tells
which tenant a session belongs to parses the login's name, sweeps find a tenant's roles by prefix, and nobody else's
object may ever be taken for ours. Names hold the opaque tenant id only: any login can list roles and schemas.
"""

import hashlib
import re
from typing import Final

from paybill.api.failures import Invalid

ADMIN: Final = "pb_admin"
"""Owns the pool databases and what is Paybill's in them; nobody logs in as it and no tenant is its member."""
TENANTS: Final = "pb_tenants"
"""Whom the row policies of shared tables address: the rw and r roles of every tenant at level Rows."""
ROWS_WRITE: Final = "pb_rows_rw"
"""Carries SELECT, INSERT, UPDATE and DELETE on the shared tables."""
ROWS_READ: Final = "pb_rows_r"
"""Carries SELECT on the shared tables."""
ROWS_SCHEMA: Final = "app"
EXTENSIONS_SCHEMA: Final = "ext"
TENANCY_SCHEMA: Final = "paybill"
CANARY: Final = "cnry"
"""How the ids of the tenants begin that prove a server's isolation (isolation/canaries.py); no Tenant is given one."""
CANARY_SCHEMA: Final = "pb_canary"
"""Where their shared tables are at level Rows: beside the tenants' own, never among them."""

AGENTS: Final = "pba_"
"""How every role of an agent begins, which no tenant's does; the tenant's id comes next (agents/names.py)."""
LEDGER: Final = "pb_migrations"
"""The table of a tenant's own schema that lists which migrations ran in it."""
FENCE: Final = "pb_fence"
"""What keeps other tenants' rows out of a table: a policy of shared tables, a check of a tenant's own."""

GROUPS: Final = ("owner", "rw", "r")
LOGIN_KINDS: Final = ("app", "ro", "mig", "bak", "job")
JOB_KINDS: Final = ("bak", "job")
"""Logins that a job of ours opens, fills and closes: ``bak`` reads, ``job`` writes. Nobody else is given them."""
SLOTS: Final = ("a", "b")

TENANT_DATABASE: Final = "^pb_t_[0-9a-z]{8}$"
"""POSIX pattern of the databases of tenants that have one of their own; the id starts at character 6."""

TENANT_OF_SESSION: Final = "^pb_[0-9a-z]{8}_(app|ro|bak|job)_[ab]$"
"""POSIX pattern of the logins that row security serves; the id starts at character 4 and is 8 long."""
TENANT_OF_OWN_SESSION: Final = "^pb_[0-9a-z]{8}_(app|ro|bak|job|mig)_[ab]$"
"""The same where nothing is shared: there the migration login is the tenant's as well."""

_ID = re.compile(r"[0-9a-z]{8}")
_LOGIN = re.compile(rf"({'|'.join(LOGIN_KINDS)})_([{''.join(SLOTS)}])")
_MARK_PART = re.compile(r"[A-Za-z0-9._-]{1,128}")


def tenant_id(value: str) -> str:
    """``value`` when it is a tenant id (8 characters 0-9a-z), which makes it safe in every name below.

    Raises ``Invalid("BadTenantId")`` otherwise.
    """
    if not _ID.fullmatch(value):
        raise Invalid("BadTenantId", f"{value!r} is not a tenant id: 8 characters out of 0-9 and a-z are required")
    return value


def canaries(database: str) -> tuple[str, str]:
    """The ids of the attacker and of the victim in a database: always the same two, so what was left is found."""
    stem = CANARY + hashlib.sha256(f"canaries of {database}".encode()).hexdigest()[:3]
    return f"{stem}a", f"{stem}v"


def is_canary(tenant: str) -> bool:
    """Whether an id is a canary's."""
    return tenant.startswith(CANARY)


def role(tenant: str, suffix: str) -> str:
    """The role of a tenant: ``suffix`` is one of ``GROUPS`` or a login such as ``app_a``."""
    if suffix not in GROUPS and not _LOGIN.fullmatch(suffix):
        raise Invalid("BadRoleName", f"{suffix!r} is not one of a tenant's roles")
    return f"pb_{tenant_id(tenant)}_{suffix}"


def agent_roles(tenant: str, agent: str) -> frozenset[str]:
    """What an agent logs in as, and what owns the functions that it goes through."""
    stem = f"{AGENTS}{tenant_id(tenant)}"
    return frozenset({f"{stem}_a_{agent}", f"{stem}_g_{agent}"})


def agents_pattern(tenant: str, suffix: str = "") -> str:
    """A pattern for LIKE of all roles that agents of a tenant have; ``suffix`` is ``a_`` for their logins."""
    return f"{AGENTS}{tenant_id(tenant)}_{suffix}".replace("_", "\\_") + "%"


def login_kind(suffix: str) -> str:
    """``app`` for ``app_a``; raises ``Invalid`` when ``suffix`` names no login."""
    match = _LOGIN.fullmatch(suffix)
    if match is None:
        raise Invalid("BadRoleName", f"{suffix!r} is not one of a tenant's logins")
    return match.group(1)


def role_names(tenant: str) -> frozenset[str]:
    """All thirteen names a tenant's roles can have."""
    logins = (f"{kind}_{slot}" for kind in LOGIN_KINDS for slot in SLOTS)
    return frozenset(role(tenant, suffix) for suffix in (*GROUPS, *logins))


def schema(tenant: str) -> str:
    """The schema of a tenant at every level but Rows."""
    return f"t_{tenant_id(tenant)}"


def staging_schema(tenant: str) -> str:
    """Where a restore prepares what is to be a tenant's schema (databases/catalog_queries.py leaves it out)."""
    return f"r_{tenant_id(tenant)}"


def aside_schema(tenant: str) -> str:
    """Where a restore keeps the schema that it replaced, until it is dropped (the same holds for it)."""
    return f"o_{tenant_id(tenant)}"


def pool_database_name(cell: str, server: str) -> str:
    """The pool database of a server: the same for the same cell and server, and 20 characters long."""
    digest = hashlib.sha256(f"{cell}\0{server}".encode()).hexdigest()
    return f"pb_pool_{digest[:12]}"


def tenant_database(tenant: str) -> str:
    """The database of a tenant that has one of its own, and the group role that may connect to it."""
    return f"pb_t_{tenant_id(tenant)}"


def mover(tenant: str, kind: str = "") -> str:
    """What a move has on its servers: a login of its own of a kind, or its publication, slot and subscription."""
    return f"pb_mv_{tenant_id(tenant)}" + (f"_{kind}" if kind else "")


def kept(tenant: str) -> str:
    """What a moved tenant left, until it is dropped: a schema or a database of this name, with no tenant's login."""
    return f"pb_kept_{tenant_id(tenant)}"


def pool_owner(database: str) -> str:
    """The role that owns schema ``app`` of a Rows pool and nothing else; migrations run as it."""
    return f"{database}_mig"


def mark(installation: str, subject: str) -> str:
    """The comment on every object Paybill makes. ``subject`` is a Tenant's uid, ``pool`` or ``server``."""
    for part in (installation, subject):
        if not _MARK_PART.fullmatch(part):
            raise Invalid("BadMark", f"{part!r} cannot stand in the mark of a database object")
    return f"paybill:{installation}:{subject}"
