"""The provider's migrations as they are read: numbered SQL files with their checksums, in the order in which they run.

A file changes the structure or the data, never both. Where tables are shared the one happens once for all tenants and
the other once for each of them, so no transaction could hold them together.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from paybill.api.failures import Invalid

NAME: Final = re.compile(r"(?P<version>[0-9]{4})_(?P<name>[a-z0-9_]{1,100})\.sql")
DIRECTIVE: Final = re.compile(r"^--[ \t]*paybill:[ \t]*(?P<word>\S*)[ \t]*$", re.MULTILINE)
NO_TRANSACTION: Final = "no-transaction"
BACKFILL: Final = "backfill"
DIRECTIVES: Final = (BACKFILL, NO_TRANSACTION)
LARGEST: Final = 1_000_000
"""Bytes of one file; a ConfigMap as a whole takes no more either."""

Kind = Literal["Structure", "Data"]


@dataclass(frozen=True)
class File:
    """One migration. ``directives`` are its ``-- paybill:`` comments."""

    version: int
    name: str
    sql: str

    @property
    def file_name(self) -> str:
        """Its name in the source."""
        return f"{self.version:04d}_{self.name}.sql"

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of its text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @cached_property
    def directives(self) -> frozenset[str]:
        """The words after ``-- paybill:`` on lines of their own."""
        return frozenset(found["word"] for found in DIRECTIVE.finditer(self.sql))

    @property
    def transactional(self) -> bool:
        """Whether it runs in one transaction with its row in the ledger."""
        return NO_TRANSACTION not in self.directives

    @property
    def backfill(self) -> bool:
        """Whether it changes only data that existed before it: a tenant made later has none."""
        return BACKFILL in self.directives


@dataclass(frozen=True)
class Bundle:
    """All migrations of a source, in order."""

    files: tuple[File, ...] = ()

    @property
    def latest(self) -> int:
        """The version of the last file; 0 without any."""
        return self.files[-1].version if self.files else 0

    @cached_property
    def digest(self) -> str:
        """What tells this bundle from any other: changes when a file is added, changed or taken away."""
        listed = "".join(f"{file.version}:{file.checksum}\n" for file in self.files)
        return hashlib.sha256(listed.encode()).hexdigest()[:16]

    def get(self, version: int) -> File | None:
        """The file of this version."""
        return next((file for file in self.files if file.version == version), None)


def bundle(texts: Mapping[str, str]) -> Bundle:
    """The migrations among ``texts`` (file name → content); what is no ``.sql`` is left out.

    Raises ``Invalid("BadMigrationName" | "DuplicateMigration" | "MigrationTooLarge")`` that names the file.
    """
    found: dict[int, File] = {}
    for name in sorted(texts):
        if not name.endswith(".sql"):
            continue
        match = NAME.fullmatch(name)
        if match is None or match["version"] == "0000":
            raise Invalid(
                "BadMigrationName",
                f"{name!r} is no migration's name: write four digits from 0001 on, an underscore, lower-case letters, "
                "digits or underscores, and .sql, such as 0001_customers.sql",
            )
        file = File(int(match["version"]), match["name"], texts[name])
        if file.version in found:
            raise Invalid(
                "DuplicateMigration",
                f"{found[file.version].file_name} and {name} have the same number: give the later one the next number",
            )
        if len(file.sql.encode()) > LARGEST:
            raise Invalid("MigrationTooLarge", f"{name} is larger than {LARGEST} bytes: divide it")
        found[file.version] = file
    return Bundle(tuple(found[version] for version in sorted(found)))


def read(directory: Path) -> Bundle:
    """The migrations in ``directory``; raises what ``bundle`` raises and ``Invalid("MigrationsUnreadable")``."""
    texts: dict[str, str] = {}
    try:
        for path in sorted(directory.iterdir()):
            if path.suffix == ".sql":
                with path.open("rb") as file:
                    texts[path.name] = file.read(LARGEST + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise Invalid("MigrationsUnreadable", f"{directory}: cannot be read: {what}") from error
    return bundle(texts)
