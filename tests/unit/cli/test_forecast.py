"""The outlook that ``paybill forecast`` gives, from objects as the API server has them."""

from datetime import UTC, datetime

import pytest

from paybill.api.failures import Blocked
from paybill.api.kinds import BY_KIND
from paybill.api.plan import Payment
from paybill.cli.forecast import as_json, lines, look_ahead
from paybill.cli.lookup import Contract
from paybill.lifecycle.consequences import consequence
from paybill.lifecycle.phases import EFFECTS, Access, Phase

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PAYMENT = {"graceDays": 14, "restrictAfterDays": 7, "endAfterDays": 30, "retainDays": 30}


def contract(
    *, trial_days=0, compute="Namespace", paid=None, anchors=None, holds=(), provider=None, policy=None, **spec
):
    plan = BY_KIND["Plan"].read(
        {
            "metadata": {"name": "team"},
            "spec": {
                "isolation": {"model": "Pooled", "compute": compute},
                "trialDays": trial_days,
                "payment": PAYMENT | (policy or {}),
            },
        }
    )
    return Contract(
        tenant=BY_KIND["Tenant"].read({"metadata": {"name": "acme"}, "spec": {"holds": list(holds)}}),
        subscription=BY_KIND["Subscription"].read(
            {
                "metadata": {"name": "acme-2026", "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {
                    "tenantRef": {"name": "acme"},
                    "planRef": {"name": "team"},
                    "payment": {"provider": "Manual"} | ({"paidUntilTime": paid} if paid else {})
                    if provider is None
                    else {"provider": "Stripe", "customer": "cus_1"},
                    **spec,
                },
                "status": {"anchors": anchors or {}} | ({"provider": provider} if provider else {}),
            }
        ),
        plan=plan.spec,
    )


def path(found):
    return [(one["phase"], one["time"].strftime("%m-%d")) for one in as_json(look_ahead(found, NOW))["transitions"]]


def test_unpaid_dates_lead_through_every_stage_of_the_plans_policy():
    assert path(contract(paid="2026-03-11T00:00:00Z"))[:5] == [
        ("PastDue", "03-11"),
        ("Restricted", "03-18"),
        ("Suspended", "03-25"),
        ("Ended", "04-10"),
        ("Archived", "05-10"),
    ]


def test_a_trial_counts_from_the_anchor_in_the_status():
    found = contract(trial_days=14, anchors={"trialEndTime": "2026-03-05T00:00:00Z"})
    assert look_ahead(found, NOW).phase == "Trialing"
    assert path(found)[0] == ("PastDue", "03-05")


def test_a_trial_that_is_older_than_its_object_made_anew_ends_when_it_did():
    found = contract(trial_days=90, anchors={"trialEndTime": "2026-03-11T00:00:00Z"})  # from 2025-12-11 on
    assert look_ahead(found, NOW).phase == "Trialing"
    assert path(found)[0] == ("PastDue", "03-11")


def test_a_suspension_that_began_is_taken_from_the_status():
    found = contract(paid="2026-02-10T00:00:00Z", anchors={"suspendedTime": "2026-02-24T00:00:00Z"})
    assert look_ahead(found, NOW).phase == "Suspended"
    assert path(found)[0] == ("Ended", "03-12")


def test_an_end_that_stripe_announced_is_foretold():
    said = {"status": "Active", "providerTime": "2026-02-11T00:00:00Z", "cancelTime": "2026-03-11T00:00:00Z"}
    provider = {"name": "Stripe", "id": "sub_1", "status": "active", "lastKnown": said}
    found = contract(provider=provider, anchors={"periodEndTime": "2026-03-11T00:00:00Z"})
    assert path(found)[0] == ("Ended", "03-11")
    del said["cancelTime"]
    assert path(contract(provider=provider, anchors={"periodEndTime": "2026-03-11T00:00:00Z"})) == []


def test_debt_that_was_seen_late_counts_from_when_it_was_seen():
    told = {"policy": {"pastDueAtLeast": "48h"}, "anchors": {"pastDueSeenTime": "2026-02-28T00:00:00Z"}}
    found = contract(paid="2026-02-10T00:00:00Z", **told)
    assert look_ahead(found, NOW).phase == "Restricted"
    assert path(found)[0] == ("Suspended", "03-02")


def test_an_access_hold_stays_whatever_is_paid():
    found = contract(paid="2099-01-01T00:00:00Z", holds=[{"name": "abuse", "blocks": "Access", "reason": "spam"}])
    told = "\n".join(lines(look_ahead(found, NOW), NOW))
    assert told.startswith("acme is Suspended by Subscription acme-2026 (hold abuse: spam)")


@pytest.mark.parametrize(
    ("compute", "words"), [("Namespace", "pods are evicted"), ("Shared", "the pool's other tenants notice nothing")]
)
def test_what_a_suspension_does_depends_on_where_the_workloads_run(compute, words):
    steps = look_ahead(contract(paid="2026-03-11T00:00:00Z", compute=compute), NOW).transitions
    assert words in next(step.does for step in steps if step.phase == "Suspended")


def test_the_page_says_when_why_and_what_it_does():
    first = list(lines(look_ahead(contract(paid="2026-03-11T00:00:00Z"), NOW), NOW))
    assert "full access" in first[0]
    row = next(line for line in first if "PastDue" in line)
    assert row.split()[:3] == ["2026-03-11T00:00:00Z", "10d", "PastDue"]
    assert "unpaid since 2026-03-11" in row


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (Contract(tenant=contract().tenant, subscription=None, plan=None), "NoSubscription"),
        (Contract(tenant=contract().tenant, subscription=contract().subscription, plan=None), "PlanMissing"),
    ],
)
def test_without_a_contract_to_go_by_it_says_why(found, reason):
    with pytest.raises(Blocked) as failure:
        look_ahead(found, NOW)
    assert failure.value.reason == reason


@pytest.mark.parametrize("phase", Phase)
def test_the_words_about_a_phase_promise_what_its_effects_do(phase):
    words = consequence(phase, Payment(), shared=False)
    assert words
    assert ("full access" in words) == (EFFECTS[phase].access is Access.FULL)
    assert ("may read, not write" in words) == (EFFECTS[phase].access is Access.READ_ONLY)
    assert ("waits until it is paid" in words) == (EFFECTS[phase].provision and not EFFECTS[phase].cost_raising)
