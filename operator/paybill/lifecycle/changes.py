"""What an operation would do to a tenant's infrastructure, resource by resource, and the digest that stands for it.

An Approval names that digest. It covers what would be done, what it follows from and the state it was computed of, so
it is void as soon as any of these is another.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class StackModel(BaseModel):
    """A frozen value that crosses a process boundary as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Action = Literal["create", "update", "replace", "delete"]
"""What an operation does to a resource."""

DESTRUCTIVE: frozenset[Action] = frozenset({"replace", "delete"})


class Change(StackModel):
    """What a preview says would happen to one resource; no values, which may be secret."""

    action: Action
    """What would happen."""
    address: str
    """The engine's own name of the resource: a URN or a Terraform address."""
    type: str
    """Its type, such as aws:rds/instance:Instance or aws_db_instance."""
    fields: tuple[str, ...] = ()
    """The paths of the fields that differ, sorted."""
    data: bool = False
    """Whether it holds a customer's data: databases, buckets, keys."""

    @property
    def destructive(self) -> bool:
        """Whether something is taken away."""
        return self.action in DESTRUCTIVE


def changes_digest(changes: tuple[Change, ...] | list[Change], *, inputs_digest: str, state: str = "") -> str:
    """A hash of what would be done: an Approval names it, and it is void when anything of this is another.

    ``state``: the version of the engine's state that the preview was made of.
    """
    # By everything: Terraform lists an address twice when an object that was replaced could not be deleted.
    listed = sorted((one.model_dump(mode="json") for one in changes), key=lambda one: json.dumps(one, sort_keys=True))
    return digest_of({"changes": listed, "inputs": inputs_digest, "state": state})


def digest_of(content: Any) -> str:
    """``sha256:`` and the hash of a value in canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
