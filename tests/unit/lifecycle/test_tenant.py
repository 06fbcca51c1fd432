"""What a Tenant's contract calls for, given what it has already; and what stands before a change of plan."""

from dataclasses import replace

import pytest

from paybill.lifecycle.change import PlanPoint, choose
from paybill.lifecycle.phases import EFFECTS, Phase
from paybill.lifecycle.subscription import Hold
from paybill.lifecycle.tenant import changes_held, course

FREEZE = Hold(name="freeze", blocks="Provisioning", reason="region is full")
CHANGES = Hold(name="audit", blocks="Changes", reason="year's end")
RUNNING = {Phase.TRIALING, Phase.ACTIVE, Phase.PAST_DUE, Phase.RESTRICTED}


@pytest.mark.parametrize("phase", Phase)
def test_a_tenant_that_has_nothing_gets_something_only_while_its_contract_runs(phase):
    found = course(phase, "why", exists=False)
    assert found.build is (phase in RUNNING)
    assert found.stopped is (phase not in RUNNING)


@pytest.mark.parametrize("phase", Phase)
def test_a_tenant_that_has_something_keeps_it_stopped_if_need_be(phase):
    found = course(phase, "why", exists=True)
    assert found.build
    assert found.effect is EFFECTS[phase]
    assert (found.reason, found.message) == (phase, f"Subscription is {phase}: why")


@pytest.mark.parametrize("exists", [False, True])
def test_without_any_contract_nothing_is_touched(exists):
    found = course(None, "", exists=exists)
    assert not found.build
    assert found.reason == "NoSubscription"


def test_a_provisioning_hold_keeps_new_things_from_being_made_and_leaves_what_there_is():
    assert course(Phase.ACTIVE, "paid", exists=True, holds=[FREEZE]).build
    held = course(Phase.ACTIVE, "paid", exists=False, holds=[CHANGES, FREEZE])
    assert (held.build, held.reason) == (False, "ProvisioningHeld")
    assert "freeze: region is full" in held.message


@pytest.mark.parametrize("phase", Phase)
def test_plans_change_freely_only_while_nothing_is_owed(phase):
    assert (changes_held(phase, []) is None) is (phase in {Phase.TRIALING, Phase.ACTIVE})
    assert changes_held(phase, [CHANGES]) == "no change of plan under hold audit: year's end"
    assert changes_held(phase, [FREEZE]) == changes_held(phase, [])


HAS = PlanPoint(name="growth", revision="aaa", isolation=("Namespace", "Schema"))
NEWER = replace(HAS, revision="bbb")
OTHER = replace(HAS, name="scale", revision="ccc")
SILO = replace(OTHER, isolation=("Namespace", "Server"))
ELSEWHERE = replace(OTHER, isolation=("Shared", "Schema"))


@pytest.mark.parametrize(
    ("has", "wanted", "held", "admitted", "point", "reason"),
    [
        pytest.param(None, NEWER, None, False, NEWER, None, id="a new tenant waits for no wave"),
        pytest.param(None, NEWER, "debt", False, NEWER, None, id="and for no hold: something it must be on"),
        pytest.param(HAS, HAS, "debt", False, HAS, None, id="nothing changes"),
        pytest.param(HAS, NEWER, None, True, NEWER, None, id="its turn has come"),
        pytest.param(HAS, NEWER, None, False, HAS, "WaitingForWave", id="its turn has not"),
        pytest.param(HAS, NEWER, "debt", True, HAS, "ChangeHeld", id="its turn has, but it is held"),
        pytest.param(HAS, OTHER, None, False, OTHER, None, id="another plan is this tenant's own decision: no wave"),
        pytest.param(HAS, OTHER, "debt", True, HAS, "ChangeHeld", id="unless held"),
        pytest.param(HAS, SILO, None, True, HAS, "Moving", id="another isolation is a move, not a setting"),
        pytest.param(HAS, ELSEWHERE, None, True, HAS, "MoveNotSupported", id="and not every move there is"),
        pytest.param(HAS, SILO, "debt", True, HAS, "ChangeHeld", id="and held is held"),
        pytest.param(
            HAS, replace(HAS, revision="ddd", isolation=SILO.isolation), None, True, HAS, "Moving",
            id="also when an edit of the same plan asks for it",
        ),
    ],
)  # fmt: skip
def test_the_point_a_tenant_is_on(has, wanted, held, admitted, point, reason):
    found = choose(has, wanted, held=held, admitted=admitted)
    assert (found.point, found.reason) == (point, reason)
    assert bool(found.message) is (reason is not None)


def test_another_plan_waits_for_its_time_and_an_edit_of_the_same_does_not():
    later = "it changes with the next payment"
    waiting = choose(HAS, OTHER, held=None, admitted=True, later=later)
    assert (waiting.point, waiting.reason) == (HAS, "ChangePending")
    assert later in waiting.message
    assert choose(HAS, OTHER, held="debt", admitted=True, later=later).reason == "ChangeHeld"
    assert choose(HAS, NEWER, held=None, admitted=True, later=later).point == NEWER
    assert choose(None, OTHER, held=None, admitted=False, later=later).point == OTHER, (
        "a new tenant has none to stay on"
    )
