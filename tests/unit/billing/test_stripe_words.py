"""What Stripe's objects mean, in the shapes of two versions of its API; statuses that nobody knows change nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from paybill.billing.stripe_words import STATUSES, checkout, dispute_hold, is_for, known, meant, signs_up
from paybill.lifecycle.known import newer, read, wire
from paybill.lifecycle.provider import Status

RECORDED = Path(__file__).parents[2] / "billing" / "recorded" / "checkout_session.json"
ASKED = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = 86400
THEN = int(ASKED.timestamp())


def subscription(status: str = "active", **given: Any) -> dict[str, Any]:
    """As the API of 2025 and later writes it: the period is each item's."""
    item = {"price": {"id": "price_1"}, "quantity": 3, "current_period_end": THEN + 30 * DAY}
    return {
        "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": status, "created": THEN,
        "items": {"data": [item]}, "metadata": {}, "trial_end": None, "canceled_at": None, "ended_at": None,
    } | given  # fmt: skip


def before_2025(status: str = "active") -> dict[str, Any]:
    """As APIs before wrote it: the period is the subscription's, and a price was a plan."""
    items = {"data": [{"plan": {"id": "price_1"}, "quantity": 3}]}
    return subscription(status, items=items, current_period_end=THEN + 30 * DAY)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.mark.parametrize(("raw", "status"), sorted(STATUSES.items()))
def test_each_status_of_stripes_has_one_of_ours(raw, status):
    assert known(subscription(raw), asked=ASKED).snapshot.status is status


def test_both_shapes_say_the_same():
    new, old = known(subscription(), asked=ASKED), known(before_2025(), asked=ASKED)
    assert new == old
    assert (new.items, new.snapshot.paid_until) == ((("price_1", 3),), at(THEN + 30 * DAY))


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ({"cancel_at_period_end": True}, THEN + 30 * DAY),
        ({"cancel_at_period_end": True, "cancel_at": THEN + 30 * DAY}, THEN + 30 * DAY),
        ({"cancel_at_period_end": False, "cancel_at": THEN + 5 * DAY}, THEN + 5 * DAY),
        ({"cancel_at_period_end": False, "cancel_at": None}, None),
        ({"status": "canceled", "cancel_at_period_end": True, "cancel_at": THEN}, None),
    ],
)
def test_an_end_that_is_to_come_is_kept_with_its_moment(said, end):
    found = known(subscription(**said), asked=ASKED)
    assert found.snapshot.cancel_time == (None if end is None else at(end))
    assert read(wire(found)) == found


@pytest.mark.parametrize(
    "metered",
    [
        {"price": {"id": "price_u", "recurring": {"usage_type": "metered"}}},
        {"plan": {"id": "price_u", "usage_type": "metered"}},
    ],
    ids=["a price", "a plan"],
)
def test_what_is_billed_by_use_has_no_quantity_and_is_kept_apart(metered):
    licensed = {"price": {"id": "price_1", "recurring": {"usage_type": "licensed"}}, "quantity": 3}
    found = known(subscription(items={"data": [licensed, metered]}), asked=ASKED)
    assert (found.items, found.metered) == ((("price_1", 3),), ("price_u",))
    assert read(wire(found)) == found
    assert read({key: value for key, value in wire(found).items() if key != "metered"}) is not None


@pytest.mark.parametrize("status", ["past_due", "unpaid", "incomplete"])
def test_money_is_owed_since_the_earliest_invoice_that_is_still_open(status):
    invoices = [
        {"status": "paid", "due_date": THEN - 90 * DAY},
        {"status": "open", "due_date": None, "status_transitions": {"finalized_at": THEN - 3 * DAY}},
        {"status": "open", "due_date": THEN - DAY},
        {"status": "open", "created": THEN - 2 * DAY},
    ]
    found = known(subscription(status), asked=ASKED, invoices=invoices).snapshot
    assert (found.past_due_since, found.paid_until) == (at(THEN - 3 * DAY), None)


def test_what_was_kept_is_read_back_as_it_was():
    for raw in sorted(STATUSES):
        invoices = [{"status": "open", "created": THEN}]
        one = known(subscription(raw, trial_end=THEN, canceled_at=THEN), asked=ASKED, invoices=invoices)
        assert read(wire(one)) == one
    assert read(None) is None
    assert read({"status": "past_due"}) is None
    assert read(wire(one) | {"snapshot": {"status": "OfALaterRelease"}}) is None


def test_an_unknown_status_is_shown_and_changes_nothing():
    active = known(subscription(), asked=ASKED)
    strange = known(subscription("hibernating"), asked=ASKED + timedelta(hours=1))
    found = newer(active, strange)
    assert (found.raw, found.snapshot) == ("hibernating", active.snapshot)
    assert strange.snapshot.status is Status.UNKNOWN


def test_the_same_answer_again_is_no_news_and_an_older_one_neither():
    active = known(subscription(), asked=ASKED)
    assert newer(active, known(subscription(), asked=ASKED + timedelta(hours=1))) is active
    assert newer(active, known(subscription("canceled"), asked=ASKED - timedelta(seconds=1))) is active
    owing = known(subscription("past_due"), asked=ASKED)
    assert newer(active, owing) is owing, "of one second: asked one after the other"
    other = known(subscription(id="sub_2"), asked=ASKED - timedelta(days=9))
    assert newer(active, other) is other, "another subscription is not measured by the time of this one"


def named(one: str, status: str = "active", tenant: str = "", created: int = THEN) -> dict[str, Any]:
    metadata = {"paybill.dev/tenant": tenant} if tenant else {}
    return subscription(status, id=one, metadata=metadata, created=created)


@pytest.mark.parametrize(
    ("subscriptions", "chosen"),
    [
        ([], None),
        ([named("sub_1")], "sub_1"),
        ([named("sub_1"), named("sub_2", tenant="acme")], "sub_2"),
        ([named("sub_1", tenant="other")], None),
        ([named("sub_1"), named("sub_2")], None),
        ([named("sub_1", "canceled"), named("sub_2")], "sub_2"),
        ([named("sub_1", "canceled", created=THEN + 9), named("sub_2", "canceled")], "sub_1"),
        ([named("sub_1", "canceled", tenant="acme", created=THEN + 9), named("sub_2", "past_due", "acme")], "sub_2"),
        ([named("sub_1", tenant="acme"), named("sub_2", tenant="acme", created=THEN + 1)], "sub_2"),
    ],
    ids=["none", "the only one", "the one that names it", "only another's", "either", "one is over", "both are over",
         "what runs before what is over", "the later"],
)  # fmt: skip
def test_of_a_customers_subscriptions_it_is_the_tenants_own(subscriptions, chosen):
    found = meant(subscriptions, "acme")
    assert (found["id"] if found else None) == chosen
    assert found is None or is_for(found, "acme")


@pytest.mark.parametrize(
    ("dispute", "held"),
    [
        ({"status": "needs_response"}, True),
        ({"status": "under_review"}, True),
        ({"status": "lost"}, True),
        ({"status": "won"}, False),
        ({"status": "warning_closed"}, False),
        ({"status": "a_new_one"}, True),
        ({"status": "lost", "metadata": {"paybill.dev/settled": "true"}}, False),
    ],
)
def test_a_dispute_holds_changes_until_it_is_won_or_a_person_settles_it(dispute, held):
    hold = dispute_hold({"id": "dp_1", "created": THEN, "reason": "fraudulent", "metadata": {}} | dispute)
    assert (hold is not None) is held
    assert hold is None or (hold["source"], hold["id"], hold["blocks"]) == ("Dispute", "dp_1", "Changes")


def session(**given: Any) -> dict[str, Any]:
    return json.loads(RECORDED.read_text()) | given


def test_a_checkout_is_what_is_billed_and_what_the_providers_own_server_wrote():
    found = checkout(session(metadata={"paybill.dev/tenant": "acme"}), subscription("trialing"))
    assert (found.session, found.subscription, found.customer) == (session()["id"], "sub_1", "cus_1")
    assert (found.complete, found.payment, found.standing) == (True, "paid", Status.TRIALING)
    assert found.items == (("price_1", 3),)
    assert (found.tenant, found.meant_for) == ("acme", "")
    assert "system:masters" not in repr(found), "nothing that the payer wrote"
    assert "DROP" not in repr(found)


def test_only_a_session_that_made_a_subscription_signs_anybody_up():
    assert signs_up(session())
    assert signs_up(session(subscription={"id": "sub_1", "object": "subscription"})), "expanded"
    for other in ({"mode": "payment"}, {"mode": "setup"}, {"subscription": None},
                  {"metadata": {"paybill.dev/signup": "false"}}):  # fmt: skip
        assert not signs_up(session(**other))
    assert not checkout(session(status="open"), subscription()).complete
