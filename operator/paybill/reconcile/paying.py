"""What the leader knows of Stripe, for whoever decides: the last answer for a contract, and why there is none.

The answers themselves are in the Subscription's facts; reconcile/payments.py asks for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from paybill.api.subscription import Subscription
from paybill.billing.stripe_api import StripeApi
from paybill.control.facts import Facts
from paybill.control.inbox import Inbox
from paybill.lifecycle.known import Known, read
from paybill.lifecycle.subscription import Hold


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why what Stripe has is not what a contract names: ``named`` are the ids that it names."""

    named: tuple[str | None, str | None]
    reason: str
    message: str


@dataclass(kw_only=True)
class Payments:
    """What is known of Stripe beside the facts. ``troubles``: why nothing is known, by the Subscription's UID.

    ``confirming``: an end that Stripe announced, by the Subscription's UID, which it is asked about now that it has
    come; ``confirmed``: one that it was asked about since.
    """

    inbox: Inbox
    api: StripeApi | None
    poll: timedelta
    wanted: set[str] = field(default_factory=set)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    confirming: dict[str, datetime] = field(default_factory=dict)
    confirmed: dict[str, datetime] = field(default_factory=dict)
    polled: datetime | None = None
    swept: datetime | None = None

    def want(self, name: str) -> None:
        """Have a Subscription looked up soon."""
        self.wanted.add(name)
        self.woken.set()

    def stands_by(self, subscription: Subscription, end: datetime) -> bool:
        """Whether Stripe was asked since an announced end came, and did not take it back; else it is asked soon."""
        uid = subscription.metadata.uid
        if self.confirmed.get(uid) == end:
            return True
        self.confirming[uid] = end
        self.want(subscription.metadata.name)
        return False

    def answered(self, uid: str) -> bool:
        """Stripe answered for a contract: true when somebody waits to know whether an announced end stands."""
        end = self.confirming.pop(uid, None)
        if end is not None:
            self.confirmed[uid] = end
        return end is not None

    def trouble_of(self, subscription: Subscription) -> Trouble | None:
        """Why nothing is known of the contract as it is declared now; None where that was not asked yet."""
        found = self.troubles.get(subscription.metadata.uid)
        return found if found is not None and found.named == named_by(subscription) else None


def named_by(subscription: Subscription) -> tuple[str | None, str | None]:
    """The subscription and the customer of Stripe's that a contract names."""
    return subscription.spec.payment.subscription, subscription.spec.payment.customer


def by_stripe(subscription: Subscription) -> bool:
    """Whether a contract goes by what Stripe says."""
    return subscription.spec.payment.provider == "Stripe"


def last_known(subscription: Subscription, facts: Facts | None) -> Known | None:
    """What Stripe last said of the subscription that a contract names; what it said of another one counts no more."""
    found = read(facts.last_known) if facts is not None else None
    spec = subscription.spec.payment
    if found is None or spec.subscription not in (None, found.id) or spec.customer not in (None, found.customer):
        return None
    return found


def operator_hold(kept: Mapping[str, Any]) -> Hold:
    """A hold that came of what the provider said; nobody but the provider's own word lifts it."""
    return Hold(name=f"{kept['source']} {kept['id']}", blocks=kept["blocks"], reason=kept.get("reason", ""))
