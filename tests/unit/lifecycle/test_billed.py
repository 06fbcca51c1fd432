"""What is sold and billed differently, in words."""

from __future__ import annotations

import pytest

from paybill.lifecycle.billed import Sold, comparable, differences


def sold(plan: str, *prices: str, quantity: int = 1) -> Sold:
    return Sold(plan=plan, prices=frozenset(prices), quantity=quantity)


@pytest.mark.parametrize(
    ("contract", "items", "said"),
    [
        ([sold("pro", "price_m", "price_y")], [("price_y", 1)], ()),
        ([sold("pro", "price_m", quantity=5)], [("price_m", 5)], ()),
        ([sold("pro", "price_m"), sold("seats", "price_s", quantity=3)], [("price_m", 1), ("price_s", 3)], ()),
        ([sold("pro", "price_m"), sold("free")], [("price_m", 1)], ()),
        ([sold("pro", "price_m")], [], ("Plan pro is sold and not billed",)),
        ([sold("pro", "price_m", quantity=5)], [("price_m", 4)], ("Plan pro is sold 5 times and billed 4 times",)),
        (
            [sold("pro", "price_m")],
            [("price_m", 1), ("price_x", 1)],
            ("price_x is billed, and no Plan of the contract has that price",),
        ),
    ],
)
def test_differences_between_the_contract_and_the_bill_are_named(contract, items, said):
    assert differences(contract, items) == said


def test_a_price_by_use_has_no_quantity_and_is_never_strange():
    both = [("price_m", 2)]
    assert differences([sold("pro", "price_m", "price_u", quantity=2)], both, ["price_u", "price_v"]) == ()
    assert differences([sold("pro", "price_u", quantity=2)], [], ["price_u"]) == ()
    assert differences([sold("pro", "price_m", "price_u", quantity=3)], both, ["price_u"]) != ()


def test_without_a_price_there_is_nothing_to_compare():
    assert not comparable([sold("free")])
    assert comparable([sold("free"), sold("pro", "price_m")])
