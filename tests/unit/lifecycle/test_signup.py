"""What a paid checkout comes to: told by what is billed, and never by what whoever paid says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.api.failures import Blocked, Invalid
from paybill.api.plan import Plan
from paybill.lifecycle.provider import Status
from paybill.lifecycle.signup import Checkout, Signup, order, signup_of


def plan(name: str, *prices: str, kind: str = "Base", **metadata: Any) -> Plan:
    isolation = {"isolation": {"model": "Pooled"}} if kind == "Base" else {}
    billed = [{"provider": "Stripe", "id": price} for price in prices]
    return Plan.read(
        {"kind": "Plan", "metadata": {"name": name, **metadata}, "spec": {"type": kind, "prices": billed, **isolation}}
    )


PLANS = {
    one.metadata.name: one
    for one in (
        plan("starter", "price_s"),
        plan("pro", "price_m", "price_y"),
        plan("seats", "price_seat", kind="AddOn"),
        plan("secret", "price_secret"),
    )
}
TEMPLATE = Signup(plans=("starter", "pro"), add_ons=("seats",))
PAID = Checkout(
    session="cs_1", subscription="sub_1", customer="cus_1", complete=True, payment="paid", standing=Status.ACTIVE,
    items=(("price_y", 3), ("price_seat", 7)),
)  # fmt: skip


def refused(checkout: Checkout, template: Signup = TEMPLATE, plans: dict[str, Plan] = PLANS) -> str:
    with pytest.raises(Blocked) as failure:
        order(template, checkout, plans)
    return failure.value.reason


def test_the_plan_the_quantity_and_the_add_ons_are_what_is_billed() -> None:
    wanted = order(TEMPLATE, PAID, PLANS)
    assert (wanted.plan, wanted.quantity, wanted.add_ons) == ("pro", 3, (("seats", 7),))
    assert (wanted.session, wanted.subscription, wanted.customer) == ("cs_1", "sub_1", "cus_1")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"complete": False}, "SignupNotPaid"),
        ({"payment": "unpaid"}, "SignupNotPaid"),
        ({"payment": "no_payment_required"}, "SignupNotPaid"),
        ({"payment": ""}, "SignupNotPaid"),
        *(({"standing": one}, "SignupNotPaid") for one in Status if one not in (Status.ACTIVE, Status.TRIALING)),
        ({"items": ()}, "SignupPlanUnclear"),
        ({"items": (("price_seat", 1),)}, "SignupPlanUnclear"),
        ({"items": (("price_s", 1), ("price_y", 1))}, "SignupPlanUnclear"),
        ({"items": (("price_y", 1), ("price_other", 1))}, "SignupPriceUnknown"),
        ({"items": (("price_secret", 1),)}, "SignupPriceUnknown"),
    ],
)
def test_what_is_not_paid_or_is_not_one_plan_of_the_template_is_refused(change: dict[str, Any], reason: str) -> None:
    assert refused(replace(PAID, **change)) == reason


def test_a_plan_that_is_not_there_or_goes_or_is_of_the_other_type_is_not_had() -> None:
    gone = PLANS | {"pro": plan("pro", "price_y", deletionTimestamp="2026-01-01T00:00:00Z")}
    without = {name: one for name, one in PLANS.items() if name != "pro"}
    assert refused(PAID, plans=gone) == refused(PAID, plans=without) == "SignupPriceUnknown"
    assert refused(PAID, Signup(plans=("pro", "seats"))) == "SignupPriceUnknown"


def test_a_checkout_at_which_nothing_was_due_is_enough_where_the_template_says_so() -> None:
    trial = replace(PAID, payment="no_payment_required", standing=Status.TRIALING)
    assert refused(trial) == "SignupNotPaid"
    assert order(TEMPLATE.model_copy(update={"without_payment": True}), trial, PLANS).plan == "pro"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("acme", "c-acme"),
        ("  Acme_Corp 2 ", "c-acme-corp-2"),
        ("c-acme", "c-acme"),
        ("x" * 38, "c-" + "x" * 38),
    ],
)
def test_a_name_is_read_strictly_and_begins_with_the_prefix(said: str, name: str) -> None:
    assert order(TEMPLATE, replace(PAID, tenant=said), PLANS).name == name


@pytest.mark.parametrize("said", ["äcme", "a.b", "a/b", "acme-", "x" * 39, " ", "a\nb", "a;b", "аcme"])
def test_a_name_that_is_none_is_refused_and_not_mended(said: str) -> None:
    assert refused(replace(PAID, tenant=said)) == "SignupNameRefused"


def test_a_subscription_that_is_for_another_tenant_is_refused() -> None:
    assert refused(replace(PAID, tenant="acme", meant_for="c-globex")) == "SignupNameRefused"
    assert refused(replace(PAID, meant_for="acme")) == "SignupNameRefused", "the contract would never find it"
    assert order(TEMPLATE, replace(PAID, tenant="acme", meant_for="c-acme"), PLANS).name == "c-acme"
    assert order(TEMPLATE, replace(PAID, meant_for="c-acme"), PLANS).name == "c-acme"


def test_without_a_name_it_is_made_of_the_session_and_what_was_begun_keeps_its_own() -> None:
    one, other = order(TEMPLATE, PAID, PLANS).name, order(TEMPLATE, replace(PAID, session="cs_2"), PLANS).name
    assert one == order(TEMPLATE, PAID, PLANS).name != other
    assert one.startswith("c-")
    assert order(TEMPLATE, replace(PAID, tenant="acme"), PLANS, "c-begun").name == "c-begun"


@given(st.text(max_size=60))
def test_whatever_is_said_a_name_has_the_prefix_and_is_a_label(said: str) -> None:
    name = _named(said)
    assert name == "" or (name.startswith("c-") and len(name) <= 40 and name[-1] != "-")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def _named(said: str) -> str:
    """The name; empty where it is refused."""
    try:
        return order(TEMPLATE, replace(PAID, tenant=said), PLANS).name
    except Blocked:
        return ""


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{}", "plans: Field required"),
        ('{"plans": []}', "plans: Tuple should have at least 1 item"),
        ('{"plans": ["pro"], "plan": "x"}', "plan: Extra inputs are not permitted"),
        ('{"plans": ["pro"], "namePrefix": "C-"}', "namePrefix"),
        ('{"plans": ["pro"], "perHour": 0}', "perHour"),
        ("plans: [pro]", "it: Invalid JSON"),
    ],
)
def test_a_template_that_is_none_is_refused_with_its_place(text: str, where: str) -> None:
    with pytest.raises(Invalid, match="PAYBILL_SIGNUP") as refused:
        signup_of(text)
    assert where in refused.value.message
