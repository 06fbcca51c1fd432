"""A Tenant's claim moves for a reason, in whatever order Subscriptions come and go."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from paybill.lifecycle.binding import Candidate, bind
from tests.unit.lifecycle.contracts import at

TENANT = "tenant-uid"
candidates = st.lists(
    st.builds(
        Candidate,
        name=st.sampled_from("abcdefgh"),
        uid=st.sampled_from(["u1", "u2", "u3", "u4", "u5", "u6"]),
        created=st.integers(0, 3).map(at),
        bound_to=st.sampled_from([None, None, TENANT, "another"]),
        terminal=st.booleans(),
    ),
    unique_by=(lambda one: one.uid, lambda one: one.name),
    max_size=5,
)
claims = st.one_of(st.none(), st.sampled_from(["u1", "u2", "u9"]))


@given(candidates, claims, st.data())
def test_the_order_in_which_they_are_seen_does_not_matter(found, claimed, data):
    assert bind(TENANT, claimed, found) == bind(TENANT, claimed, data.draw(st.permutations(found)))


@given(candidates, claims)
def test_everybody_is_bound_or_told_why_not(found, claimed):
    outcome = bind(TENANT, claimed, found)
    told = [one for one, _ in outcome.refused]
    assert sorted([*told, *([outcome.bound] if outcome.bound else [])], key=lambda one: one.uid) == sorted(
        found, key=lambda one: one.uid
    )


@given(candidates, claims)
def test_a_running_claim_is_never_taken(found, claimed):
    holder = next((one for one in found if one.uid == claimed), None)
    if holder is not None and not holder.terminal and holder.bound_to != "another":
        assert bind(TENANT, claimed, found).bound == holder


@given(candidates, claims)
def test_nobody_inherits_another_tenants_contract(found, claimed):
    outcome = bind(TENANT, claimed, found)
    assert outcome.bound is None or outcome.bound.bound_to in (None, TENANT)
    assert {one for one, why in outcome.refused if why == "TenantReplaced"} == {
        one for one in found if one.bound_to == "another"
    }


@given(candidates, claims)
def test_what_is_over_takes_over_nothing(found, claimed):
    outcome = bind(TENANT, claimed, found)
    if outcome.bound is not None and outcome.bound.terminal:
        assert claimed in (None, outcome.bound.uid)
    assert outcome.missing is (outcome.bound is None and claimed is not None)


@given(candidates, claims)
def test_binding_again_with_the_claim_it_led_to_changes_nothing(found, claimed):
    first = bind(TENANT, claimed, found)
    if first.bound is not None:
        settled = [replace(one, bound_to=TENANT) if one == first.bound else one for one in found]
        assert bind(TENANT, first.bound.uid, settled).bound == replace(first.bound, bound_to=TENANT)
