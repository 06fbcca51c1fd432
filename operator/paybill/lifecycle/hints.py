"""What a payment provider's event is worth: a hint that something changed, and where to look.

Events come late, twice, out of order or never, and say how things were when they were made. So of an event only its
identity and the ids in it are kept, no name and no amount; what became of them is asked of the provider itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

STRIPE = "stripe"

_FAMILIES = ("customer.subscription.", "invoice.", "charge.dispute.")
_SINGLE = frozenset({"checkout.session.completed", "checkout.session.async_payment_succeeded", "customer.deleted"})
_LONGEST = 255


@dataclass(frozen=True, kw_only=True)
class Hint:
    """One event. ``source`` and ``id`` tell it apart for ever; the other ids are empty where the event has none."""

    source: str
    id: str
    type: str
    object: str
    subscription: str
    customer: str
    created: datetime


def matters(event_type: str) -> bool:
    """Whether events of a type can change the phase of a Subscription, or put a hold on it."""
    return event_type in _SINGLE or event_type.startswith(_FAMILIES)


def stripe_hint(event: Mapping[str, Any]) -> Hint:
    """The hint in an event of Stripe's, whatever version of its API wrote it; raises ValueError when it is none."""
    match event:
        case {"id": str(one), "type": str(kind), "created": int(created), "data": {"object": dict(found)}}:
            return Hint(
                source=STRIPE,
                id=_id(one),
                type=_id(kind),
                object=_id(found.get("id", "")),
                subscription=_id(_subscription(found)),
                customer=_id(found.get("id") if found.get("object") == "customer" else found.get("customer")),
                created=datetime.fromtimestamp(created, UTC),
            )
        case _:
            raise ValueError("no event")


def _subscription(found: Mapping[str, Any]) -> object:
    """Where an object names its subscription: itself, a field, or since 2025 what an invoice came of."""
    if found.get("object") == "subscription":
        return found.get("id")
    match found:
        case {"parent": {"subscription_details": {"subscription": one}}}:
            return one
        case _:
            return found.get("subscription")


def _id(value: object) -> str:
    """An id, also of an object that came expanded; raises ValueError for what is none."""
    match value:
        case None:
            return ""
        case {"id": inner}:
            return _id(inner)
        case str() if len(value) <= _LONGEST and value.isprintable():
            return value
        case _:
            raise ValueError("no id")
