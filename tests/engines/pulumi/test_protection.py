"""What is lifted of a state, for exactly which resources, and how it is put back."""

import copy
from typing import Any

import pytest

from paybill.engines.pulumi.protection import MARK, lifted, marks, restored
from paybill.engines.pulumi.state import State
from tests.engines.pulumi.test_state import deployment, resource


def holding(name: str, **more: Any) -> dict[str, Any]:
    return resource(name, protect=True, retainOnDelete=True) | more


def urn(name: str) -> str:
    return str(resource(name)["urn"])


BEFORE = deployment(holding("a"), holding("b"), holding("c"), resource("free"))


def test_it_is_lifted_from_what_is_named_and_from_nothing_else() -> None:
    after = lifted(BEFORE, {urn("a"), urn("b")}, replaced={urn("b")})
    assert State(after).protected == {urn("c")}
    # What is only deleted stays where its data does; what is made anew must give up its name.
    assert State(after).retaining == {urn("a"), urn("c")}
    assert State(BEFORE).protected == {urn("a"), urn("b"), urn("c")}


def test_marks_name_what_was_lifted_until_it_is_put_back() -> None:
    after = lifted(BEFORE, {urn("a"), urn("b"), urn("free")}, replaced={urn("b")})
    tags = marks(BEFORE, after)
    assert State(after, tags).lifted == (urn("a"), urn("b"))
    assert State(after).lifted == ()
    assert restored(after, tags) == BEFORE
    assert State(restored(after, tags), tags).lifted == ()


def test_nothing_lifted_leaves_no_marks() -> None:
    assert marks(BEFORE, lifted(BEFORE, {urn("free"), "urn:of:something:else"})) == {}


@pytest.mark.parametrize("count", [1, 13, 14, 100])
def test_marks_of_any_number_fit_into_tags(count: int) -> None:
    many = deployment(*(holding(f"n{number}") for number in range(count)))
    everything = State(many).protected
    tags = marks(many, lifted(many, everything, replaced=everything))
    assert all(len(name) <= 40 and len(value) <= 256 for name, value in tags.items())
    assert restored(lifted(many, everything, replaced=everything), tags) == many


def test_what_is_gone_is_not_put_back_and_what_was_made_anew_is_left_as_it_is() -> None:
    after = lifted(BEFORE, State(BEFORE).protected)
    tags = marks(BEFORE, after)
    gone = copy.deepcopy(after)
    gone["resources"] = [one for one in gone["resources"] if one["urn"] != urn("a")]
    assert State(restored(gone, tags)).protected == {urn("b"), urn("c")}
    half = copy.deepcopy(after)
    half["resources"][1]["pendingReplacement"] = True  # it was deleted, and the new one is not there yet
    assert State(restored(half, tags)).protected == {urn("b"), urn("c")}
    assert restored(after, {"somebody": "else", f"{MARK}0": ""}) == after


def test_what_a_retained_resource_rests_on_stays_with_it() -> None:
    provider = {"urn": "urn:pulumi:s::p::pulumi:providers:aws::cloud", "type": "pulumi:providers:aws", "custom": True,
                "id": "7"}  # fmt: skip
    key, role, net = resource("key"), resource("role"), resource("net")
    data = holding("data", provider=f"{provider['urn']}::7", dependencies=[net["urn"]])
    data["propertyDependencies"] = {"kmsKey": [key["urn"]], "tags": None}
    state = State(deployment(provider, key, role, net | {"provider": f"{provider['urn']}::7"}, data))
    assert state.kept == {provider["urn"], key["urn"], net["urn"], data["urn"]}
    assert state.going == (role["urn"],)
    assert [one.address for one in state.deletions()] == [role["urn"]]
    assert state.ids(state.kept) == ("data", "key", "net")
