"""What is sold where the payment provider says it: the Plan, its units and its add-ons, by the prices that are billed.

A contract may leave that to its bill. Then what is billed is what it sells: another Plan, more units or one more add-on
as soon as they are billed and nothing is owed; fewer at once as well, or with the period that was paid when they became
fewer. What is billed and not understood (a price that no Plan has, two Plans) changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from paybill.api.base import PlanReference
from paybill.api.failures import Invalid
from paybill.api.subscription import MOST_ADD_ONS, MOST_UNITS, AddOn, PlanChange, Subscription


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A Plan and what it is called at the payment provider; ``base``: a Tenant can be put on it."""

    plan: str
    base: bool
    prices: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Sale:
    """A Plan of type Base, how many units of it, and add-ons with how many of each, in order of name."""

    plan: str
    quantity: int = 1
    add_ons: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Agreed:
    """What stands: the Plan that is ``wanted``, what is sold, and, where less is billed, until when it is sold still.

    The Plan of ``sale`` is the one that its quantity is of: it changes when the Tenant is on the other one.
    """

    wanted: str
    sale: Sale
    until: datetime | None = None


def billed(items: Sequence[tuple[str, int]], metered: Collection[str], catalog: Iterable[Listed]) -> Sale:
    """What a bill means; ``metered``: prices by use, which have no quantity and may be nobody's.

    Raises Invalid where it means nothing, or more than one thing.
    """
    by_price: dict[str, list[Listed]] = {}
    for one in catalog:
        for price in one.prices:
            by_price.setdefault(price, []).append(one)
    units: dict[str, int] = {}
    bases: set[str] = set()
    for price, quantity in [*items, *((price, 0) for price in metered if price in by_price)]:
        plan = _plan_of(price, by_price)
        bases |= {plan.plan} if plan.base else set()
        units[plan.plan] = units.get(plan.plan, 0) + quantity
    if len(bases) != 1:
        said = " and ".join(sorted(bases)) or "no Plan of type Base"
        raise Invalid("BilledUnclear", f"what is billed is {said}: bill exactly one Plan of type Base")
    (base,) = bases
    by_use = {plan.plan for price in metered for plan in by_price.get(price, ())}
    # What is billed by use alone is had once.
    had = {plan: min(MOST_UNITS, number) or 1 for plan, number in units.items() if number or plan in by_use}
    if base not in had:
        raise Invalid("BilledUnclear", f"Plan {base} is billed 0 times: bill it, or cancel the subscription")
    if len(had) > MOST_ADD_ONS + 1:
        raise Invalid("BilledUnclear", f"{len(had) - 1} add-ons are billed: more than {MOST_ADD_ONS} are not counted")
    return Sale(
        plan=base,
        quantity=had[base],
        add_ons=tuple(sorted((plan, number) for plan, number in had.items() if plan != base)),
    )


def settle(
    before: Agreed,
    bill: Sale,
    *,
    on: str | None,
    held: bool,
    timing: PlanChange,
    period_end: datetime | None,
    now: datetime,
) -> Agreed:
    """What stands after a look at the bill.

    ``on``: the Plan that the Tenant is on, if it has one; ``held``: no change may happen (debt, a hold);
    ``period_end``: until when is paid now.
    """
    if held:
        return replace(before, wanted=bill.plan)
    has = before.sale
    # The units of another Plan come with that Plan.
    then = bill if bill.plan in (on, has.plan) else replace(bill, plan=has.plan, quantity=has.quantity)
    until = before.until or period_end
    if timing == "AtPeriodEnd" and _less(has, then) and until is not None and now < until:
        return Agreed(wanted=bill.plan, sale=_most(has, then), until=until)
    return Agreed(wanted=bill.plan, sale=then)


def _less(has: Sale, then: Sale) -> bool:
    """Whether there is anything that there would be fewer of; units of different Plans do not compare."""
    units = dict(then.add_ons)
    fewer = then.plan == has.plan and then.quantity < has.quantity
    return fewer or any(units.get(plan, 0) < number for plan, number in has.add_ons)


def _most(has: Sale, then: Sale) -> Sale:
    """Of everything the greater number."""
    before, units = dict(has.add_ons), dict(then.add_ons)
    names = sorted(before.keys() | units.keys())
    return Sale(
        plan=then.plan,
        quantity=max(has.quantity, then.quantity) if then.plan == has.plan else then.quantity,
        add_ons=tuple((name, max(before.get(name, 0), units.get(name, 0))) for name in names),
    )


def as_sold(subscription: Subscription, agreed: Agreed | None) -> Subscription:
    """The contract with what is agreed in the place of what its spec says."""
    if agreed is None:
        return subscription
    add_ons = tuple(AddOn(plan_ref=PlanReference(name=name), quantity=number) for name, number in agreed.sale.add_ons)
    sold = {"plan_ref": PlanReference(name=agreed.wanted), "quantity": agreed.sale.quantity, "add_ons": add_ons}
    return subscription.model_copy(update={"spec": subscription.spec.model_copy(update=sold)})


def reported(subscription: Subscription) -> Subscription:
    """The contract as it is sold, as its status reports that, for who cannot read the control database."""
    sold = subscription.status.sold
    if sold is None or subscription.spec.payment.sold != "AsBilled":
        return subscription
    add_ons = tuple((one.name, one.quantity) for one in sold.add_ons or ())
    sale = Sale(plan=sold.plan, quantity=sold.quantity, add_ons=add_ons)
    return as_sold(subscription, Agreed(wanted=sold.plan, sale=sale))


def wire(agreed: Agreed) -> dict[str, Any]:
    """As JSON."""
    sale = asdict(agreed.sale) | {"add_ons": [list(one) for one in agreed.sale.add_ons]}
    return {"wanted": agreed.wanted, "sale": sale} | (
        {"until": agreed.until.isoformat()} if agreed.until is not None else {}
    )


def read(kept: Mapping[str, Any] | None) -> Agreed | None:
    """What was kept; None where nothing was."""
    match kept:
        case {
            "wanted": str(wanted),
            "sale": {"plan": str(plan), "quantity": int(quantity), "add_ons": list(add_ons)},
            **more,
        }:
            sale = Sale(
                plan=plan, quantity=quantity, add_ons=tuple((str(name), int(number)) for name, number in add_ons)
            )
            until = more.get("until")
            return Agreed(wanted=wanted, sale=sale, until=datetime.fromisoformat(str(until)) if until else None)
        case _:
            return None


def _plan_of(price: str, by_price: Mapping[str, Sequence[Listed]]) -> Listed:
    plans = by_price.get(price, ())
    if not plans:
        raise Invalid("BilledUnclear", f"{price} is billed, and no Plan has that price: write it into a Plan's prices")
    if len(plans) > 1:
        names = " and ".join(sorted(one.plan for one in plans))
        raise Invalid("BilledUnclear", f"{price} is billed, and it is the price of {names}: let each have its own")
    return plans[0]
