"""When the samples count as being as they should be, and what is said of those that are not."""

import pytest

from paybill.api.kinds import BY_KIND
from paybill.local.board import Wanted, complaints, row


def condition(kind, status, reason="Provisioned", message="all is well"):
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-03-01T00:00:00Z",
    }


def tenant(*conditions, generation=1, observed=1, **status):
    return BY_KIND["Tenant"].read(
        {
            "kind": "Tenant",
            "metadata": {"name": "acme", "uid": "t", "generation": generation},
            "spec": {},
            "status": {"observedGeneration": observed, "conditions": list(conditions), **status},
        }
    )


def subscription(phase="Active", *conditions):
    return BY_KIND["Subscription"].read(
        {
            "kind": "Subscription",
            "metadata": {"name": "acme", "uid": "s", "generation": 1},
            "spec": {"tenantRef": {"name": "acme"}, "planRef": {"name": "team"}},
            "status": {
                "observedGeneration": 1,
                "phase": phase,
                "conditions": [*conditions, condition("Ready", "True")],
            },
        }
    )


READY = condition("Ready", "True")
NOT_READY = condition("Ready", "False", "QuotaNotEnforced", "the quota is not acted on yet")
STALLED = condition("Stalled", "True", "UnknownPlan", "Plan gold does not exist: create it")


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        pytest.param(None, "Tenant acme is not there", id="not there"),
        pytest.param(tenant(), "Tenant acme has not been looked at by the operator", id="no condition"),
        pytest.param(
            tenant(READY, generation=2), "Tenant acme has not been looked at by the operator", id="edited since"
        ),
        pytest.param(
            tenant(NOT_READY),
            "Tenant acme is not Ready: QuotaNotEnforced: the quota is not acted on yet",
            id="on its way",
        ),
        pytest.param(
            tenant(NOT_READY, STALLED),
            "Tenant acme is not Ready: UnknownPlan: Plan gold does not exist: create it",
            id="stalled: that reason counts",
        ),
    ],
)
def test_a_complaint_names_the_object_its_condition_and_the_operators_words(seen, told):
    found = {} if seen is None else {("Tenant", "acme"): seen}
    assert list(complaints([Wanted(kind="Tenant", name="acme")], found)) == [told]


def test_nothing_is_said_of_what_is_ready():
    assert list(complaints([Wanted(kind="Tenant", name="acme")], {("Tenant", "acme"): tenant(READY)})) == []


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ("Active", []),
        (None, []),
        ("Suspended", ["Subscription acme is Active, and its file expects Suspended: all is well"]),
    ],
)
def test_a_subscription_is_awaited_in_the_phase_that_its_file_expects(expected, told):
    wanted = Wanted(kind="Subscription", name="acme", phase=expected)
    assert list(complaints([wanted], {("Subscription", "acme"): subscription()})) == told


def test_a_row_says_plan_phase_and_place():
    seen = tenant(
        READY,
        id="k3x9m2qd",
        namespace="t-k3x9m2qd",
        plan={"name": "growth", "revision": "0123456789"},
        isolation={"compute": "Namespace", "database": "Schema"},
        binding={"name": "t-k3x9m2qd-db"},
    )
    found = row(seen, subscription("Trialing"), 0.5)
    assert (found.plan, found.compute, found.database) == ("growth", "Namespace", "Schema")
    assert (found.phase, found.ready, found.seconds) == ("Trialing", True, 0.5)
    assert (found.namespace, found.binding) == ("t-k3x9m2qd", "t-k3x9m2qd-db")


def test_a_row_of_a_stalled_tenant_gives_that_reason_and_the_plan_it_asked_for():
    found = row(tenant(NOT_READY, STALLED), subscription(), None)
    assert (found.ready, found.reason, found.plan) == (False, "UnknownPlan", "team")
