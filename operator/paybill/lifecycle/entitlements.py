"""What a tenant is entitled to: the Plan's features, overridden, added to and removed by its Subscription.

Resolved once, in one place, in this order: the base Plan; each add-on times its quantity (integers add up,
booleans or together, strings of an add-on replace); the Subscription's ``set``; the Subscription's ``remove``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from paybill.api.plan import Feature

Value = bool | int | str


@dataclass(frozen=True, kw_only=True)
class Entitlement:
    """One feature or limit that a tenant has; ``source`` says who gave it: Plan, AddOn or Subscription."""

    name: str
    value: Value
    source: str

    @property
    def text(self) -> str:
        """The value as a ConfigMap holds it."""
        return str(self.value).lower() if isinstance(self.value, bool) else str(self.value)


def value_of(feature: Feature) -> Value:
    """The one value a feature carries (admission made sure there is exactly one)."""
    if feature.boolean is not None:
        return feature.boolean
    if feature.integer is not None:
        return feature.integer
    return feature.string or ""


def resolve(
    base: Iterable[Feature],
    add_ons: Sequence[tuple[Iterable[Feature], int]] = (),
    overrides: Iterable[Feature] = (),
    removed: Iterable[str] = (),
) -> tuple[Entitlement, ...]:
    """The entitlements in order of name; ``add_ons`` are (features, quantity) pairs."""
    granted = {feature.name: Entitlement(name=feature.name, value=value_of(feature), source="Plan") for feature in base}
    for features, quantity in add_ons:
        for feature in features:
            added = _times(value_of(feature), quantity)
            before = granted.get(feature.name)
            value = added if before is None else _plus(before.value, added)
            granted[feature.name] = Entitlement(name=feature.name, value=value, source="AddOn")
    for feature in overrides:
        granted[feature.name] = Entitlement(name=feature.name, value=value_of(feature), source="Subscription")
    for name in removed:
        granted.pop(name, None)
    return tuple(granted[name] for name in sorted(granted))


def _times(value: Value, quantity: int) -> Value:
    return value * quantity if isinstance(value, int) and not isinstance(value, bool) else value


def _plus(before: Value, added: Value) -> Value:
    if isinstance(before, bool) and isinstance(added, bool):
        return before or added
    if isinstance(before, int) and isinstance(added, int):
        return before + added
    return added
