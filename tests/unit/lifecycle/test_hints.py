"""What is read of an event: ids and a time, in the shapes of all versions; everything else is no event."""

from __future__ import annotations

from typing import Any

import pytest

from paybill.lifecycle.hints import matters, stripe_hint


def event(found: Any, **given: Any) -> dict[str, Any]:
    return {"id": "evt_1", "type": "invoice.paid", "created": 1_700_000_000, "data": {"object": found}} | given


@pytest.mark.parametrize(
    ("found", "subscription", "customer"),
    [
        ({"id": "sub_1", "object": "subscription", "customer": "cus_1"}, "sub_1", "cus_1"),
        ({"id": "in_1", "object": "invoice", "customer": "cus_1", "subscription": "sub_1"}, "sub_1", "cus_1"),
        (
            {"id": "in_1", "object": "invoice", "customer": {"id": "cus_1"}, "subscription": None,
             "parent": {"subscription_details": {"subscription": "sub_1"}}},
            "sub_1", "cus_1",
        ),
        ({"id": "in_1", "object": "invoice", "customer": "cus_1", "parent": None}, "", "cus_1"),
        ({"id": "cus_1", "object": "customer"}, "", "cus_1"),
        ({"id": "dp_1", "object": "dispute", "charge": "ch_1"}, "", ""),
        ({"id": "cs_1", "object": "checkout.session", "customer": "cus_1", "subscription": "sub_1"}, "sub_1", "cus_1"),
    ],
    ids=["subscription", "invoice", "invoice since 2025", "invoice of none", "customer", "dispute", "checkout"],
)  # fmt: skip
def test_the_ids_in_an_event_are_found(found, subscription, customer):
    hint = stripe_hint(event(found))
    assert (hint.object, hint.subscription, hint.customer) == (found["id"], subscription, customer)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"id": 7}, event({"id": "x" * 256}), event({"id": "a\nb"}), event([]), event({"customer": 7}),
     event({}, created="now"), event({}, type=None)],
    ids=["nothing", "a number", "too long", "a line", "a list", "a customer that is a number", "no time", "no type"],
)  # fmt: skip
def test_what_is_no_event_is_refused(wrong):
    with pytest.raises(ValueError, match="no "):
        stripe_hint(wrong)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("customer.subscription.paused", True), ("invoice.paid", True), ("charge.dispute.created", True),
     ("checkout.session.completed", True), ("checkout.session.async_payment_succeeded", True),
     ("checkout.session.expired", False), ("customer.deleted", True),
     ("customer.updated", False), ("charge.succeeded", False), ("", False)],
)  # fmt: skip
def test_only_what_can_change_a_contract_matters(kind, wanted):
    assert matters(kind) is wanted
