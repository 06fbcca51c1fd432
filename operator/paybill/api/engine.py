"""Cell.spec.engine: what makes tenants' own infrastructure, where it keeps its state, and the login it works with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from paybill.api.base import ApiModel, SecretReference
from paybill.api.fields import Line
from paybill.api.rules import checks, rule, ruled


class EngineState(ApiModel):
    """Where an engine keeps what it knows about what it made."""

    url: Annotated[
        str,
        Field(
            max_length=1024,
            json_schema_extra=checks(
                rule(
                    "self.matches('^[a-z][a-z0-9+.-]*://[^ @]+$')",
                    'must be a URL without credentials, such as "s3://bucket/prefix" or "file:///var/lib/paybill"; '
                    "credentials belong in spec.credentials",
                )
            ),
        ),
    ]
    """The state's URL."""


class Engine(ApiModel):
    """What creates cloud infrastructure for tenants of this cell."""

    model_config = ruled(
        rule(
            "!(has(self.modulePath) && has(self.programPath))",
            "modulePath and programPath exclude each other: write one of the two",
        ),
        rule("!has(self.modulePath) || self.type == 'Terraform'", "modulePath belongs to type Terraform"),
        rule("!has(self.programPath) || self.type == 'Pulumi'", "programPath belongs to type Pulumi"),
        rule(
            "self.runner != 'Job' || self.type != 'Embedded'",
            "runner Job belongs to Pulumi and Terraform: Embedded makes servers on the operator's own machine",
        ),
        rule(
            "self.runner != 'Job' || (has(self.state) && !self.state.url.startsWith('file:'))",
            "runner Job needs a state that outlives a pod: write state.url, and no file:// URL",
        ),
    )

    type: Literal["Embedded", "Pulumi", "Terraform"] = "Pulumi"
    """Pulumi, Terraform (or OpenTofu), or Embedded on one machine."""
    state: EngineState | None = None
    """Where the engine keeps its state."""
    secrets_provider: Line | None = None
    """What encrypts secrets in the state, such as awskms://alias/paybill."""
    foundation: dict[str, Annotated[str, Field(max_length=2048)]] = Field(
        default_factory=dict,
        max_length=64,
        json_schema_extra=checks(
            rule(
                "self.all(key, key.size() <= 63 && key.matches('^[a-z][a-z0-9_]*$'))",
                "every name must begin with a lower-case letter and have only these, digits and _",
            )
        ),
    )
    """What the tenants of this cell share, by the names that the programs use: networks, clusters, key rings."""
    runner: Literal["Subprocess", "Job"] = "Subprocess"
    """Where an operation runs: as a process beside the operator, or as a Job of its own."""
    module_path: Line | None = None
    """Terraform: a module of one's own instead of the built-in one."""
    program_path: Line | None = None
    """Pulumi: a project of one's own instead of the built-in one."""


class Credentials(ApiModel):
    """What the engine logs in to the cloud with."""

    secret_ref: SecretReference
    """A Secret in the operator's own namespace."""
