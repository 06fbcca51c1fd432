"""The statuses of a Tenant and its Subscription: what is said of which situation, and that nothing else is."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import paybill
from paybill.api.conditions import Condition, find_condition
from paybill.api.failures import Blocked, Invalid, Retry
from paybill.api.subscription import SubscriptionStatus
from paybill.api.tenant import TenantStatus
from paybill.lifecycle.change import Change, PlanPoint
from paybill.lifecycle.entitlements import Entitlement
from paybill.lifecycle.phases import EFFECTS, Phase
from paybill.lifecycle.provider import Status
from paybill.lifecycle.subscription import EffectTimes
from paybill.lifecycle.tenant import course
from paybill.reconcile.contract import Standing
from paybill.reconcile.status import (
    Fact,
    apply_facts,
    outcome,
    subscription_status,
    tenant_phase,
    tenant_status,
)
from tests.unit.lifecycle.contracts import ACCESS, LATE, START, at, contract, manual, says
from tests.unit.reconcile.statuses import CLAIM, FRESH, SHARED, course_of, standing, subscription, tenant

PAID = contract(manual(30), ready=0)
OWING = contract(manual(0), ready=0, policy=LATE)
WAIT = Retry("DatabaseUnreachable", "Postgres server pool-1 does not answer")
POINT = PlanPoint(name="growth", revision="0123456789", isolation=("Namespace", "Schema"))


def said(status: TenantStatus | SubscriptionStatus) -> dict[str, tuple[str, str]]:
    """Status and reason of every condition."""
    return {one.type: (one.status, one.reason) for one in status.conditions}


def report(found: Standing, claim=CLAIM, failure=None, before=None, change=None, degraded=(), now=START, **metadata):
    """A Tenant's status after one reconcile."""
    about = tenant(status=before.wire() if before is not None else None, **metadata)
    exists = claim is not None and claim.plan_name is not None
    return tenant_status(about, claim, found, course_of(found, exists=exists), change, failure, degraded, now)


# kstatus


@pytest.mark.parametrize(
    ("failure", "ready", "reconciling", "stalled"),
    [
        pytest.param(None, "True", "False", "False", id="all is as it should be"),
        pytest.param(WAIT, "False", "True", "False", id="something is not there yet"),
        pytest.param(Blocked("CellFull", "no room"), "False", "False", "True", id="the world forbids it"),
        pytest.param(Invalid("UnknownPlan", "no such plan"), "False", "False", "True", id="the declaration is wrong"),
    ],
)
def test_how_a_reconcile_ended_is_said_in_the_words_of_kstatus(failure, ready, reconciling, stalled):
    facts = outcome(failure, Fact(type="Ready", status="True", reason="Provisioned", message="fine"))
    assert [(one.type, one.status) for one in facts] == [
        ("Ready", ready),
        ("Reconciling", reconciling),
        ("Stalled", stalled),
    ]
    assert all(one.reason for one in facts)
    if failure is not None:
        shown = [one for one in facts if one.message]
        assert all((one.reason, one.message) == (failure.reason, failure.message) for one in shown)
        assert facts[0] in shown


def test_a_tenant_that_could_not_be_built_yet_is_neither_ready_nor_stuck():
    nothing = course(None, "", exists=False)
    status = tenant_status(tenant(), None, Standing(phase=None, because=""), nothing, None, None, (), START)
    assert said(status) == {
        "Ready": ("False", "NoSubscription"),
        "Reconciling": ("False", "NoSubscription"),
        "Stalled": ("False", "NoSubscription"),
    }
    assert status.phase == "Pending"


# Conditions over time

BEFORE = (
    Condition(type="Ready", status="True", reason="Provisioned", observed_generation=1, last_transition_time=START),
    Condition(
        type="Degraded", status="True", reason="ManagedServer", observed_generation=1, last_transition_time=START
    ),
)


@pytest.mark.parametrize(
    ("fact", "changed"),
    [
        (Fact(type="Ready", status="True", reason="Provisioned"), START),
        (Fact(type="Ready", status="True", reason="Suspended", message="another"), START),
        (Fact(type="Ready", status="False", reason="Blocked"), at(9)),
        (Fact(type="Stalled", status="False", reason="Fine"), at(9)),
    ],
    ids=["the same", "another reason", "another status", "another condition"],
)
def test_a_condition_keeps_the_time_of_its_last_turn(fact, changed):
    after = apply_facts(BEFORE, [fact], 7, at(9))
    found = find_condition(after, fact.type)
    assert found is not None
    assert (found.last_transition_time, found.observed_generation) == (changed, 7)
    assert (found.status, found.reason, found.message) == (fact.status, fact.reason, fact.message)


def test_a_fact_without_a_status_takes_the_condition_away_and_leaves_the_others():
    assert apply_facts(BEFORE, [Fact(type="Degraded", status=None)], 7, at(9)) == BEFORE[:1]
    assert apply_facts(BEFORE, [], 7, at(9)) == BEFORE


@pytest.mark.parametrize("day", [1, 3, 8, 20, 40])
def test_a_second_look_at_the_same_writes_the_same(day):
    found = standing(OWING, day)
    first = report(found, now=at(day))
    assert report(found, before=first, now=at(day + 0.1)).wire() == first.wire()
    paper = subscription_status(subscription(), found, "uid-acme", None, at(day))
    again = subscription(status=paper.wire())
    assert subscription_status(again, found, "uid-acme", None, at(day + 0.1)).wire() == paper.wire()


# The Tenant


@pytest.mark.parametrize(
    ("phase", "exists", "before", "complete", "deleting", "provisioned", "expected"),
    [
        pytest.param(Phase.ACTIVE, False, None, False, False, False, "Provisioning", id="it is being made"),
        pytest.param(Phase.ACTIVE, True, "Provisioning", True, False, False, "Active", id="it is made"),
        pytest.param(Phase.ACTIVE, True, "Active", False, False, True, "Active", id="an outage changes nothing"),
        pytest.param(Phase.SUSPENDED, True, "Active", False, False, True, "Active", id="pods are still leaving"),
        pytest.param(Phase.SUSPENDED, True, "Active", True, False, True, "Suspended", id="all are out"),
        pytest.param(
            Phase.SUSPENDED, True, "Suspended", False, False, True, "Suspended", id="an outage while suspended"
        ),
        pytest.param(Phase.ACTIVE, True, "Suspended", False, False, True, "Suspended", id="not all is back yet"),
        pytest.param(Phase.ACTIVE, True, "Suspended", True, False, True, "Active", id="all is back"),
        pytest.param(None, True, "Active", False, False, True, "Active", id="its contract cannot be read any more"),
        pytest.param(None, False, None, False, False, False, "Pending", id="it never had one"),
        pytest.param(Phase.AWAITING_PAYMENT, False, None, False, False, False, "Pending", id="nothing is paid yet"),
        pytest.param(Phase.ACTIVE, True, "Active", True, True, True, "Deleting", id="it is being deleted"),
        pytest.param(Phase.ACTIVE, True, None, False, False, True, "Active", id="a status that was lost"),
        pytest.param(Phase.ACTIVE, True, "Deleting", False, False, True, "Active", id="a status that was edited"),
    ],
)
def test_how_far_the_infrastructure_is(phase, exists, before, complete, deleting, provisioned, expected):
    found = course(phase, "why", exists=exists)
    assert tenant_phase(found, before, complete=complete, deleting=deleting, provisioned=provisioned) == expected


@pytest.mark.parametrize(
    ("day", "phase", "ready", "suspended", "restricted"),
    [
        (-1, "Active", "Provisioned", False, False),
        (3, "Active", "Provisioned", False, False),
        (8, "Active", "Provisioned", False, True),
        (20, "Suspended", "Suspended", True, False),
        (40, "Suspended", "Suspended", True, False),
    ],
)
def test_a_tenant_is_ready_when_what_its_phase_calls_for_is_in_place(day, phase, ready, suspended, restricted):
    status = report(standing(contract(manual(0), ready=-5, start=at(-5), policy=LATE), day))
    assert status.phase == phase
    assert said(status)["Ready"] == ("True", ready)
    assert ("Suspended" in said(status), "Restricted" in said(status)) == (suspended, restricted)
    assert said(status)["Guarded"] == ("True", "Enforced")
    assert said(status)["DatabaseReady"] == ("True", "Provisioned")


def test_what_no_longer_applies_is_taken_away():
    suspended = report(standing(OWING, 20), degraded=("no TLS",))
    assert {"Suspended", "Degraded"} <= set(said(suspended))
    resumed = report(standing(PAID, 20), before=suspended)
    assert not {"Suspended", "Degraded"} & set(said(resumed))


def test_an_outage_says_so_and_takes_back_nothing_that_was_established():
    before = report(standing(OWING, 20), degraded=("no TLS",))
    after = report(standing(OWING, 20), failure=WAIT, before=before)
    assert said(after) == said(before) | {
        "Ready": ("False", "DatabaseUnreachable"),
        "Reconciling": ("True", "DatabaseUnreachable"),
        "Stalled": ("False", "Progressing"),
    }


def test_while_it_is_being_made_nothing_is_promised():
    status = report(standing(PAID, 1), claim=FRESH, failure=WAIT)
    assert set(said(status)) == {"Ready", "Reconciling", "Stalled"}
    assert (status.phase, status.binding) == ("Provisioning", None)


def test_a_missing_subscription_and_a_missing_plan_are_said_until_they_are_back():
    gone = report(standing(PAID, 1, missing=True, plan_missing=True))
    assert said(gone)["SubscriptionMissing"] == said(gone)["PlanMissing"] == ("True", "Missing")
    back = report(standing(PAID, 1), before=gone)
    assert not {"SubscriptionMissing", "PlanMissing"} & set(said(back))


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (None, None),
        (Change(point=POINT), ("True", "Current")),
        (Change(point=POINT, reason="WaitingForWave", message="in waves"), ("False", "WaitingForWave")),
    ],
)
def test_whether_the_plan_is_the_wanted_one_is_a_condition_of_its_own(change, shown):
    status = report(standing(PAID, 1), change=change)
    assert said(status).get("PlanCurrent") == shown
    assert said(status)["Ready"] == ("True", "Provisioned")


def test_the_place_is_what_the_registry_says():
    status = report(standing(PAID, 1))
    assert (status.id, status.namespace) == ("k3x9m2qd", "t-k3x9m2qd")
    assert status.binding is not None
    assert status.binding.name == "t-k3x9m2qd-db"
    assert status.placement is not None
    assert status.placement.wire() == {"cell": "eu-west-1", "server": "pool-1", "database": "pb_pool_1"}
    assert status.plan is not None
    assert status.plan.wire() == {"name": "growth", "revision": "0123456789"}
    assert status.subscription_ref is not None
    assert status.subscription_ref.wire() == {"name": "acme-growth", "uid": "uid-sub"}


def test_with_compute_shared_the_place_is_the_pools():
    status = report(standing(PAID, 1), claim=SHARED)
    assert status.namespace == "paybill-pool-eu-west-1"
    assert said(status)["Guarded"] == ("True", "SharedCompute")
    long = report(standing(PAID, 1), claim=replace(SHARED, cell="c" * 63))
    assert long.namespace is not None
    assert len(long.namespace) == 63


def test_a_deletion_shows_when_the_data_goes():
    going = replace(CLAIM, state="deleted", drop_after=at(30))
    status = report(standing(PAID, 1), claim=going, deletionTimestamp="2026-03-02T00:00:00Z")
    assert (status.phase, status.deletion_scheduled_time) == ("Deleting", at(30))


def test_every_status_is_of_the_generation_that_was_looked_at():
    status = report(standing(PAID, 1), generation=9)
    assert status.observed_generation == 9
    assert all(one.observed_generation == 9 for one in status.conditions)


# The Subscription

SITUATIONS = [
    pytest.param(PAID, 10, "Active", "True", id="paid"),
    pytest.param(OWING, 3, "PastDue", "False", id="late"),
    pytest.param(OWING, 20, "Suspended", "False", id="too late"),
    pytest.param(OWING, 40, "Ended", "False", id="over"),
    pytest.param(contract(manual(90), cancel_time=at(10)), 20, "Ended", "False", id="over, though paid: nothing runs"),
    pytest.param(contract(manual(), ready=0, trial_days=14), 3, "Trialing", "True", id="on trial"),
    pytest.param(contract(manual()), 0.5, "AwaitingPayment", "False", id="the first payment is awaited"),
    pytest.param(contract(manual(30), holds=(ACCESS,)), 3, "Suspended", "True", id="held, and paid"),
    pytest.param(contract(says(Status.UNPAID)), 3, "Suspended", "False", id="the provider gave up"),
    pytest.param(contract(manual()), 3, "Abandoned", "False", id="abandoned"),
    pytest.param(contract(manual(30), start=at(9)), 3, "Pending", "True", id="to come"),
]


@pytest.mark.parametrize(("agreed", "day", "phase", "current"), SITUATIONS)
def test_a_bound_subscription_is_ready_and_says_apart_whether_it_is_paid(agreed, day, phase, current):
    status = subscription_status(subscription(), standing(agreed, day), "uid-acme", None, at(day))
    assert (status.phase, status.tenant_uid) == (phase, "uid-acme")
    assert said(status) == {
        "Ready": ("True", phase),
        "Reconciling": ("False", phase),
        "Stalled": ("False", phase),
        "PaymentCurrent": (current, phase),
    }


def test_the_anchors_are_what_the_verdict_rests_on():
    agreed = contract(manual(0), policy=LATE, times=EffectTimes(ready=START, suspended=at(14), ended=at(30)))
    anchors = subscription_status(subscription(), standing(agreed, 40), "uid-acme", None, at(40)).anchors
    assert anchors is not None
    assert (anchors.period_end_time, anchors.past_due_since_time) == (START, START)
    assert (anchors.suspended_time, anchors.ended_time, anchors.archived_time) == (at(14), at(30), None)


def test_what_comes_next_is_said_with_its_time_and_its_reason():
    coming = subscription_status(subscription(), standing(PAID, 1), "uid-acme", None, at(1)).next
    assert coming is not None
    assert (coming.phase, coming.time, coming.because) == ("PastDue", at(30), "unpaid since 2026-03-31T12:00:00Z")


def test_a_destruction_to_come_says_when_and_why():
    coming = subscription_status(subscription(), standing(OWING, 40), "uid-acme", None, at(40)).next
    assert coming is not None
    assert coming.phase == "Archived"
    assert coming.because == "30 days of retention end"


def test_nothing_comes_next_where_nothing_does():
    agreed = contract(manual(), trial_days=14)
    assert subscription_status(subscription(), standing(agreed, 1), "uid-acme", None, at(1)).next is None


def test_the_entitlements_keep_their_types():
    granted = tuple(
        Entitlement(name=name, value=value, source="Plan") for name, value in (("a", True), ("b", 1), ("c", "x"))
    )
    status = subscription_status(subscription(), standing(PAID, 1, entitlements=granted), "uid-acme", None, at(1))
    assert [one.wire() for one in status.entitlements] == [
        {"name": "a", "boolean": True},
        {"name": "b", "integer": 1},
        {"name": "c", "string": "x"},
    ]


@pytest.mark.parametrize(("phase", "shown"), [(None, "Pending"), (Phase.ENDED, "Ended")])
def test_one_that_is_not_bound_says_why_and_keeps_what_it_was(phase, shown):
    refused = Standing(phase=phase, because="taken")
    status = subscription_status(subscription(), refused, None, Blocked("TenantTaken", "taken"), START)
    assert (status.phase, status.anchors, status.next) == (shown, None, None)
    assert said(status) == {
        "Ready": ("False", "TenantTaken"),
        "Reconciling": ("False", "TenantTaken"),
        "Stalled": ("True", "TenantTaken"),
    }


# Words


def _reasons(tree: ast.AST) -> Iterator[str]:
    """Every literal reason in a module: of a failure, and of what becomes a condition."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        given = node.args[:1] if node.func.id in {"Retry", "Blocked", "Invalid"} else []
        if node.func.id in {"Fact", "Course", "Change"}:
            given = [word.value for word in node.keywords if word.arg == "reason"]
        for value in given:
            yield from (
                one.value for one in ast.walk(value) if isinstance(one, ast.Constant) and isinstance(one.value, str)
            )


def test_every_reason_is_one_camel_case_word():
    package = Path(paybill.__file__).parent
    found = {
        (file.name, reason)
        for folder in ("reconcile", "lifecycle", "desired", "cluster", "control", "databases")
        for file in (package / folder).glob("*.py")
        for reason in _reasons(ast.parse(file.read_text()))
    }
    assert len(found) > 40
    assert {(file, reason) for file, reason in found if not re.fullmatch("([A-Z][a-z0-9]*)+", reason)} == set()


@pytest.mark.parametrize("phase", Phase)
def test_a_phase_is_a_reason_too(phase):
    assert re.fullmatch("([A-Z][a-z]+)+", course(phase, "", exists=True).reason)
    assert phase in EFFECTS


def test_nothing_of_the_handed_over_secret_is_in_a_status():
    """The registry knows the Secret's UID and version; neither these nor what is in the Secret is anybody's to read."""
    written = json.dumps(report(standing(PAID, 1)).wire())
    assert "uid-secret" not in written
    assert set(json.loads(written)) == {
        "observedGeneration",
        "id",
        "phase",
        "subscriptionRef",
        "plan",
        "isolation",
        "placement",
        "namespace",
        "binding",
        "conditions",
    }
