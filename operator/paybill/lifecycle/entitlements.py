"""What a tenant is entitled to: the Plan's features, overridden, added to and removed by its Subscription.

Resolved once, in one place, in this order: the base Plan, what is per unit times the Subscription's quantity; each
add-on times its own (integers add up, booleans or together, anything else of an add-on replaces); the Subscription's
``set``, what is per unit again times its quantity; the Subscription's ``remove``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from paybill.api.failures import Invalid
from paybill.api.limits import LARGEST_INTEGER, Feature

Value = bool | int | str

MOST = 256
"""Entitlements of one tenant: the bound of ``status.entitlements``."""

LARGEST = 560 * 1024
"""Bytes that their names and texts may take as JSON: a Subscription with the longest spec must still fit into etcd."""

_ESCAPED = "<>&\u2028\u2029"
"""What the API server writes with six characters."""


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
    *,
    quantity: int = 1,
) -> tuple[Entitlement, ...]:
    """The entitlements in order of name; ``add_ons`` are (features, quantity) pairs, ``quantity`` is that of the base.

    Raises Invalid when they are more, or larger, than a status can hold.
    """
    granted = {one.name: Entitlement(name=one.name, value=_sold(one, quantity), source="Plan") for one in base}
    for features, quantity in add_ons:
        for feature in features:
            added = _times(value_of(feature), quantity)
            before = granted.get(feature.name)
            value = added if before is None else _plus(before.value, added)
            granted[feature.name] = Entitlement(name=feature.name, value=value, source="AddOn")
    for feature in overrides:
        granted[feature.name] = Entitlement(name=feature.name, value=_sold(feature, quantity), source="Subscription")
    for name in removed:
        granted.pop(name, None)
    if len(granted) > MOST:
        raise Invalid("TooManyEntitlements", f"{len(granted)} entitlements are more than {MOST}: name fewer add-ons")
    size = sum(_size(one.name) + _size(one.text) for one in granted.values())
    if size > LARGEST:
        raise Invalid("TooManyEntitlements", f"the entitlements take {size} bytes, more than {LARGEST}: shorten texts")
    return tuple(granted[name] for name in sorted(granted))


def _size(text: str) -> int:
    return len(text.encode()) + 5 * sum(text.count(one) for one in _ESCAPED)


def _sold(feature: Feature, quantity: int) -> Value:
    """What so many units give."""
    return _times(value_of(feature), quantity if feature.per_unit else 1)


def _times(value: Value, quantity: int) -> Value:
    return value if isinstance(value, bool | str) else _bounded(value * quantity)


def _plus(before: Value, added: Value) -> Value:
    """Like is added to like; of different types (a bool is not a number here) the add-on's replaces."""
    match before, added:
        case bool(), bool():
            return before or added
        case (bool(), _) | (_, bool()) | (str(), _) | (_, str()):
            return added
        case _:
            return _bounded(before + added)


def _bounded(value: int) -> int:
    """No larger than every JSON reader gets right: a quantity of a million may not make an app read nonsense."""
    return max(-LARGEST_INTEGER, min(LARGEST_INTEGER, value))
