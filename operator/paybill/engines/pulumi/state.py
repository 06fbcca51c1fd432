"""What the state of a stack says, read from an export in which secrets stay encrypted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from paybill.desired.stack import Change, digest_of
from paybill.engines.pulumi.events import STACK_TYPE
from paybill.engines.pulumi.holding import holds_data
from paybill.engines.pulumi.protection import restored

_PROVIDER = "pulumi:providers:"


@dataclass(frozen=True, kw_only=True)
class Held:
    """A resource that the state has."""

    urn: str
    type: str
    id: str
    protected: bool
    kept: bool
    """Whether the cloud keeps it when the stack goes: it is retained, or something that is rests on it."""

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
    tags: Mapping[str, str] = field(default_factory=dict)
    """What the stack is marked with."""

    @property
    def resources(self) -> tuple[Held, ...]:
        """All that is somewhere: neither the stack itself, nor providers, nor mere groups of resources."""
        kept = self.kept
        return tuple(
            Held(
                urn=one["urn"],
                type=one["type"],
                id=one["id"],
                protected=bool(one.get("protect")),
                kept=one["urn"] in kept,
            )
            for one in self._listed("resources")
            if one.get("custom") and one.get("id") and not one["type"].startswith(_PROVIDER)
        )

    @property
    def protected(self) -> frozenset[str]:
        """URNs of what is protected, of whatever kind."""
        return frozenset(one["urn"] for one in self._listed("resources") if one.get("protect"))

    @property
    def lifted(self) -> tuple[str, ...]:
        """URNs of what an operation left unprotected that died."""
        again = restored(self.deployment, self.tags).get("resources") or ()
        both = zip(self._listed("resources"), again, strict=True)
        return tuple(sorted({one["urn"] for one, other in both if one != other}))

    @property
    def retaining(self) -> frozenset[str]:
        """URNs of what a cloud keeps when it leaves the stack."""
        return frozenset(one["urn"] for one in self._listed("resources") if one.get("retainOnDelete"))

    @property
    def kept(self) -> frozenset[str]:
        """URNs of what stays when the stack goes: what is retained, and all that this rests on."""
        needs: dict[str, set[str]] = {}
        for one in self._listed("resources"):
            needs.setdefault(one["urn"], set()).update(_needs(one))
        found: set[str] = set()
        due = set(self.retaining)
        while due:
            found |= due
            due = {need for urn in due for need in needs.get(urn, ())} - found
        return frozenset(found)

    @property
    def going(self) -> tuple[str, ...]:
        """URNs of what does not stay, in the order of the state: first what the rest is made with."""
        kept = self.kept
        urns = [one["urn"] for one in self._listed("resources") if one["type"] != STACK_TYPE]
        return tuple(dict.fromkeys(urn for urn in urns if urn not in kept))

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
            if not one.kept
        )

    def ids(self, urns: Collection[str]) -> tuple[str, ...]:
        """Physical ids of resources that outlive the stack; what only a state has (a Stash) then is nowhere."""
        there = (one for one in self.resources if one.urn in urns and not one.type.startswith("pulumi:"))
        return tuple(sorted({one.id for one in there}))

    def _listed(self, name: str) -> Iterator[Mapping[str, Any]]:
        yield from self.deployment.get(name) or ()


def _needs(one: Mapping[str, Any]) -> Iterator[str]:
    """URNs of what a resource is made with, belongs to or refers to."""
    yield from one.get("dependencies") or ()
    for urns in (one.get("propertyDependencies") or {}).values():
        yield from urns or ()
    provider = str(one.get("provider") or "").rpartition("::")[0]
    yield from filter(None, (provider, one.get("parent"), one.get("deletedWith")))


_UNIMPORTANT = frozenset({"created", "modified", "ciphertext", "sourcePosition", "stackTrace"})


def _comparable(value: Any) -> Any:
    match value:
        case Mapping():
            return {name: _comparable(each) for name, each in value.items() if name not in _UNIMPORTANT}
        case list():
            return [_comparable(each) for each in value]
        case _:
            return value
