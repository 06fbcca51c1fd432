"""What a tenant is entitled to: Plan, add-ons, overrides, removals, in this order."""

import pytest

from paybill.api.failures import Invalid
from paybill.api.limits import LARGEST_INTEGER, Feature
from paybill.lifecycle.entitlements import MOST, Entitlement, resolve


def feature(name: str, value: bool | int | str) -> Feature:
    kind = {bool: "boolean", int: "integer", str: "string"}[type(value)]
    return Feature.model_validate({"name": name, kind: value})


def one(value: bool | int | str) -> list[Feature]:
    return [feature("x", value)]


# Each case: the Plan's value, the add-ons' values with quantities, the override, what comes out, whose it is.
CASES = [
    pytest.param(one(5), [], [], 5, "Plan", id="the plan's"),
    pytest.param(one(5), [(one(10), 1)], [], 15, "AddOn", id="numbers add up"),
    pytest.param(one(5), [(one(10), 3)], [], 35, "AddOn", id="times the quantity"),
    pytest.param(one(5), [(one(10), 2), (one(1), 1)], [], 26, "AddOn", id="of every add-on"),
    pytest.param(one(5), [(one(-10), 1)], [], -5, "AddOn", id="also downwards"),
    pytest.param([], [(one(10), 2)], [], 20, "AddOn", id="an add-on may bring something new"),
    pytest.param(one(False), [(one(True), 1)], [], True, "AddOn", id="one yes is a yes"),
    pytest.param(one(True), [(one(False), 1)], [], True, "AddOn", id="an add-on takes nothing away"),
    pytest.param([], [(one(True), 3)], [], True, "AddOn", id="a yes does not multiply"),
    pytest.param(one("eu"), [(one("us"), 2)], [], "us", "AddOn", id="text replaces"),
    pytest.param(one(True), [(one(3), 1)], [], 3, "AddOn", id="a yes and a number are not four"),
    pytest.param(one(3), [(one(True), 1)], [], True, "AddOn", id="nor a number and a yes"),
    pytest.param(one("eu"), [(one(3), 2)], [], 6, "AddOn", id="nor text and a number"),
    pytest.param(one(3), [(one("eu"), 2)], [], "eu", "AddOn", id="nor a number and text"),
    pytest.param(one(5), [(one(10), 1)], one(7), 7, "Subscription", id="the subscription has the last word"),
    pytest.param(one(LARGEST_INTEGER), [(one(9), 9)], [], LARGEST_INTEGER, "AddOn", id="up to what JSON can say"),
    pytest.param([], [(one(-LARGEST_INTEGER), 9)], [], -LARGEST_INTEGER, "AddOn", id="and down to it"),
]


@pytest.mark.parametrize(("base", "add_ons", "overrides", "value", "source"), CASES)
def test_how_one_entitlement_comes_about(base, add_ons, overrides, value, source):
    (found,) = resolve(base, add_ons, overrides)
    assert (found.name, found.value, found.source) == ("x", value, source)
    assert type(found.value) is type(value)


def per_unit(value: int) -> list[Feature]:
    return [Feature.model_validate({"name": "x", "integer": value, "perUnit": True})]


@pytest.mark.parametrize(
    ("base", "add_ons", "overrides", "value"),
    [
        pytest.param(per_unit(2), [], [], 10, id="what is per unit, times the quantity"),
        pytest.param(one(2), [], [], 2, id="what is not, once"),
        pytest.param(per_unit(2), [(one(10), 3)], [], 40, id="an add-on has a quantity of its own"),
        pytest.param(per_unit(2), [(per_unit(10), 3)], [], 40, id="whatever it says"),
        pytest.param(per_unit(2), [], per_unit(3), 15, id="the subscription's word too"),
        pytest.param(per_unit(2), [], one(3), 3, id="or for all units together"),
        pytest.param(per_unit(LARGEST_INTEGER), [], [], LARGEST_INTEGER, id="up to what JSON can say"),
    ],
)
def test_what_five_units_give(base, add_ons, overrides, value):
    (found,) = resolve(base, add_ons, overrides, quantity=5)
    assert found.value == value


def test_what_is_removed_is_gone_wherever_it_came_from():
    assert resolve(one(1), [(one(2), 1)], one(3), ["x"]) == ()
    assert resolve(one(1), removed=["unheard-of"]) == (Entitlement(name="x", value=1, source="Plan"),)


def test_they_come_in_the_order_of_their_names():
    assert [found.name for found in resolve([feature("b", 1), feature("a", 1)], [([feature("aa", 1)], 1)])] == [
        "a", "aa", "b",
    ]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (False, "false"), (25, "25"), ("eu", "eu"), ("", "")])
def test_as_text_for_a_config_map(value, text):
    (found,) = resolve(one(value))
    assert found.text == text


def test_more_than_a_status_can_hold_are_refused():
    many = [feature(f"f{number}", True) for number in range(MOST)]
    assert len(resolve(many)) == MOST
    with pytest.raises(Invalid, match="TooManyEntitlements"):
        resolve(many, overrides=one(1))


def test_longer_texts_than_an_object_can_hold_are_refused():
    whole = [feature(f"f{number:03}", "\U0001f600" * 558) for number in range(MOST)]
    assert len(resolve(whole)) == MOST
    for longer in ("\U0001f600" * 1024, "<" * 1024):
        with pytest.raises(Invalid, match="shorten texts"):
            resolve([feature(f"f{number:03}", longer) for number in range(MOST)])
