"""What the state of a stack says, read from an export in which secrets stay encrypted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from paybill.desired.stack import Change, digest_of
from paybill.engines.pulumi.events import STACK_TYPE
from paybill.engines.pulumi.holding import holds_data

_PROVIDER = "pulumi:providers:"


@dataclass(frozen=True, kw_only=True)
class Held:
    """A resource that the state has."""

    urn: str
    type: str
    id: str
    protected: bool
    retained: bool
    """Whether the cloud keeps it when it leaves the stack."""

    @property
    def data(self) -> bool:
        """Whether it holds a customer's data."""
        return holds_data(self.type, protected=self.protected)


@dataclass(frozen=True, kw_only=True)
class Pending:
    """An operation that was begun and of which nobody knows how it ended."""

    urn: str
    type: str
    operation: str
    """``creating``, ``updating``, ``deleting``, ``reading`` or ``importing``."""
    inputs: Mapping[str, Any]
    """What was asked for; secrets are encrypted in it."""


@dataclass(frozen=True)
class State:
    """The state of one stack. Without a deployment: of a stack that does not exist."""

    deployment: Mapping[str, Any]

    @property
    def resources(self) -> tuple[Held, ...]:
        """All that is somewhere: neither the stack itself, nor providers, nor mere groups of resources."""
        return tuple(
            Held(
                urn=one["urn"],
                type=one["type"],
                id=one["id"],
                protected=bool(one.get("protect")),
                retained=bool(one.get("retainOnDelete")),
            )
            for one in self._listed("resources")
            if one.get("custom") and one.get("id") and not one["type"].startswith(_PROVIDER)
        )

    @property
    def protected(self) -> bool:
        """Whether any resource is protected, of whatever kind."""
        return any(one.get("protect") for one in self._listed("resources"))

    @property
    def empty(self) -> bool:
        """Whether there is nothing but perhaps the stack itself."""
        return all(one["type"] == STACK_TYPE for one in self._listed("resources"))

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What an operation left that died."""
        return tuple(
            Pending(
                urn=one["resource"]["urn"],
                type=one["resource"]["type"],
                operation=one["type"],
                inputs=one["resource"].get("inputs") or {},
            )
            for one in self._listed("pending_operations")
        )

    @property
    def version(self) -> str:
        """Changes with everything that a preview is made of: an approval is void when this is another one.

        Empty for a stack without resources, whether it exists or not. When it was written is left out, and so is the
        cipher text of secrets, which may be another one for the same value.
        """
        listed = [_comparable(one) for one in self._listed("resources") if one["type"] != STACK_TYPE]
        return digest_of({"resources": listed, "pending": [one.urn for one in self.pending]}) if listed else ""

    def deletions(self) -> tuple[Change, ...]:
        """What a destruction would take away from the cloud."""
        return tuple(
            Change(action="delete", address=one.urn, type=one.type, data=one.data)
            for one in sorted(self.resources, key=lambda one: one.urn)
            if not one.retained
        )

    def _listed(self, name: str) -> Iterator[Mapping[str, Any]]:
        yield from self.deployment.get(name) or ()


_UNIMPORTANT = frozenset({"created", "modified", "ciphertext", "sourcePosition", "stackTrace"})


def _comparable(value: Any) -> Any:
    match value:
        case Mapping():
            return {name: _comparable(each) for name, each in value.items() if name not in _UNIMPORTANT}
        case list():
            return [_comparable(each) for each in value]
        case _:
            return value
