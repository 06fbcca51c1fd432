"""Whether a payment provider bills what the contract says: each Plan by one of its prices, as often as declared.

Neither is changed to fit the other: the contract is the provider's word on what a tenant gets, the bill is the payment
provider's on what is asked for it. A difference is told, and somebody corrects the one that is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sold:
    """One Plan of a contract: its prices at the payment provider, and how many units are sold."""

    plan: str
    prices: frozenset[str]
    quantity: int


def comparable(sold: Iterable[Sold]) -> bool:
    """Whether any Plan says what it is called at the payment provider."""
    return any(one.prices for one in sold)


def differences(
    sold: Sequence[Sold], items: Sequence[tuple[str, int]], metered: Collection[str] = ()
) -> tuple[str, ...]:
    """In words, what is sold and billed differently; a Plan without prices is not compared.

    ``metered``: prices billed by what is used. They have no quantity, so one of them is enough, and none is strange.
    """
    found = []
    for one in sold:
        if not one.prices:
            continue
        billed = sum(quantity for price, quantity in items if price in one.prices)
        if billed == 0 and not one.prices.isdisjoint(metered):
            continue
        if billed == 0:
            found.append(f"Plan {one.plan} is sold and not billed")
        elif billed != one.quantity:
            found.append(f"Plan {one.plan} is sold {one.quantity} times and billed {billed} times")
    known = frozenset[str]().union(*(one.prices for one in sold))
    strange = (price for price, _ in items if price not in known)
    found += [f"{price} is billed, and no Plan of the contract has that price" for price in strange]
    return tuple(found)
