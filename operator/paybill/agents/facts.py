"""What is known of a tenant's database before a policy is compiled against it: plain values, read once.

Pure, so that a plan can be made offline from a file. Everything that a policy relies on is in the digest of the
schema: a column that was retyped, a key that is gone or a table that is new makes another digest, and what was
compiled against the old one is closed (drift.py) instead of being guessed at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from paybill.api.canonical import digest

ColumnKind = Literal[
    "Boolean", "Date", "Decimal", "Enum", "Float", "Integer", "Json", "Text", "Time", "Timestamp", "Uuid", "Opaque"
]
"""What a column holds, as an agent is told; Opaque: nothing that an agent can be given."""
ReferenceAction = Literal["NoAction", "Restrict", "Cascade", "SetNull", "SetDefault"]


class Fact(BaseModel):
    """A frozen value; what it does not know it refuses, because a file may have been written by hand."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(Fact):
    """One column: ``type`` is as the server spells it, with its schema and modifiers, and may stand in a cast."""

    name: str
    type: str
    kind: ColumnKind
    nullable: bool = True
    defaulted: bool = False
    """Whether a row may be made without it: a default, an identity, an expression."""
    generated: bool = False
    """Whether the server alone writes it."""
    bits: int | None = None
    """Of an integer: 16, 32 or 64."""
    precision: int | None = None
    scale: int | None = None
    length: int | None = None
    """Characters that a text may have."""
    labels: tuple[str, ...] = ()
    """Of an enum, in its order."""
    sequence: str = ""
    """That its default counts with, where it is the column's own (``serial``)."""


class Reference(Fact):
    """A foreign key; ``collection`` has its schema in front where that is another one."""

    columns: tuple[str, ...]
    collection: str
    to: tuple[str, ...]
    on_delete: ReferenceAction = "NoAction"
    on_update: ReferenceAction = "NoAction"


class Collection(Fact):
    """One relation of the schema; ``kind`` is ``pg_class.relkind``."""

    name: str
    kind: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    references: tuple[Reference, ...] = ()

    @property
    def by_name(self) -> Mapping[str, Column]:
        """The columns by their names."""
        return {column.name: column for column in self.columns}


class Schema(Fact):
    """The collections of one schema, sorted by name."""

    name: str
    collections: tuple[Collection, ...]

    @property
    def by_name(self) -> Mapping[str, Collection]:
        """The collections by their names."""
        return {collection.name: collection for collection in self.collections}

    @property
    def digest(self) -> str:
        """``sha256:…`` of all of it."""
        return digest(self.model_dump(mode="json"))


class Guarded(Fact):
    """How access to one table is ruled now."""

    collection: str
    owner: str
    row_security: bool
    grantees: tuple[str, ...] = ()
    """Roles that hold anything on it or on a column of it, without the owner and the agents; "" is PUBLIC."""
    policies: tuple[str, ...] = ()
    """Names of the row policies on it."""


class Surroundings(Fact):
    """What else decides what an agent could do in this database; nothing of it is in the digest of the schema."""

    version: int
    """``server_version_num``."""
    superuser: bool
    """Whether the administrator is one."""
    roles: tuple[str, ...] = ()
    """The roles of agents that are there."""
    memberships: tuple[tuple[str, str], ...] = ()
    """Role and member, where an agent's role is one of them: there should be none."""
    insiders: tuple[str, ...] = ()
    """Who may connect beside agents: they keep what is taken from PUBLIC."""
    open_databases: tuple[str, ...] = ()
    """Other databases of the server that PUBLIC may connect to: a login is known in all of them."""
    open_schemas: tuple[str, ...] = ()
    """Schemas that PUBLIC may use."""
    open_functions: tuple[str, ...] = ()
    """Functions of the server that PUBLIC may call and no agent needs, with their arguments."""
    open_catalogs: tuple[str, ...] = ()
    """Catalogs that PUBLIC may read and that tell of others."""
    open_definers: tuple[str, ...] = ()
    """Functions of others that PUBLIC may call and that act with their owner's rights."""
    strays: tuple[str, ...] = ()
    """What a role of an agent was granted or owns that no plan gives: a function of the server, another schema."""
    guarded: tuple[Guarded, ...] = ()
    """Every table of the schema."""


class Facts(Fact):
    """A tenant's database as a policy meets it."""

    database: str
    schema_: Schema
    surroundings: Surroundings

    def wire(self) -> dict[str, Any]:
        """As JSON, for a file that a plan is made from offline."""
        return self.model_dump(mode="json")
