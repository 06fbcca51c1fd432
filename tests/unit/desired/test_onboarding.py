"""The two objects of a customer: what is absent is left out, and what came of a checkout says of which."""

from __future__ import annotations

from paybill.api.subscription import Subscription
from paybill.api.tenant import Tenant
from paybill.desired import onboarding
from paybill.lifecycle.signup import Order, Signup

ORDER = Order(session="cs_1", subscription="sub_1", customer="cus_1", name="c-acme", plan="pro", quantity=3,
              add_ons=(("seats", 7),))  # fmt: skip


def test_what_is_absent_is_left_out() -> None:
    assert onboarding.tenant("acme")["spec"] == {}
    assert "annotations" not in onboarding.tenant("acme")["metadata"]
    spec = onboarding.subscription("acme", "pro", {"provider": "Manual"})["spec"]
    assert spec == {"tenantRef": {"name": "acme"}, "planRef": {"name": "pro"}, "payment": {"provider": "Manual"}}


def test_an_order_becomes_a_tenant_of_the_template_and_a_contract_that_stripe_pays() -> None:
    owner = {"kind": "Group", "name": "support"}
    template = Signup.model_validate({"plans": ["pro"], "owners": [owner], "cell": "eu", "deletionPolicy": "Retain"})
    tenant, contract = onboarding.signed_up(template, ORDER)
    assert tenant["metadata"] == contract["metadata"]
    assert tenant["metadata"] == {"name": "c-acme", "annotations": {"paybill.dev/checkout-session": "cs_1"}}
    assert tenant["spec"] == {"owners": [owner], "cellRef": {"name": "eu"}, "deletionPolicy": "Retain"}
    assert contract["spec"] == {
        "tenantRef": {"name": "c-acme"},
        "planRef": {"name": "pro"},
        "payment": {"provider": "Stripe", "subscription": "sub_1", "customer": "cus_1"},
        "quantity": 3,
        "addOns": [{"planRef": {"name": "seats"}, "quantity": 7}],
    }
    assert Tenant.read(tenant).spec.cell_ref is not None
    assert Subscription.read(contract).spec.payment.provider == "Stripe"


def test_a_template_may_leave_to_the_bill_what_is_sold_from_then_on():
    _, contract = onboarding.signed_up(Signup(plans=("pro",), sold="AsBilled"), ORDER)
    assert Subscription.read(contract).spec.payment.sold == "AsBilled"
    _, contract = onboarding.signed_up(Signup(plans=("pro",)), ORDER)
    assert "sold" not in contract["spec"]["payment"]
