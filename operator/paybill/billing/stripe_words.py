"""Stripe's objects in Paybill's words: pure, for whatever version of its API wrote them.

Statuses are an open enumeration: one that is not in the table becomes Unknown, and changes nothing. Since 2025 a
subscription's period is on its items, and an invoice names its subscription inside of ``parent``; before, both were
fields of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from paybill.lifecycle.collection import Collection
from paybill.lifecycle.known import Known
from paybill.lifecycle.provider import Snapshot, Status
from paybill.lifecycle.signup import Checkout

TENANT = "paybill.dev/tenant"
"""The metadata of a subscription at Stripe that names the Tenant it is for."""
PAUSED = "paybill.dev/paused"
"""The metadata of a subscription at Stripe by which a pause of its collection is known as ours."""
PAUSED_HOW = "void"
"""What becomes of invoices meanwhile: they are void, nobody is asked for them later."""
SETTLED = "paybill.dev/settled"
"""The metadata of a dispute at Stripe by which a person says that it holds nothing any more."""

STATUSES = {
    "incomplete": Status.INCOMPLETE,
    "incomplete_expired": Status.INCOMPLETE_EXPIRED,
    "trialing": Status.TRIALING,
    "active": Status.ACTIVE,
    "past_due": Status.PAST_DUE,
    "unpaid": Status.UNPAID,
    "paused": Status.PAUSED,
    "canceled": Status.CANCELED,
}
OWING = frozenset({"incomplete", "past_due", "unpaid"})
"""Statuses for which it matters since when an invoice is open."""
SIGNUP = "paybill.dev/signup"
"""The metadata of a checkout session that says ``false`` where it is for something else than a Tenant."""
_OVER = ("canceled", "incomplete_expired")
_HELD = frozenset({"won", "warning_closed", "prevented"})
"""Ends of a dispute after which nothing is held."""


def known(
    subscription: Mapping[str, Any], *, asked: datetime, invoices: Iterable[Mapping[str, Any]] = (),
    customer_gone: bool = False,
) -> Known:  # fmt: skip
    """What a subscription says; ``asked``: Stripe's time of the answer, ``invoices``: its latest ones, where owing."""
    items = subscription.get("items", {}).get("data", [])
    raw = str(subscription["status"])
    status = STATUSES.get(raw, Status.UNKNOWN)
    ends = [subscription.get("current_period_end"), *(item.get("current_period_end") for item in items)]
    period_end = max((end for end in ends if end), default=None)
    paid = raw in {"active", "trialing"}
    return Known(
        id=subscription["id"],
        customer=_id(subscription.get("customer")),
        raw=raw,
        snapshot=Snapshot(
            status=status,
            provider_time=asked,
            trial_end=_time(subscription.get("trial_end")),
            paid_until=_time(period_end) if paid else None,
            past_due_since=_unpaid_since(invoices) if raw in OWING else None,
            canceled_time=_time(subscription.get("ended_at") or subscription.get("canceled_at"))
            if raw == "canceled"
            else None,
            cancel_time=_cancel_time(subscription, period_end) if raw not in _OVER else None,
        ),
        items=tuple(sorted((_price(item), _quantity(item)) for item in items if not _metered(item))),
        metered=tuple(sorted(_price(item) for item in items if _metered(item))),
        customer_gone=customer_gone,
        collection_paused=str((subscription.get("pause_collection") or {}).get("behavior") or ""),
        pause_mark=str((subscription.get("metadata") or {}).get(PAUSED) or ""),
    )


def collection(known: Known, mark: str) -> Collection:
    """How it stands with collecting. A pause that says it is ours and does something else was changed by somebody."""
    ours = known.pause_mark == mark
    if known.collection_paused:
        return Collection.OURS if ours and known.collection_paused == PAUSED_HOW else Collection.FOREIGN
    return Collection.STALE if ours else Collection.RUNNING


def _cancel_time(subscription: Mapping[str, Any], period_end: Any) -> datetime | None:
    """As of when a subscription is to be cancelled: at a moment, or with its period, which versions say differently."""
    with_period = subscription.get("cancel_at_period_end")
    return _time(subscription.get("cancel_at") or (period_end if with_period else None))


def meant(subscriptions: Sequence[Mapping[str, Any]], tenant: str) -> Mapping[str, Any] | None:
    """Which of a customer's subscriptions is for a Tenant: the one that names it, else the only one that names none.

    One that runs comes before one that is over, and a later one before an earlier.
    """
    named = [one for one in subscriptions if _names(one) == tenant]
    unnamed = [one for one in subscriptions if not _names(one)]
    candidates = named or [one for one in unnamed if one["status"] not in _OVER] or unnamed
    if not named and len(candidates) > 1 and candidates[0]["status"] not in _OVER:
        return None
    return max(candidates, key=_newest, default=None)


def _newest(subscription: Mapping[str, Any]) -> tuple[bool, int, str]:
    return subscription["status"] not in _OVER, subscription.get("created") or 0, subscription["id"]


def is_for(subscription: Mapping[str, Any], tenant: str) -> bool:
    """Whether a subscription is for a Tenant, as far as it says for whom it is."""
    return _names(subscription) in ("", tenant)


def dispute_hold(dispute: Mapping[str, Any]) -> dict[str, str] | None:
    """The hold that a dispute puts on a contract, as it is kept; None where it holds nothing (any more).

    A dispute that was lost holds on: the customer has the money and the service. A person ends that at Stripe.
    """
    settled = str((dispute.get("metadata") or {}).get(SETTLED)) == "true"
    if settled or dispute.get("status") in _HELD:
        return None
    since = _time(dispute.get("created"))
    return {
        "source": "Dispute",
        "id": dispute["id"],
        "blocks": "Changes",
        "reason": f"a payment is disputed ({dispute.get('reason')}), {dispute.get('status')}",
    } | ({"since": since.isoformat()} if since is not None else {})


def signs_up(session: Mapping[str, Any]) -> bool:
    """Whether a checkout session is one of a contract at all: it may as well have sold something for once."""
    declined = (session.get("metadata") or {}).get(SIGNUP) == "false"
    return session.get("mode") == "subscription" and bool(_id(session.get("subscription"))) and not declined


def checkout(session: Mapping[str, Any], subscription: Mapping[str, Any]) -> Checkout:
    """A session and its subscription in our words."""
    said = known(subscription, asked=datetime.fromtimestamp(0, UTC))
    return Checkout(
        session=session["id"],
        subscription=said.id,
        customer=said.customer,
        complete=session.get("status") == "complete",
        payment=str(session.get("payment_status") or ""),
        standing=said.snapshot.status,
        items=said.items,
        tenant=_names(session),
        meant_for=_names(subscription),
    )


def subscription_of(session: Mapping[str, Any]) -> str:
    """The id of the subscription that a session made; empty where it made none."""
    return _id(session.get("subscription"))


def _names(subscription: Mapping[str, Any]) -> str:
    return str((subscription.get("metadata") or {}).get(TENANT) or "")


def _unpaid_since(invoices: Iterable[Mapping[str, Any]]) -> datetime | None:
    """The earliest moment at which an invoice that is still open had to be paid."""
    due = (
        one.get("due_date") or (one.get("status_transitions") or {}).get("finalized_at") or one.get("created")
        for one in invoices
        if one.get("status") == "open"
    )
    return _time(min((time for time in due if time), default=None))


def _price(item: Mapping[str, Any]) -> str:
    return _id(item.get("price") or item.get("plan"))


def _quantity(item: Mapping[str, Any]) -> int:
    """How many of an item are billed; one that does not say it is billed once, and none may be billed at all."""
    said = item.get("quantity")
    return 1 if said is None else int(said)


def _metered(item: Mapping[str, Any]) -> bool:
    """Whether an item is billed by what is used: such an item has no quantity."""
    price = item.get("price") or item.get("plan") or {}
    if not isinstance(price, Mapping):
        return False
    return "metered" in (price.get("usage_type"), (price.get("recurring") or {}).get("usage_type"))


def _id(value: object) -> str:
    return str(value["id"]) if isinstance(value, Mapping) else str(value or "")


def _time(value: Any) -> datetime | None:
    return None if value is None else datetime.fromtimestamp(int(value), UTC)
