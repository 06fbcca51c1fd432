"""What an engine would make for a tenant, resource by resource, known without a cloud, a login or a state.

It is what ``paybill render`` shows, what golden files keep and what the must-have settings are tested on: one value for
every engine, so that one cloud can be compared with another.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from paybill.desired.stack import StackInputs, StackModel, StackOutputs

SECRET = "[secret]"  # noqa: S105 - what is shown in place of one
"""Stands where a secret value is."""

Verified = Literal["Render", "Emulator", "Cloud"]
"""How far a program was tried: under the SDK's mocks, against an emulator, on the cloud itself."""


class RenderedOptions(StackModel):
    """How the engine treats a resource, apart from what the cloud is told."""

    protect: bool = False
    """It is not destroyed before somebody takes the protection away."""
    retain: bool = False
    """It stays in the cloud when it leaves the stack."""
    provider: str = ""
    """The explicit provider it is made with; empty: the engine's default, which no program may use."""
    parent: str = ""
    """The address of the resource it is a part of."""
    ignore_changes: tuple[str, ...] = ()
    """Fields whose change by others is accepted, sorted."""
    timeouts: dict[str, str] = Field(default_factory=dict)
    """How long create, update and delete may take, such as ``60m``."""


class RenderedResource(StackModel):
    """One resource of a tenant's stack."""

    address: str
    """The engine's own name of the resource: a URN or a Terraform address. Unique."""
    type: str
    """Its type, such as aws:rds/instance:Instance or aws_db_instance."""
    name: str
    """Its logical name within the program."""
    physical: str = ""
    """The name it gets in the cloud; empty where the cloud chooses it."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """What the cloud is told; secrets are ``[secret]``, what is known only later is what the fakes say."""
    options: RenderedOptions = RenderedOptions()
    """How the engine treats it."""
    depends_on: tuple[str, ...] = ()
    """Addresses of the resources it needs, sorted, without the provider."""
    data: bool = False
    """Whether it holds a customer's data: databases, buckets, keys, secrets."""


class Rendering(StackModel):
    """A tenant's whole stack, and what it would hand over."""

    resources: tuple[RenderedResource, ...]
    """In the order of their addresses, the provider among them."""
    outputs: StackOutputs = StackOutputs()
    """Values that a cloud would give are made up; secrets are ``[secret]``."""
    examples: dict[str, str] = Field(default_factory=dict)
    """What of the foundation was asked for and not given, with the examples that stood in for it."""


class RenderRequest(StackModel):
    """What a rendering process is asked."""

    inputs: StackInputs
    """What the stack follows from."""
    examples: bool = False
    """Whether examples stand in for what the foundation does not give."""


class RenderError(RuntimeError):
    """A program cannot be rendered, in words for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
