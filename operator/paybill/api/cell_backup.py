"""Cell.spec.backup: where the backups of a cell's tenants are kept, and the key that seals them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from paybill.api.base import ApiModel, SecretKeyReference
from paybill.api.engine import Credentials
from paybill.api.rules import checks, rule, ruled


class Bucket(ApiModel):
    """A bucket that speaks S3."""

    name: Annotated[
        str,
        Field(
            max_length=63,
            json_schema_extra=checks(
                rule("self.matches('^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$')", "must be the name of a bucket")
            ),
        ),
    ]
    """The bucket; it must exist."""
    prefix: (
        Annotated[
            str,
            Field(
                max_length=256,
                json_schema_extra=checks(
                    rule(
                        "self.matches('^[A-Za-z0-9][-._A-Za-z0-9]*(/[A-Za-z0-9][-._A-Za-z0-9]*)*$')",
                        "must be a path without a slash at its ends",
                    )
                ),
            ),
        ]
        | None
    ) = None
    """What all names in the bucket begin with."""
    region: Annotated[str, Field(max_length=63, pattern="^[A-Za-z0-9]([-_A-Za-z0-9]*[A-Za-z0-9])?$")] | None = None
    """The bucket's region."""
    endpoint: (
        Annotated[
            str,
            Field(
                max_length=1024,
                json_schema_extra=checks(
                    rule(
                        "self.matches('^https?://[^ @/?#]+(/[^ @?#]*)?$')",
                        "must be an http or https URL without a login",
                    )
                ),
            ),
        ]
        | None
    ) = None
    """The URL of another service than Amazon's."""
    credentials: Credentials
    """A Secret in the operator's own namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""


class BackupStore(ApiModel):
    """Where the backups of the cell's tenants are kept."""

    model_config = ruled(
        rule("has(self.bucket) == (self.type == 'Bucket')", "bucket belongs to type Bucket, which needs it"),
    )

    type: Literal["Directory", "Bucket"]
    """Directory: below the folder that the operator's PAYBILL_BACKUP_FOLDER names; Bucket: one that speaks S3."""
    bucket: Bucket | None = None
    """The bucket."""


class CellBackup(ApiModel):
    """How tenants of this cell are backed up."""

    store: BackupStore
    """Where backups are kept."""
    key_secret_ref: SecretKeyReference
    """The key that seals new backups: 32 random bytes, raw or in base64. Other keys of that Secret open older ones."""
    jobs_per_server: Annotated[int, Field(ge=1, le=100)] = 1
    """Backups and restores at the same time on one server."""
