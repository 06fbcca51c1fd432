"""What the registry says of one tenant, and the place it was given: plain values that cross to every other package."""

import secrets
import string
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

from paybill.desired.sql_names import is_canary

State = Literal["claimed", "released", "deleted", "dropped"]
"""claimed: a Tenant uses it; released: left for adoption; deleted: waits for its drop; dropped: a tombstone."""

ALPHABET = string.digits + string.ascii_lowercase


@dataclass(frozen=True)
class Placement:
    """Where a tenant is put. ``server`` is empty when the tenant needs no shared database server."""

    cell: str
    server: str
    compute: str
    level: str
    pool_database: str | None = None


@dataclass(frozen=True)
class Claim:
    """One row of the registry: the opaque id, whose it is, where it sits and what is bound to it.

    ``tenant_uid`` is the Tenant that holds it now; ``origin_uid`` the one it was made for, which its database objects
    are marked with for ever. ``continues_uid``: the Subscription whose contract came along with an adoption, until
    its new object is there. ``adopted_by`` is the UID of the Approval. ``credentials``: lifecycle/rotation.py reads it.
    ``archive`` is the TenantBackup that holds all of an archived tenant, from right before it is dropped until it is
    back; ``archived_time`` is when everything else was gone, and stays when that backup goes too.
    """

    id: str
    installation: str
    tenant_name: str
    tenant_uid: str
    state: State
    cell: str
    server: str
    compute: str
    level: str
    pool_database: str | None
    plan_name: str | None
    plan_revision: str | None
    subscription_name: str | None
    subscription_uid: str | None
    binding_uid: str | None
    binding_version: str | None
    ready_time: datetime | None
    delete_requested_time: datetime | None
    drop_after: datetime | None
    deletion_policy: str | None
    created_time: datetime
    updated_time: datetime
    version: int
    origin_uid: str
    drop_started_time: datetime | None
    adopted_time: datetime | None
    adopted_by: str | None
    continues_uid: str | None
    credentials: dict[str, Any] = field(default_factory=dict, hash=False)
    archive: str | None = None
    archived_time: datetime | None = None

    @property
    def placement(self) -> Placement:
        """The place alone, as ``place`` gave it."""
        return Placement(self.cell, self.server, self.compute, self.level, self.pool_database)


COLUMNS = tuple(one.name for one in fields(Claim))

CHANGEABLE = frozenset(
    {
        "tenant_name", "cell", "server", "compute", "level", "pool_database", "plan_name", "plan_revision",
        "subscription_name", "subscription_uid", "binding_uid", "binding_version", "ready_time",
        "delete_requested_time", "drop_after", "deletion_policy", "continues_uid", "credentials", "archive",
        "archived_time",
    }
)  # fmt: skip
"""What ``Registry.update`` may change; identity, state and bookkeeping have their own ways."""


def random_id() -> str:
    """Eight characters of [0-9a-z], about 41 bits, from the system's randomness; never a canary's."""
    while is_canary(drawn := "".join(secrets.choice(ALPHABET) for _ in range(8))):
        pass
    return drawn
