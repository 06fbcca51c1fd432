"""Plans: what an absent layer means, and a revision that changes exactly when a tenant would."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from paybill.api.limits import Isolation
from paybill.api.plan import Payment, Plan, PlanSpec

FULL = {
    "type": "Base",
    "displayName": "Growth",
    "tier": "standard",
    "isolation": {"model": "Pooled", "compute": "Namespace", "database": "Schema"},
    "limits": {"quota": {"pods": "40"}, "database": {"connections": 30, "storage": "20Gi"}},
    "network": {"egressTo": [{"ipBlock": {"cidr": "0.0.0.0/0"}, "ports": [{"port": 443}]}]},
    "features": [{"name": "sso", "boolean": True}, {"name": "seats", "integer": 25}],
    "trialDays": 14,
    "payment": {"firstPaymentWindow": "48h", "graceDays": 10, "restrictAfterDays": 7},
    "backup": {"schedule": "0 3 * * *"},
    "rollout": {"maxUnavailable": "10%"},
    "prices": [{"provider": "Stripe", "id": "price_1"}],
}


def plan(**changed: Any) -> Plan:
    spec = {key: value for key, value in {**FULL, **changed}.items() if value is not None}
    return Plan.read({"kind": "Plan", "metadata": {"name": "growth"}, "spec": spec})


@pytest.mark.parametrize(
    ("layers", "resolved"),
    [
        ({"model": "Pooled"}, ("Shared", "Schema")),
        ({"model": "Pooled", "compute": "Namespace"}, ("Namespace", "Schema")),
        ({"model": "Pooled", "database": "Rows"}, ("Shared", "Rows")),
        ({"model": "Bridge"}, ("Namespace", "Database")),
        ({"model": "Silo"}, ("Namespace", "Server")),
    ],
)
def test_absent_layers_follow_the_model(layers: dict[str, str], resolved: tuple[str, str]) -> None:
    assert Isolation.model_validate(layers).resolved() == resolved


def test_the_revisions_of_known_plans_never_change() -> None:
    """These hashes are what running installations have stored: a change here would roll every tenant of everyone."""
    assert plan().revision() == "1d76d95267"
    smallest = Plan.read({"metadata": {"name": "x"}, "spec": {"isolation": {"model": "Pooled"}}})
    assert smallest.revision() == "7daaba9273"
    assert smallest.content() == {"isolation": {"model": "Pooled"}}


@pytest.mark.parametrize(
    "changed",
    [
        {"isolation": {"model": "Bridge"}},
        {"limits": {"quota": {"pods": "41"}}},
        {"network": None},
        {"features": [{"name": "sso", "boolean": False}, {"name": "seats", "integer": 25}]},
        {"trialDays": 0},
        {"payment": {"graceDays": 11}},
        {"backup": None},
        {"backup": {"schedule": "0 4 * * *"}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_changes_a_tenant_is_a_new_revision(changed: dict[str, Any]) -> None:
    assert plan(**changed).revision() != plan().revision()


@pytest.mark.parametrize(
    "changed",
    [
        {"displayName": "Grown"},
        {"tier": "gold"},
        {"rollout": {"pauseOnFailure": False}},
        {"prices": None},
        {"meters": [{"provider": "Stripe", "event": "storage", "usage": "Storage", "unit": "1Gi"}]},
        {"features": list(reversed(FULL["features"]))},
        {"limits": {"database": {"storage": "20Gi", "connections": 30}, "quota": {"pods": 40}}},
        {"backup": {"schedule": "0 3 * * *", "keep": 7, "timeZone": "Etc/UTC"}},
        {"payment": {**FULL["payment"], "endAfterDays": 30, "retainDays": 30, "archiveDays": 60}},
        {"somethingOfANewerVersion": {"x": 1}},
    ],
    ids=["displayName", "tier", "rollout", "prices", "meters", "order of features", "order of keys, number as text",
         "defaults of backup filled in", "defaults of payment filled in", "unknown field"],
)  # fmt: skip
def test_what_changes_no_tenant_is_the_same_revision(changed: dict[str, Any]) -> None:
    assert plan(**changed).revision() == plan().revision()


def test_a_new_field_with_a_default_changes_no_revision() -> None:
    class NewerPayment(Payment):
        notice_days: int = 3

    class NewerSpec(PlanSpec):
        payment: NewerPayment = Field(default_factory=NewerPayment)
        audit: bool = True

    class NewerPlan(Plan):
        spec: NewerSpec

    newer = NewerPlan.read({"metadata": {"name": "growth"}, "spec": FULL})
    assert newer.spec.payment.notice_days == 3
    assert newer.revision() == plan().revision()


def test_a_plan_is_read_from_its_own_content() -> None:
    """What a ControllerRevision keeps of a deleted Plan is enough to go on with."""
    content = plan().content()
    assert Plan.read({"metadata": {"name": "growth"}, "spec": content}).content() == content
