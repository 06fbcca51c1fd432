"""Cell.spec.migrations: where the provider's SQL files are, and how a new one reaches the tenants."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from paybill.api.base import ApiModel
from paybill.api.engine import Credentials
from paybill.api.fields import Duration, Name
from paybill.api.policies import CountOrPercent
from paybill.api.rules import checks, rule, ruled


class ConfigMapReference(ApiModel):
    """Names a ConfigMap in the operator's own namespace; no other namespace can be named."""

    name: Name
    """The ConfigMap's metadata.name."""


class GitSource(ApiModel):
    """A folder of a Git repository, as its branch or tag is now."""

    url: Annotated[
        str,
        Field(
            max_length=1024,
            json_schema_extra=checks(
                rule(
                    "self.matches('^https?://[^ @/?#]+/[^ @?#]+$')",
                    'must be an http or https URL without a login, such as "https://git.example.com/app.git"',
                )
            ),
        ),
    ]
    """The repository's URL."""
    ref: Annotated[
        str,
        Field(
            max_length=255,
            json_schema_extra=checks(
                rule(
                    "self.matches('^[A-Za-z0-9]([-._A-Za-z0-9/]*[A-Za-z0-9])?$') && !self.contains('..')",
                    "must be the name of a branch or a tag",
                )
            ),
        ),
    ] = "main"
    """The branch; or, where there is none of that name, the tag."""
    path: (
        Annotated[
            str,
            Field(
                max_length=1024,
                json_schema_extra=checks(
                    rule(
                        "self.matches('^[-._A-Za-z0-9]+(/[-._A-Za-z0-9]+)*$') && !self.contains('..')",
                        "must be the path of a folder in the repository, without a slash at its ends",
                    )
                ),
            ),
        ]
        | None
    ) = None
    """The folder of the files; absent: the repository's root."""
    credentials: Credentials | None = None
    """A Secret in the operator's own namespace with username and password (a token); absent: nobody's login."""


class MigrationSource(ApiModel):
    """Where the files are: a folder that the operator sees, a ConfigMap, or Git. What is in OCI is mounted."""

    model_config = ruled(
        rule(
            "[has(self.directory), has(self.configMapRef), has(self.git)].filter(one, one).size() == 1",
            "write exactly one of directory, configMapRef and git",
        )
    )

    directory: (
        Annotated[
            str,
            Field(
                max_length=1024,
                json_schema_extra=checks(
                    rule(
                        "self.matches('^/[-._a-zA-Z0-9/]+$') && !self.contains('..')",
                        'must be the absolute path of a folder, such as "/migrations", without ".."',
                    )
                ),
            ),
        ]
        | None
    ) = None
    """A folder on the operator's machine, such as a mounted volume."""
    config_map_ref: ConfigMapReference | None = None
    """A ConfigMap whose keys are the files' names."""
    git: GitSource | None = None
    """A Git repository."""


class Migrations(ApiModel):
    """The provider's numbered SQL files, and how a new one reaches the tenants of this cell."""

    source: MigrationSource
    """Where the files are."""
    canaries: Annotated[int, Field(ge=0, le=1_000)] = 1
    """So many tenants are migrated before the others are; 0: none."""
    max_unavailable: CountOrPercent = "10%"
    """How many tenants are migrated at a time, once the canaries are."""
    failure_budget: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """So many tenants may fail; with one more nobody else is migrated until somebody acts."""
    statement_timeout: Duration = "15m"
    """How long one statement may take."""
    lock_timeout: Duration = "5s"
    """How long a statement waits for a lock that the running app holds, before the file is undone and tried again."""


class MigrationsStatus(ApiModel):
    """How far the files have come."""

    latest: str | None = None
    """The name of the last file."""
    digest: str | None = None
    """Tells these files from any others."""
    commit: str | None = None
    """What the branch or tag named when the files were read, where they are in Git."""
    stage: str | None = None
    """Canaries, Waves, Done or Stopped."""
    subjects: int = 0
    """Tenants with tables of their own, and pools of shared tables."""
    current: int = 0
    """How many of them have run all files."""
    in_progress: int = 0
    """How many may be migrated now."""
    held: int = 0
    """How many are left out for now, because they are suspended, paused, held or being moved."""
    failed: tuple[str, ...] = Field(default=(), max_length=16)
    """The first of those whose migration failed."""
