"""What a contract sells where that is left to its bill: read, settled and put in the place of what its spec says.

A spec may belong to Git, so it is never written: whoever goes on from here is handed the contract as it is sold. What
was agreed is in the Subscription's facts (lifecycle/sale.py says what follows from a bill).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from paybill.api.failures import Invalid
from paybill.api.subscription import Sold, SoldAddOn, Subscription
from paybill.control.claims import Claim
from paybill.control.facts import Facts
from paybill.lifecycle import sale
from paybill.lifecycle.sale import Agreed, Sale
from paybill.lifecycle.subscription import Hold, Verdict
from paybill.lifecycle.tenant import changes_held
from paybill.reconcile.paying import by_stripe, last_known
from paybill.reconcile.world import World


@dataclass(frozen=True, kw_only=True)
class Selling:
    """What is sold under a contract. ``agreed``: None where the contract itself says it, or nothing is billed yet.

    ``bill``: what is billed now, where that means anything; ``unclear``: why it does not.
    """

    agreed: Agreed | None = None
    bill: Sale | None = None
    unclear: Invalid | None = None


def look(world: World, subscription: Subscription, facts: Facts, claim: Claim | None) -> Selling:
    """What was agreed and what is billed, before it is known whether anything may change."""
    if not by_stripe(subscription) or subscription.spec.payment.sold != "AsBilled":
        return Selling()
    agreed, known = sale.read(facts.agreed), last_known(subscription, facts)
    if known is None:
        return Selling(agreed=agreed)
    try:
        bill = sale.billed(known.items, known.metered, world.declared.plans.glances())
    except Invalid as unclear:
        return Selling(agreed=agreed, unclear=unclear)
    has = agreed.sale if agreed is not None else _declared(subscription, claim) or bill
    until = agreed.until if agreed is not None else None
    return Selling(agreed=Agreed(wanted=bill.plan, sale=has, until=until), bill=bill)


def _declared(subscription: Subscription, claim: Claim | None) -> Sale | None:
    """What a Tenant has that is there already: its contract sold that until it was left to the bill."""
    if claim is None or claim.plan_name is None:
        return None
    spec = subscription.spec
    add_ons = tuple(sorted((one.plan_ref.name, one.quantity) for one in spec.add_ons))
    return Sale(plan=claim.plan_name, quantity=spec.quantity, add_ons=add_ons)


def settle(
    selling: Selling, subscription: Subscription, claim: Claim | None, verdict: Verdict, holds: Iterable[Hold],
    now: datetime,
) -> Selling:  # fmt: skip
    """What is agreed once the phase is known: nothing changes under debt or a hold."""
    if selling.agreed is None or selling.bill is None:
        return selling
    agreed = sale.settle(
        selling.agreed,
        selling.bill,
        on=claim.plan_name if claim is not None else None,
        held=changes_held(verdict.phase, holds) is not None,
        timing=subscription.spec.plan_change,
        period_end=verdict.period_end,
        now=now,
    )
    return replace(selling, agreed=agreed)


def shown(agreed: Agreed | None) -> Sold | None:
    """The part of the Subscription's status that says what is sold."""
    if agreed is None:
        return None
    add_ons = tuple(SoldAddOn(name=name, quantity=number) for name, number in agreed.sale.add_ons)
    return Sold(plan=agreed.wanted, quantity=agreed.sale.quantity, add_ons=add_ons or None, until_time=agreed.until)
