"""What is known of a backup without opening it: of whom, when, how much, and by which sums it is proved.

It is written last, so a backup without one does not exist, and it carries a signature by the installation's key: a
restore believes nothing in it before that fits. Counts and sums are of the moment that the dump shows.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from paybill.api.failures import Blocked
from paybill.backups.sealing import Keyring

FILE = "manifest.json"
DATA = "data"
EXPORT = "export"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Table(_Frozen):
    """One table: its rows and the sum of their hashes (order-free, and a doubled row is seen)."""

    name: str
    rows: int
    checksum: str


class Sequence(_Frozen):
    """One sequence: what it gave out last; ``None`` where it never was asked."""

    name: str
    last: int | None = None
    up: bool = True
    """Whether it counts upwards."""

    def reaches(self, other: Sequence) -> bool:
        """Whether this one has given out what ``other`` had."""
        if other.last is None or self.last is None:
            return other.last is None
        return self.last >= other.last if self.up else self.last <= other.last


class Ledger(_Frozen):
    """What was counted before the dump, at the very snapshot that the dump shows."""

    tables: tuple[Table, ...] = ()
    sequences: tuple[Sequence, ...] = ()
    objects: tuple[str, ...] = ()
    """Everything else by kind and name: constraints, indexes, functions, triggers, types, views."""
    extensions: tuple[tuple[str, str], ...] = ()
    """Name and version of those that the database has."""

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables)


class Part(_Frozen):
    """One sealed file: its size as stored, its size before, and the digest of what is stored."""

    name: str
    size: int
    content: int
    sha256: str


class Manifest(_Frozen):
    """All that is known of one backup."""

    version: Literal[1] = 1
    id: str
    tenant: str
    uid: str
    installation: str
    level: Literal["Rows", "Schema"]
    """How the tenant's data lies in the dump: rows of shared tables, or a schema of its own."""
    schema_name: str
    database: str = ""
    """The database that it was taken of."""
    plan: str = ""
    revision: str = ""
    migrated: int | None = None
    """The version of the last of the provider's migrations that had run then; None: not noted."""
    server_version: int
    tools_version: int
    started: datetime
    ended: datetime
    ledger: Ledger
    parts: tuple[Part, ...]
    key: str
    """The id of the key that it is sealed and signed with."""

    @property
    def size(self) -> int:
        """Bytes in the store, without the manifest."""
        return sum(part.size for part in self.parts)

    def has(self, name: str) -> bool:
        """Whether there is a part of that name."""
        return any(part.name == name for part in self.parts)

    def part(self, name: str) -> Part:
        """The part of that name; raises ``Blocked("BackupDamaged")``."""
        for part in self.parts:
            if part.name == name:
                return part
        raise Blocked("BackupDamaged", f"backup {self.id} lists no part {name}")

    def written(self, keyring: Keyring) -> bytes:
        """The manifest with its signature, as it is stored."""
        content = json.loads(self.model_dump_json())
        signature = keyring.sign(self.key, _canonical(content))
        return json.dumps({"manifest": content, "signature": signature}, indent=1, sort_keys=True).encode()


def read(stored: bytes, keyring: Keyring, *, backup: str, tenant: str) -> Manifest:
    """The manifest of ``backup`` of ``tenant``.

    Raises ``Blocked("BackupDamaged")`` when the signature does not fit or it is another backup's,
    ``Blocked("BackupKeyMissing")``.
    """
    try:
        outer = json.loads(stored)
        content, signature = outer["manifest"], str(outer["signature"])
        if not keyring.signed(str(content["key"]), _canonical(content), signature):
            raise Blocked("BackupDamaged", f"the manifest of backup {backup} does not carry our signature")
        found = Manifest.model_validate(content)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise Blocked("BackupDamaged", f"the manifest of backup {backup} cannot be read") from error
    if (found.id, found.tenant) != (backup, tenant):
        raise Blocked(
            "BackupDamaged", f"the manifest of backup {backup} is that of {found.id} of tenant {found.tenant}"
        )
    return found


def _canonical(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
