"""Which Subscription a Tenant is bound to, in whatever order they come."""

from dataclasses import replace

import pytest

from paybill.lifecycle.binding import Candidate, bind
from tests.unit.lifecycle.contracts import at

TENANT = "tenant-uid"
OLD = Candidate(name="worn", uid="uid-old", created=at(1))
YOUNG = Candidate(name="fresh", uid="uid-young", created=at(2))
OVER = replace(OLD, terminal=True)
YOUNG_OVER = replace(YOUNG, terminal=True)
STRANGER = Candidate(name="stranger", uid="uid-stranger", created=at(0), bound_to="another-tenant-uid")

# Each case: the claim the registry holds, who names the Tenant, who is bound, whether it is missing, who is refused.
CASES = [
    pytest.param(None, [], None, False, {}, id="nobody names it"),
    pytest.param(None, [YOUNG], YOUNG, False, {}, id="the only one"),
    pytest.param(None, [YOUNG, OLD], OLD, False, {"fresh": "TenantTaken"}, id="of two the oldest"),
    pytest.param("uid-young", [YOUNG, OLD], YOUNG, False, {"worn": "TenantTaken"}, id="once bound it stays"),
    pytest.param("uid-old", [OVER, YOUNG], YOUNG, False, {"worn": "TenantTaken"}, id="until it is over"),
    pytest.param("uid-gone", [YOUNG, OLD], OLD, False, {"fresh": "TenantTaken"}, id="or gone"),
    pytest.param("uid-old", [OVER], OVER, False, {}, id="what is over stays the Tenant's until another comes"),
    pytest.param(
        "uid-old", [OVER, YOUNG_OVER], OVER, False, {"fresh": "TenantTaken"}, id="and none that is over comes"
    ),
    pytest.param(None, [YOUNG_OVER, OVER], OVER, False, {"fresh": "TenantTaken"}, id="never claimed: the oldest, over"),
    pytest.param("uid-gone", [], None, True, {}, id="the bound one vanished"),
    pytest.param(
        "uid-gone", [OVER], None, True, {"worn": "TenantTaken"}, id="what is over takes nothing over from what vanished"
    ),
    pytest.param(None, [STRANGER], None, False, {"stranger": "TenantReplaced"}, id="a namesake inherits no contract"),
    pytest.param(
        "uid-stranger", [STRANGER, YOUNG], YOUNG, False, {"stranger": "TenantReplaced"}, id="not even a claimed one"
    ),
    pytest.param(None, [replace(YOUNG, bound_to=TENANT)], replace(YOUNG, bound_to=TENANT), False, {}, id="its own"),
]


@pytest.mark.parametrize(("claimed", "candidates", "bound", "missing", "refused"), CASES)
@pytest.mark.parametrize("backwards", [False, True], ids=["", "backwards"])
def test_who_is_bound(claimed, candidates, bound, missing, refused, backwards):
    found = bind(TENANT, claimed, reversed(candidates) if backwards else candidates)
    assert found.bound == bound
    assert found.missing is missing
    assert {one.name: why for one, why in found.refused} == refused


def test_without_a_tenant_nobody_is_bound_and_nobody_missing():
    found = bind(None, None, [YOUNG, OLD])
    assert found.bound is None
    assert not found.missing
    assert [(one.name, why) for one, why in found.refused] == [("worn", "NoTenant"), ("fresh", "NoTenant")]


def test_of_two_made_in_the_same_second_the_first_by_name_is_bound():
    assert bind(TENANT, None, [replace(YOUNG, name="b", created=at(1)), replace(OLD, name="a")]).bound.name == "a"
